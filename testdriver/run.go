package testdriver

import (
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
)

// drain processes all records that can be processed, one at a time over all tasks: the one with the
// lowest time first and, at equal times, the one that has waited longest.
func (d *Driver) drain() error {
	for {
		if err := d.deliver(); err != nil {
			return err
		}
		next, err := d.next()
		switch {
		case err != nil:
			return d.fail(err)
		case next == nil && d.options.manualCommit:
			return nil
		case next == nil:
			// A policy may have skipped records before any step processed them. Their positions must be
			// committed, too, or a restart would read them again and count them a second time.
			if !slices.ContainsFunc(d.tasks, (*task.Task).Moved) {
				return nil
			}
			if err := d.commit(); err != nil {
				return err
			}
			continue
		}
		if err := d.step(next); err != nil {
			return d.fail(err)
		}
	}
}

func (d *Driver) next() (*task.Task, error) {
	var best *task.Task
	var bestTime int64
	var bestSince uint64
	for _, candidate := range d.tasks {
		at, since, ok, err := candidate.Head()
		switch {
		case err != nil:
			return nil, err
		case !ok:
		case best == nil || at < bestTime || at == bestTime && since < bestSince:
			best, bestTime, bestSince = candidate, at, since
		}
	}
	return best, nil
}

// step processes one record of a task, and what its time and a commit cause.
func (d *Driver) step(next *task.Task) error {
	d.steps++
	if _, err := next.Process(1); err != nil {
		return err
	}
	// The record may have advanced the stream time of other tasks, too, if they share it.
	for _, t := range d.tasks {
		if err := t.PunctuateStreamTime(); err != nil {
			return err
		}
	}
	return d.autoCommit()
}

// Commit commits what has been processed, so that Restart returns to this state. It is needed with
// ManualCommit, and after a test has written to a store.
func (d *Driver) Commit() {
	d.test.Helper()
	d.check(d.commitAll())
}

// commitAll commits until a commit causes nothing more: steps that buffer records until a commit
// send them in one, and what follows from these is committed with the next.
func (d *Driver) commitAll() error {
	if err := d.usable(); err != nil {
		return err
	}
	for before := -1; d.steps != before; { // until a commit has caused no step
		if err := d.commit(); err != nil {
			return err
		}
		before = d.steps
		if err := d.drain(); err != nil {
			return err
		}
	}
	return nil
}

// autoCommit commits, unless the test does. A commit that a step has requested is made either way.
func (d *Driver) autoCommit() error {
	if !d.options.manualCommit {
		return d.commit()
	}
	for _, t := range d.tasks {
		if t.CommitRequested() {
			return d.commit()
		}
	}
	return nil
}

// commit writes the changelogs and commits the offsets that belong to them. Unlike in an App,
// nothing can fail between the tasks.
func (d *Driver) commit() error {
	d.commits++
	for _, running := range d.tasks {
		if err := running.Flush(); err != nil {
			return d.fail(err)
		}
	}
	for _, running := range d.tasks {
		for tp, at := range running.Cut(false) {
			d.committed[tp] = at
		}
		for _, engine := range running.Engines() {
			if err := d.cutStore(engine, running.ID().Partition); err != nil {
				return d.fail(fmt.Errorf("store %q: %w", engine.Store.Name, err))
			}
		}
	}
	return d.fail(d.settleGlobals())
}

func (d *Driver) cutStore(engine task.Engine, partition int32) error {
	send := func(storage.Change) error { return nil }
	if engine.Store.Changelog {
		send = func(c storage.Change) error {
			_, err := d.write(d.changelog(engine.Store.Name), partition, changelog.Record(c, engine.Store.Headers), true)
			return err
		}
	}
	epoch, err := engine.Cut(send)
	if err == nil {
		engine.Settle(epoch, storage.Checkpoint{Offset: d.changelogEnd(engine.Store, partition), Time: d.now})
		if d.options.stateDir != "" && d.commits%flushEvery == 0 {
			err = engine.Flush(true)
		}
	}
	return err
}
