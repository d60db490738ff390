package main

import "github.com/millstream-go/millstream/stream"

// program is a workload as it is run three times.
type program struct {
	app  func(*stream.Builder, spec)
	bare func(*bareLoop)                // nil: there is no bare loop
	java func(s spec) map[string]string // what the program in Java has to know besides; may be nil
}

var programs = map[string]program{
	"pass":    passProgram,
	"latency": latencyProgram,
	"idle":    idleProgram,
	"count":   countProgram,
	"windows": windowsProgram,
	"streams": streamsProgram,
	"foreign": foreignProgram,
	"load":    loadProgram,
	"join":    joinProgram,
	"restore": restoreProgram,
	"json":    jsonProgram,
	"values":  valuesProgram,
}
