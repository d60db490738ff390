//go:build unix

package safefile

import "os"

// SyncDir makes the changes to a directory survive a power loss: what was created, renamed and
// removed in it.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
