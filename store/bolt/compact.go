package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

func compactOf(path string) string { return path + ".compact" }

// sparse is whether more than half of a file of some size is free.
func (f *file) sparse() bool {
	used := f.tx.Size()
	return used >= min(compactFrom, f.leastMap/8) && int64(f.db.Stats().FreePageN)*int64(f.db.Info().PageSize)*2 > used
}

// compact writes the file anew without its free pages. The copy takes the file's place when it is on disk as a whole; a copy that
// was not finished is thrown away by the next Open. The caller holds the lock.
func (f *file) compact() error {
	path := compactOf(f.path)
	if err := removeIfThere(path); err != nil {
		return err
	}
	copied, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait, PageSize: f.pageSize, NoSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return err
	}
	err = bbolt.Compact(copied, f.db, transactionBytes)
	if err == nil && !f.noSync {
		err = copied.Sync()
	}
	if err = errors.Join(err, copied.Close()); err != nil {
		return errors.Join(err, removeIfThere(path))
	}
	if err := f.close(); err != nil {
		return err
	}
	if err := os.Rename(path, f.path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return err
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	return f.open(f.mapFor(info.Size()))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
