package statedir

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks f, and reports whether it could. The lock ends with the process, or when f is
// closed. It is on a byte far behind the text, since a locked byte cannot be read: others are to
// find out who has it.
func tryLock(f *os.File) (bool, error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{Offset: 1 << 20})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
