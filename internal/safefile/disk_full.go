package safefile

import (
	"fmt"
	"path/filepath"
)

// ExplainDiskFull explains an error of writing n bytes to path, if its cause is a full disk: what
// was wanted, what there is, and what can be done. It returns other errors as they are.
func ExplainDiskFull(path string, n int64, err error) error {
	if err == nil || !isFull(err) {
		return err
	}
	free := "an unknown number of"
	if bytes, ok := freeBytes(filepath.Dir(path)); ok {
		free = fmt.Sprint(bytes)
	}
	return fmt.Errorf("no space for %q: it needs %d bytes, and the disk has %s bytes free for this user. Free space, "+
		"raise the quota or the limit on the size of files, or move Config.StateDir to a larger disk; until then rows stay "+
		"in memory, and when Config.MemoryBudget is used up the input waits: %w", path, n, free, err)
}
