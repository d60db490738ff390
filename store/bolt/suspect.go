package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A marker beside the file says that its opening has begun and not succeeded: if it is found at the next start, opening ended the
// process, and the file is not opened again. It need not survive a power loss: that does not make a file suspect.
func markerOf(path string) string { return path + ".suspect" }

// asideOf is where a file goes that is not to be opened. Only the last one is kept.
func asideOf(path string) string { return path + ".corrupt" }

func mark(path string) error {
	f, err := os.OpenFile(markerOf(path), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func unmark(path string) error {
	if err := os.Remove(markerOf(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// moveAside takes a file out of the way and forgets that it was suspect.
func moveAside(path string) error {
	if err := os.Rename(path, asideOf(path)); err != nil {
		return fmt.Errorf("move aside: %w", err)
	}
	if err := unmark(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// inspect looks at what is at path before bbolt does. It returns whether there is a file to open, and, when there was one that
// must not be, why it has been moved aside.
func inspect(path string) (there bool, aside string, err error) {
	suspect, err := exists(markerOf(path))
	if err != nil {
		return false, "", err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, "", unmark(path)
	case err != nil:
		return false, "", err
	case info.Size() == 0: // made, and then nothing: there is nothing to lose
		if err := os.Remove(path); err != nil {
			return false, "", err
		}
		return false, "", unmark(path)
	case suspect:
		return false, "the process ended while it opened the file or found it corrupt", moveAside(path)
	}
	if err := verify(path); err != nil {
		if !errors.Is(err, errCorrupt) {
			return false, "", err
		}
		return false, err.Error(), moveAside(path)
	}
	return true, "", nil
}
