//go:build unix && !solaris && !illumos && !aix

package statedir

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks f, and reports whether it could. The lock ends with the process, or when f is
// closed.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
