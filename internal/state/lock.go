package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ErrOwned is returned by Open when another process, or another App of this one, uses the application's state directory.
var ErrOwned = errors.New("state directory is in use")

// lockDir takes the lock on an application's directory and leaves word of who has it.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, ".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ok, err := tryLock(f)
	if err == nil && ok {
		err = sign(f)
	} else if err == nil {
		err = fmt.Errorf("%q: %w by %s", dir, ErrOwned, owner(f))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func sign(f *os.File) error {
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

func owner(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if who := strings.TrimSpace(string(b)); err == nil && who != "" {
		return who
	}
	return "another process"
}
