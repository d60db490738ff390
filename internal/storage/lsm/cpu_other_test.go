//go:build !unix

package lsm_test

import "time"

// cpuTime is not measured here.
func cpuTime() time.Duration { return 0 }

// threadTime is not measured here.
func threadTime() time.Duration { return 0 }
