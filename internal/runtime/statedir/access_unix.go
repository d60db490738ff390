//go:build unix

package statedir

import (
	"os"
	"syscall"
)

// foreignOwner returns who owns a file. trusted reports whether that is this user or root; root
// itself trusts every owner.
func foreignOwner(info os.FileInfo) (uid uint32, trusted bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, true
	}
	user := os.Geteuid()
	return s.Uid, user == 0 || s.Uid == 0 || int(s.Uid) == user
}

func writableByAll(mode os.FileMode) bool { return mode&0o002 != 0 }

// readableByAll reports whether others can list the directory and open what is in it.
func readableByAll(mode os.FileMode) bool { return mode&0o005 != 0 }
