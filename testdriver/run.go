package testdriver

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/store"
)

// drain processes all that can be processed, one record at a time over all tasks: the lowest time first, and at equal times what
// has waited longest.
func (d *Driver) drain() error {
	for {
		if err := d.deliver(); err != nil {
			return err
		}
		x, err := d.next()
		if err != nil || x == nil {
			return d.broken(err)
		}
		if err := d.step(x); err != nil {
			return d.broken(err)
		}
	}
}

func (d *Driver) next() (*task.Task, error) {
	var best *task.Task
	var bestTime int64
	var bestSince uint64
	for _, x := range d.tasks {
		at, since, ok, err := x.Head()
		switch {
		case err != nil:
			return nil, err
		case !ok:
		case best == nil || at < bestTime || at == bestTime && since < bestSince:
			best, bestTime, bestSince = x, at, since
		}
	}
	return best, nil
}

func (d *Driver) step(x *task.Task) error {
	d.steps++
	if _, err := x.Process(1); err != nil {
		return err
	}
	for _, x := range d.tasks { // those that share its stream time
		if err := x.PunctuateStreamTime(); err != nil {
			return err
		}
	}
	return d.autoCommit()
}

// Commit commits what has been processed: what Restart goes back to. It is needed with ManualCommit, and after a test has written
// to a store.
func (d *Driver) Commit() {
	d.t.Helper()
	d.check(d.commitAll())
}

// commitAll commits until nothing follows from it: steps that hold records back until a commit send them in one.
func (d *Driver) commitAll() error {
	if err := d.usable(); err != nil {
		return err
	}
	for before := -1; d.steps != before; {
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

// autoCommit commits unless the test does. A request of a step for a commit is met either way.
func (d *Driver) autoCommit() error {
	if !d.opt.manual {
		return d.commit()
	}
	for _, x := range d.tasks {
		if x.CommitRequested() {
			return d.commit()
		}
	}
	return nil
}

// commit writes the changelogs and commits the offsets that go with them. Between the tasks of one driver nothing can fail.
func (d *Driver) commit() error {
	d.commits++
	for _, x := range d.tasks {
		if err := x.Flush(); err != nil {
			return d.broken(err)
		}
	}
	for _, x := range d.tasks {
		for tp, at := range x.Cut() {
			d.committed[tp] = at
		}
		for _, e := range x.Engines() {
			if err := d.cutStore(e, x.ID().Partition); err != nil {
				return d.broken(fmt.Errorf("store %q: %w", e.Store.Name, err))
			}
		}
	}
	return d.broken(d.settleGlobals())
}

func (d *Driver) cutStore(e task.Engine, p int32) error {
	emit := func(store.Change) error { return nil }
	if e.Store.Changelog {
		emit = func(c store.Change) error {
			_, err := d.write(d.changelog(e.Store.Name), p, changelog.Record(c, e.Store.Headers), true)
			return err
		}
	}
	epoch, err := e.Cut(emit)
	if err == nil {
		e.Settle(epoch, store.Checkpoint{Offset: d.changelogEnd(e.Store, p), Time: d.now})
		if d.opt.stateDir != "" && d.commits%flushEvery == 0 {
			err = e.Flush(true)
		}
	}
	return err
}
