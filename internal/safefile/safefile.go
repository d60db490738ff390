// Package safefile opens and creates the files of a state directory. It never follows a symbolic
// link: whoever may write to the directory could otherwise make this process empty or fill a file
// somewhere else.
package safefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNotRegular is returned when a name belongs to something that is not a regular file: a symbolic
// link, a directory, a pipe.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLong is returned for a file that is longer than anything that is written to it.
var ErrTooLong = errors.New("too long")

// Create creates a new, empty file that only this user can read. It replaces a file or link of that
// name.
func Create(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return create(path)
}

// create creates a file that must not exist. O_EXCL does not follow a link: that it exists is an
// error.
func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

// Open opens a file for reading and writing, and creates it if there is none.
func Open(path string) (*os.File, error) {
	f, err := create(path)
	if errors.Is(err, fs.ErrExist) {
		return open(path, os.O_RDWR)
	}
	return f, err
}

// OpenReadOnly opens a file that exists for reading.
func OpenReadOnly(path string) (*os.File, error) { return open(path, os.O_RDONLY) }

// Read returns the content of a file, or fs.ErrNotExist. A file of more than most bytes is ErrTooLong: what
// a disk that fails says of its length may be more than there is memory.
func Read(path string, most int64) (b []byte, err error) {
	f, err := open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%q: %w: it has %d bytes, and such a file never has more than %d: it is damaged; "+
			"remove it, and it is created again", path, ErrTooLong, info.Size(), most)
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// Write creates a file with the content b. It replaces a file or link of that name.
func Write(path string, b []byte) (err error) {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(b)
	return err
}

// Exists reports whether something has the name, be it a link to nothing.
func Exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// MakeDir creates a directory that only this user can read, and those above it. With sync each
// survives a power loss before anything is created in it.
func MakeDir(dir string, sync bool) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MakeDir(parent, sync); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return errors.Join(err, fmt.Errorf("%q is not a directory", dir))
	}
	if !sync {
		return nil
	}
	return SyncDir(parent)
}

// open opens a regular file. It checks afterwards that what has the name and what was opened are
// one file, since somebody may have put a link there in between. Not every platform can refuse
// links when it opens a file, and opening alone changes nothing.
func open(path string, flag int) (*os.File, error) {
	named, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	// Opening a pipe would wait for its other end.
	if !named.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(named, opened) {
		err = notRegular(path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func notRegular(path string) error {
	return fmt.Errorf("%q: %w: remove it; the file is created again", path, ErrNotRegular)
}
