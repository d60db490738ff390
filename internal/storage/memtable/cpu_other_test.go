//go:build !unix

package memtable_test

import "time"

var processBegan = time.Now()

// cpuTime returns how long this process runs: what it has used is not measured here.
func cpuTime() time.Duration { return time.Since(processBegan) }
