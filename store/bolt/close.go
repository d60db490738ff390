package bolt

import (
	"errors"
	"path/filepath"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/store"
)

// Truncate implements store.Engine.
func (e *Engine) Truncate() error {
	e.noScan("truncate")
	err := e.flusher.stop()
	e.releaseAll()
	e.file.lock <- struct{}{}
	err = errors.Join(err, e.file.close(), removeIfThere(e.o.Path), removeIfThere(newOf(e.o.Path)))
	if there, _ := exists(filepath.Dir(e.o.Path)); there && !e.o.NoSync {
		err = errors.Join(err, syncDir(filepath.Dir(e.o.Path)))
	}
	<-e.file.lock
	e.cuts.Undo()
	e.expired = nil
	e.settled, e.has, e.debt, e.sealNext = store.Checkpoint{}, false, 0, false
	e.epoch++
	e.flusher = newFlusher(e)
	e.addTable()
	return err
}

func (e *Engine) releaseAll() {
	for n := len(e.tables) - 1; n >= 0; n-- {
		e.drop(n)
	}
}

// Flush implements store.Engine. Rows of unsettled epochs are left out; when there are such, a flush that is not waited for
// leaves the active memtable to the next cut.
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

// flushSettled writes what is settled of tables that have unsettled epochs too, while the owner waits here. They stay where they
// are and will be written again.
func (e *Engine) flushSettled() error {
	var last *table
	for i := len(e.tables) - 1; i >= 0; i-- {
		t := e.tables[i]
		if t.state == queued {
			continue
		}
		view := &table{Table: t.Table, state: queued, view: true, flushed: make(chan struct{})}
		if i == 0 {
			view.c, view.has = e.settled, e.has
		}
		e.flusher.add(view)
		last = view
	}
	err := e.flusher.waitAll()
	e.flusher.withdraw()
	if err == nil && !last.isFlushed() {
		err = e.Healthy()
	}
	e.sealNext = err != nil
	return err
}

// Close implements store.Engine. Closing twice does nothing. When the flush fails, the file is closed all the same: what it lacks
// is in the changelog.
func (e *Engine) Close(flush bool) (err error) {
	e.noScan("close")
	if e.closed {
		return nil
	}
	e.closed = true
	if flush && !e.flusher.dead() {
		err = errors.Join(e.Undo(), e.Flush(true))
	}
	err = errors.Join(err, e.flusher.stop())
	e.releaseAll()
	e.account.Close()
	e.file.lock <- struct{}{}
	defer func() { <-e.file.lock }()
	return errors.Join(err, e.file.close())
}

func (e *Engine) noScan(what string) {
	if e.scans > 0 {
		invariant.Fail("%s inside a scan", what)
	}
}

// Remove deletes the files of a closed store.
func Remove(path string) error {
	var err error
	for _, p := range []string{path, markerOf(path), asideOf(path), newOf(path)} {
		err = errors.Join(err, removeIfThere(p))
	}
	return err
}
