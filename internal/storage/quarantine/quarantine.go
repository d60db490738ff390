// Package quarantine moves files out of the way that cannot be trusted, so that people can look at
// them and no store opens them.
package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millstream-go/millstream/internal/safefile"
)

// most is how many quarantined files a store has. The last name is used again and again.
const most = 8

// Names returns the names that quarantined files of base get.
func Names(base string) []string {
	names := []string{base + ".corrupt"}
	for i := 2; i <= most; i++ {
		names = append(names, fmt.Sprintf("%s.corrupt.%d", base, i))
	}
	return names
}

// freeName returns the first of these names that is free. When none is, it returns that of the last
// file, whose content is lost then.
func freeName(base string) (string, error) {
	last := ""
	for _, name := range Names(base) {
		info, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode().IsRegular() {
			last = name
		}
	}
	if last == "" {
		return "", fmt.Errorf("%s and %d names like it are in use; remove what has them", Names(base)[0], most-1)
	}
	return last, nil
}

// Move renames what is at path, whatever it is, to a name of base, in the directory of base. It
// returns the new name, an empty one when there was nothing at path. The caller syncs the directory.
func Move(path, base string) (to string, err error) {
	if to, err = freeName(base); err != nil {
		return "", fmt.Errorf("move %s aside: %w", path, err)
	}
	switch err := os.Rename(path, to); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("move aside: %w", err)
	}
	return to, nil
}

// Sync syncs the directory of base.
func Sync(base string) error { return safefile.SyncDir(filepath.Dir(base)) }
