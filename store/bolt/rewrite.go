package bolt

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/store/memory"
)

// A flush whose rows are spread over most pages of the file writes a new file instead, in one pass over both, and puts it in the
// old one's place: bbolt would write those pages too, after looking each row up. So does one that finds no rows in the file.
const (
	rewriteFrom = 4096 // rows; with fewer, a second file is not worth it
	samples     = 64
)

// newOf is a file being written. It takes the store's place as a whole or is thrown away.
func newOf(path string) string { return path + ".new" }

// sparse is whether more than half of a file of some size is free.
func (f *file) sparse() bool {
	used := f.tx.Size()
	return used >= min(compactFrom, f.leastMap/8) && int64(f.db.Stats().FreePageN)*int64(f.db.Info().PageSize)*2 > used
}

// replace writes a new file, with the rows that each hands to add in ascending order, and opens it in the place of the old one.
// swap is called with what does that and has to call it with the lock held.
func (f *file) replace(checkpoint []byte, rows func(add func(key, stored []byte) error) error, swap func(func() error) error) error {
	path := newOf(f.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	size, err := f.build(path, checkpoint, rows)
	if err != nil {
		return errors.Join(err, removeIfThere(path))
	}
	return swap(func() error {
		if err := f.close(); err != nil {
			return err
		}
		// From here on the store is whatever has its name.
		err := os.Rename(path, f.path)
		if err == nil && !f.noSync {
			err = syncDir(filepath.Dir(f.path))
		}
		return errors.Join(err, f.open(f.mapFor(size)))
	})
}

func (f *file) build(path string, checkpoint []byte, rows func(add func(key, stored []byte) error) error) (size int64, err error) {
	w, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	b := newBuilder(w, f.pageSize)
	if err := rows(b.add); err != nil {
		return 0, err
	}
	metas, err := b.finish(checkpoint)
	if err != nil {
		return 0, err
	}
	if _, err := w.WriteAt(metas, 0); err != nil {
		return 0, err
	}
	if !f.noSync {
		err = w.Sync()
	}
	return int64(b.id) * int64(f.pageSize), err
}

// compact writes the file anew without its free pages. The caller holds the lock.
func (f *file) compact() error {
	tx, err := f.db.Begin(false)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return f.replace(checkpointIn(tx), func(add func(key, stored []byte) error) error {
		return eachRow(tx, add)
	}, func(swap func() error) error {
		_ = tx.Rollback() // bbolt's Close waits for it
		return swap()
	})
}

// checkpointIn returns the encoded checkpoint of a file; nil when it has none.
func checkpointIn(tx *bbolt.Tx) []byte {
	if meta := tx.Bucket(metaBucket); meta != nil {
		return bytes.Clone(meta.Get(checkpointKey))
	}
	return nil
}

func eachRow(tx *bbolt.Tx, f func(key, stored []byte) error) error {
	rows := tx.Bucket(rowsBucket)
	if rows == nil {
		return nil
	}
	c := rows.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if err := f(k[1:], v); err != nil {
			return err
		}
	}
	return nil
}

// spread is whether the table's rows are on most pages of the file. It looks at pairs of neighbours in the table: how many rows of
// the file lie between them, by how many a page has, is how probable it is that they are on different pages.
func (w *write) spread() bool {
	n := w.t.Entries()
	f := w.f.file
	if n < w.f.e.o.RewriteRows || w.t.view {
		return false
	}
	if f.db == nil {
		return true
	}
	tx, err := f.db.Begin(false)
	if err != nil {
		return false
	}
	defer func() { _ = tx.Rollback() }()
	rows := tx.Bucket(rowsBucket)
	if rows == nil {
		return true
	}
	c := rows.Cursor()
	k, v := c.First()
	if k == nil {
		return true
	}
	pageSize := f.db.Info().PageSize
	inUse := float64(tx.Size()/int64(pageSize)) - float64(f.db.Stats().FreePageN)
	apart, size := 0.0, len(k)+len(v)
	at := w.t.Cursor()
	for i := range samples {
		if !at.SeekIndex(i*(n-1)/samples, n) {
			break
		}
		first := appendKey(nil, at.Key())
		at.Next()
		if !at.Valid() {
			break
		}
		perPage := float64(max(1, pageSize*3/4/(elementSize+size)))
		between := 0.0
		next := appendKey(nil, at.Key())
		k, v := c.Seek(first)
		for ; k != nil && between < perPage && bytes.Compare(k, next) < 0; k, v = c.Next() {
			size = (size*7 + len(k) + len(v)) / 8
			between++
		}
		apart += min(1, between/perPage)
	}
	return apart/samples*float64(n) > inUse/2
}

// rewrite writes the table and the file's rows to a new file.
func (w *write) rewrite() (err error) {
	f := w.f.file
	var tx *bbolt.Tx
	if f.db != nil {
		if tx, err = f.db.Begin(false); err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
	}
	defer func() {
		if r := recover(); r != nil {
			err = f.damaged(r)
		}
	}()
	var checkpoint []byte
	if w.t.has {
		checkpoint = appendCheckpoint(nil, w.t.c)
	} else if tx != nil {
		checkpoint = checkpointIn(tx)
	}
	err = f.replace(checkpoint, func(add func(key, stored []byte) error) error {
		return w.merge(tx, add)
	}, func(swap func() error) error {
		if tx != nil {
			_ = tx.Rollback() // bbolt's Close waits for it
		}
		w.f.e.o.Hook.At(crashpoint.FlushHalf)
		return w.f.locked(swap)
	})
	if err == nil {
		w.transactions++
		w.f.hasFile.Store(true)
	}
	return err
}

// merge hands out the rows of the file and the table, the table's for a key that both have.
func (w *write) merge(tx *bbolt.Tx, add func(key, stored []byte) error) error {
	w.cursor.Seek(nil, false)
	upTo := func(key []byte) error {
		for ; w.cursor.Valid() && (key == nil || bytes.Compare(w.cursor.Key(), key) < 0); w.cursor.Next() {
			row := w.cursor.Row()
			w.rows++
			if row.State != memory.Live || memory.Contains(w.t.expired, row.Key) {
				continue
			}
			if err := add(row.Key, row.Stored); err != nil {
				return err
			}
		}
		return nil
	}
	if tx != nil {
		n := 0
		err := eachRow(tx, func(key, stored []byte) error {
			if n++; n%4096 == 0 && w.f.isEnding() {
				return errEnding
			}
			if err := upTo(key); err != nil {
				return err
			}
			if w.cursor.Valid() && bytes.Equal(w.cursor.Key(), key) || memory.Contains(w.t.expired, key) {
				return nil
			}
			return add(key, stored)
		})
		if err != nil {
			return err
		}
	}
	return upTo(nil)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
