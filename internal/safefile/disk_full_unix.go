//go:build linux || darwin

package safefile

import (
	"errors"
	"syscall"
)

// isFull reports whether a write failed because there is no room: on the disk, in the user's quota,
// or by the limit of the process on the size of files.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// freeBytes returns how many bytes this user may still write to the disk of a directory.
func freeBytes(dir string) (n uint64, ok bool) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, false
	}
	return uint64(stat.Bavail) * uint64(stat.Bsize), true
}
