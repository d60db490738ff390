package statedir

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// CheckRoot returns an error for a path that a shell would have expanded. It is not expanded here.
// Without the error a directory with the name "~" would be made below the working directory.
func CheckRoot(root string) error {
	first, _, _ := strings.Cut(strings.ReplaceAll(root, `\`, "/"), "/")
	if strings.HasPrefix(first, "~") {
		return fmt.Errorf("%q begins with ~, which only a shell expands: give the whole path (os.UserHomeDir), or ./%s for "+
			"a directory of that name", root, root)
	}
	return nil
}

// ErrAccess is returned by Open when other users may write into the application's directory, or own
// it.
var ErrAccess = errors.New("others may change the state directory")

// checkAccess refuses an application's directory that anybody but this user, root and the
// directory's group may change: who can write there decides what this program believes to be its
// state. The group may write, since orchestrators share volumes with a pod through its group. The
// directory above is not checked: volumes are often open to all, and the application's directory is
// made with mode 0700.
func checkAccess(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if uid, trusted := foreignOwner(info); !trusted {
		return fmt.Errorf("%q belongs to user %d: %w: give it to this user (chown -R %d), or use another directory", path,
			uid, ErrAccess, os.Geteuid())
	}
	if mode := info.Mode().Perm(); writableByAll(mode) {
		return fmt.Errorf("%q has mode %04o: %w: chmod -R o-w it, or use another directory", path, mode, ErrAccess)
	}
	return nil
}

// Exposed reports whether users outside the directory's group can read the state, with the
// directory's mode.
func (d *Directory) Exposed() (mode os.FileMode, exposed bool) {
	if d.path == "" {
		return 0, false
	}
	info, err := os.Stat(d.path)
	if err != nil {
		return 0, false
	}
	mode = info.Mode().Perm()
	return mode, readableByAll(mode)
}
