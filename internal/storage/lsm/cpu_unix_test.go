//go:build unix

package lsm_test

import (
	"runtime"
	"syscall"
	"time"
)

// cpuTime returns what this process has used, flusher and kernel included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// threadTime returns what this thread has used. It is measured on Linux alone.
func threadTime() time.Duration {
	const thread = 1
	var u syscall.Rusage
	if runtime.GOOS != "linux" || syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
