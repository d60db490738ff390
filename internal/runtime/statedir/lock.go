package statedir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/millstream-go/millstream/internal/safefile"
)

// ErrInUse is returned by Open when another process, or another App of this process, uses the
// application's state directory.
var ErrInUse = errors.New("state directory is in use")

// lockDir locks an application's directory, and writes into the lock file who has it.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, ".lock")
	f, err := safefile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; Config.StateDir has to be a directory that this user can write to", err)
	}
	ok, err := tryLock(f)
	if err == nil && ok {
		err = writeLockOwner(f)
	} else if err == nil {
		err = fmt.Errorf("%q: %w by %s; one App at a time can use it: stop the other, or set another Config.StateDir",
			dir, ErrInUse, readLockOwner(f))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writeLockOwner(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "process %d on %s\n", os.Getpid(), host), 0)
	return err
}

// readLockOwner returns who has the lock, as an error is to name it.
func readLockOwner(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if who := strings.TrimSpace(string(b)); err == nil && who != "" {
		return who
	}
	return "another process"
}
