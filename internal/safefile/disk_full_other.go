//go:build !linux && !darwin

package safefile

import (
	"errors"
	"syscall"
)

// isFull reports whether a write failed because there is no room. 112 is ERROR_DISK_FULL of
// Windows.
func isFull(err error) bool {
	var n syscall.Errno
	return errors.As(err, &n) && n == 112
}

func freeBytes(string) (n uint64, ok bool) { return 0, false }
