//go:build unix && !solaris && !illumos && !aix

package state

import (
	"errors"
	"os"
	"syscall"
)

// tryLock is whether this process now holds the lock on f, which ends with the process or with f.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
