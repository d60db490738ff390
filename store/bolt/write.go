package bolt

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/store/memory"
)

// Pages that random keys are put into are split at two thirds, so that there is room for what comes; those of a store that is
// written in order for the first time are filled.
const fillRandom, fillFirst = 0.66, 0.95

// A write is one attempt to write a table: a run of transactions over ascending keys.
type write struct {
	f            *flusher
	t            *table
	cursor       memory.Cursor
	rows         int
	transactions int
	started      bool
}

func (w *write) run() error {
	// Before anything else: a new file made while an old one could not be opened would be without its rows.
	if there, err := exists(w.f.file.path); err != nil {
		return err
	} else if there {
		if err := w.f.makeFile(); err != nil {
			return err
		}
	}
	if w.spread() || w.outdated() {
		err := w.rewrite()
		if err == nil || errors.Is(err, errEnding) || errors.Is(err, errCorrupt) {
			return err
		}
		// No room for a second file, say. There may be some for a few pages.
		w.rows = 0
	}
	w.cursor.Seek(nil, false)
	for {
		if w.f.isEnding() {
			return errEnding
		}
		from, rows := w.cursor, w.rows
		err := w.transaction()
		if errors.Is(err, berrors.ErrMaxSizeReached) {
			// The map is full: nothing of this transaction is written. A larger map, and the same keys again.
			w.cursor, w.rows = from, rows
			err = w.f.locked(w.f.file.grow)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		w.transactions++
		if !w.cursor.Valid() {
			return w.f.locked(w.f.file.renew)
		}
		w.f.e.o.Hook.At(crashpoint.FlushHalf)
		w.f.renewIfFree()
	}
}

// locked calls do with the file's lock.
func (f *flusher) locked(do func() error) error {
	f.file.lock <- struct{}{}
	defer func() { <-f.file.lock }()
	return do()
}

// renewIfFree replaces the read transaction unless the owner is reading: an old one keeps pages from being used again.
func (f *flusher) renewIfFree() {
	select {
	case f.file.lock <- struct{}{}:
		_ = f.file.renew() // the one at the end reports
		<-f.file.lock
	default:
	}
}

// transaction writes as many rows as fit one transaction, and the checkpoint when they are the last.
func (w *write) transaction() (err error) {
	if err := w.f.makeFile(); err != nil {
		return err
	}
	if w.f.file.exclusive {
		// Invariant 2 of file: no read transaction is open while the map may grow.
		return w.f.locked(func() error {
			w.f.file.endRead()
			return errors.Join(w.commit(), w.f.file.renew())
		})
	}
	return w.commit()
}

// makeFile opens the file when there is none yet, or when it could not be opened again.
func (f *flusher) makeFile() error {
	if f.file.db != nil {
		return nil
	}
	size := int64(0)
	if info, err := os.Stat(f.file.path); err == nil {
		size = info.Size()
	}
	err := f.locked(func() error { return f.file.open(f.file.mapFor(size)) })
	if err == nil {
		f.hasFile.Store(true)
	}
	return err
}

func (w *write) commit() (err error) {
	tx, err := w.f.file.db.Begin(true)
	if err != nil {
		return err
	}
	defer func() {
		// After a panic over a damaged page, too: bbolt's writer lock must not stay taken.
		if e := tx.Rollback(); err == nil && !errors.Is(e, berrors.ErrTxClosed) {
			err = e
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			err = w.f.file.damaged(r)
		}
	}()
	rows, meta, err := buckets(tx)
	if err != nil {
		return err
	}
	if err := w.fill(tx, rows); err != nil {
		return err
	}
	if !w.cursor.Valid() {
		if err := w.finish(meta); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func buckets(tx *bbolt.Tx) (rows, meta *bbolt.Bucket, err error) {
	if rows, err = tx.CreateBucketIfNotExists(rowsBucket); err != nil {
		return nil, nil, err
	}
	if meta, err = tx.CreateBucketIfNotExists(metaBucket); err != nil {
		return nil, nil, err
	}
	return rows, meta, meta.Put(versionKey, []byte{fileVersion})
}

// fill puts rows until the cursor is at its end or the transaction is large enough. What bbolt keeps in memory is each touched
// page, as nodes, and the rows.
func (w *write) fill(tx *bbolt.Tx, rows *bbolt.Bucket) error {
	rows.FillPercent = fillRandom
	if !w.started {
		k, _ := rows.Cursor().First()
		w.started = k != nil
	}
	if !w.started {
		rows.FillPercent = fillFirst
	}
	put := int64(0)
	pages := int64(w.f.file.db.Info().PageSize)
	limit := w.f.e.o.TransactionBytes
	for n := 1; w.cursor.Valid(); w.cursor.Next() {
		if n%32 == 0 { // asking copies the statistics
			stats := tx.Stats()
			limit = w.f.e.o.TransactionBytes - stats.GetNodeCount()*pages
		}
		if n > 1 && put > limit {
			return nil
		}
		size, err := w.row(rows)
		if err != nil {
			return err
		}
		n++
		w.rows++
		put += size
	}
	return nil
}

// row writes the cursor's row. Values are not copied: bbolt reads them from the memtable when it commits.
func (w *write) row(rows *bbolt.Bucket) (int64, error) {
	row := w.cursor.Row()
	if w.t.view {
		row = w.cursor.Settled()
	}
	if memory.Contains(w.t.expired, row.Key) {
		return 0, nil
	}
	w.f.seek = appendKey(w.f.seek[:0], row.Key)
	switch row.State {
	case memory.Live:
		return int64(len(row.Key) + len(row.Stored)), rows.Put(w.f.seek, row.Stored)
	case memory.Deleted:
		return int64(len(row.Key)), rows.Delete(w.f.seek)
	}
	return 0, nil
}

// finish writes the checkpoint. It keeps invariant 2 of store.Engine.
func (w *write) finish(meta *bbolt.Bucket) error {
	if !w.t.has {
		return nil
	}
	if err := meta.Put(checkpointKey, appendCheckpoint(nil, w.t.c)); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
