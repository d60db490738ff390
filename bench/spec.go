package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
)

const childEnv = "MILLSTREAM_BENCH_CHILD"

// The kinds of programs.
const (
	kindApp     = "app"
	kindOnce    = "once" // an App with exactly once
	kindBare    = "bare"
	kindStreams = "streams" // Kafka Streams
	kindChain   = "chain"
	kindStore   = "store"
	kindMany    = "many" // an App over many partitions
)

// spec is what a child is to do.
type spec struct {
	Workload string
	Kind     string
	Engine   string // of a store
	Broker   string
	StateDir string
	Rows     int64 // of its stores
	Records  int64 // that it will read
	Warm     int64 // of those, records that come before what is measured
	Each     int64 // records that are processed for each of the input, with what comes back from internal topics; 0: one
	Limit    int64 // ms that a store is measured at most
	Profile  string
	Round    string // of latency, and of idle Apps
	// Partitions are those of the input, of an App over many.
	Partitions int32
	// Format says what values are, and Compression how they are written: of the workloads values and json.
	Format, Compression string
}

func (s spec) run() (result, error) {
	switch s.Kind {
	case kindChain:
		return s.runChain()
	case kindBare:
		return s.runBare()
	default:
		return s.runApp()
	}
}

// appID is the application's name. Load, join and restore are the same application, with and without its state.
func (s spec) appID() string {
	name := s.Workload
	switch name {
	case "load", "restore":
		name = "join"
	case "idle", "values", "json":
		name += "-" + s.Round
	case "partitions":
		name += "-" + strconv.Itoa(int(s.Partitions))
	}
	return s.program() + "-" + name + "-" + strconv.FormatInt(s.Rows, 10)
}

// program is the beginning of the names that belong to a kind of program: what Kafka Streams writes, Millstream does not.
func (s spec) program() string {
	switch s.Kind {
	case kindStreams:
		return "kafka-streams"
	case kindOnce:
		return "millstream-once"
	}
	return "millstream"
}

// out is the topic that the program of a workload writes, by the name that it has for all programs.
func (s spec) out(topic string) string { return s.program() + "-" + topic }

// each is how many records are processed for one of the input.
func (s spec) each() int64 { return max(s.Each, 1) }

// child is the life of a process that runs one workload.
func child(text string) int {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, "bench: child:", err)
		return 1
	}
	slog.SetLogLoggerLevel(slog.LevelWarn)
	if err := s.report(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %v\n", s.Workload, err)
		return 1
	}
	return 0
}

// report runs the workload and writes its figures, a line of JSON for each of its phases.
func (s spec) report() error {
	stop, err := s.startProfile()
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if s.Kind == kindStore {
		if err := s.runStore(func(r result) error { return out.Encode(r) }); err != nil {
			return err
		}
		return stop()
	}
	if s.Kind == kindMany {
		if err := s.runMany(func(r result) error { return out.Encode(r) }); err != nil {
			return err
		}
		return stop()
	}
	r, err := s.run()
	if err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	return out.Encode(r)
}
