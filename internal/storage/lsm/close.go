package lsm

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
)

// Truncate implements storage.Engine.
func (e *Engine) Truncate() error {
	e.noScan("truncate")
	if err := e.Damaged(); err != nil { // the file is to be moved aside, not removed
		return err
	}
	e.stop()
	e.snapshots.Refuse()
	defer e.snapshots.Allow()
	e.releaseAll()
	err := e.levels.truncate()
	e.cuts.Undo()
	e.expired = nil
	e.settled, e.has, e.forgotten, e.debt, e.sealNext = storage.Checkpoint{}, false, false, 0, false
	e.epoch++
	e.flusher.reset()
	e.merger.reset()
	e.addTable()
	return err
}

// stop ends the flusher and the merger. What the merger was writing is removed.
func (e *Engine) stop() {
	e.flusher.stop()
	e.merger.end()
}

// removeStore removes all files of a store, the root first.
func removeStore(o *Options) error {
	if err := removeIfThere(rootPath(o)); err != nil {
		return err
	}
	if err := os.RemoveAll(o.Path); err != nil {
		return err
	}
	if there, _ := safefile.Exists(filepath.Dir(o.Path)); there && !o.NoSync {
		return safefile.SyncDir(filepath.Dir(o.Path))
	}
	return nil
}

func (e *Engine) releaseAll() {
	for n := len(e.tables) - 1; n >= 0; n-- {
		e.drop(n)
	}
	e.releaseRetired()
}

// Flush implements storage.Engine. Rows of unsettled epochs are left out. When there are some, a flush
// that is not waited for leaves the active memtable to the next cut.
func (e *Engine) Flush(wait bool) error {
	e.noScan("flush")
	e.trim(false)
	unsettled := len(e.cuts) > 0 || e.tables[0].Unsettled()
	if !unsettled {
		e.sealSettled()
	} else if !wait {
		e.sealNext = true
	}
	if !wait {
		return e.Healthy()
	}
	if unsettled {
		if err := e.flushSettled(); err != nil {
			return err
		}
	}
	err := e.flusher.waitAll()
	e.trim(false)
	return err
}

// flushSettled writes the settled part of tables that have unsettled epochs too, while the owner waits
// here. They stay where they are and will be written again.
func (e *Engine) flushSettled() error {
	var last *table
	// Oldest first: each run is put in front of those before it.
	for i := len(e.tables) - 1; i >= 0; i-- {
		t := e.tables[i]
		if t.state == queued {
			continue
		}
		view := &table{Table: t.Table, state: queued, view: true, flushed: make(chan struct{})}
		// Only when the active table, the last one, is written are all settled rows on disk. If an
		// older view moved the checkpoint here, a crash before the last flush would lose the rows
		// of those in between.
		if i == 0 {
			view.c, view.has = e.settled, e.has
		}
		e.flusher.add(view)
		last = view
	}
	err := e.flusher.waitAll()
	// After a failure views are still queued. The owner writes to their tables as soon as this
	// returns.
	e.flusher.withdraw()
	if err == nil && !last.isFlushed() {
		err = e.Healthy()
	}
	// After a failure the next cut seals the active table, and the flusher writes it whenever it
	// can. After a success nothing is left for a cut to do.
	e.sealNext = err != nil
	return err
}

// Close implements storage.Engine. A second Close does nothing. When the flush fails, the files are
// closed all the same: what they lack is in the changelog. A merge goes on when the store is opened
// again.
func (e *Engine) Close(flush bool) (err error) {
	e.noScan("close")
	if e.closed {
		return nil
	}
	e.closed = true
	if flush && !e.flusher.dead() && e.Damaged() == nil {
		err = errors.Join(e.Undo(), e.Flush(true))
	}
	e.stop()
	e.snapshots.Refuse()
	e.releaseAll()
	e.account.Close()
	e.levels.close()
	return err
}

func (e *Engine) noScan(what string) {
	if e.scans > 0 {
		invariant.Fail("%s inside a scan", what)
	}
}

// Exists reports whether there is a store at path: one that was flushed.
func Exists(path string) bool {
	_, err := os.Lstat(rootPath(&Options{Path: path}))
	return err == nil
}

// Remove removes the files of a closed store, but for those that were moved aside. The caller syncs the
// directory above.
func Remove(path string) error { return removeStore(&Options{Path: path, NoSync: true}) }
