package testdriver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/layout"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/memory"
)

// Restart crashes the program and starts it again: what was in memory and not committed is gone, stores are restored from their
// changelogs, stream times from the committed offsets, and records that were processed but not committed are processed again. Stores
// without a changelog keep what was committed, unless they are in memory. What OnClose registered is not called: it was a crash.
func (d *Driver) Restart() {
	d.t.Helper()
	d.check(d.restart(false))
}

// Wipe is Restart on another machine: the disk is lost too, and with it stores without a changelog.
func (d *Driver) Wipe() {
	d.t.Helper()
	d.check(d.restart(true))
}

func (d *Driver) restart(wipe bool) error {
	if err := d.usable(); err != nil {
		return err
	}
	old := d.stores
	d.stores = map[string][]store.Engine{}
	var errs []error
	for name, engines := range old {
		s := d.g.Store(name)
		for _, e := range engines {
			if e == nil {
				continue
			}
			if kept := !wipe && !s.Changelog && !s.InMemory && s.Topic == ""; kept {
				errs = append(errs, e.Undo())
				d.stores[name] = append(d.stores[name], e)
				continue
			}
			errs = append(errs, e.Close(false))
		}
	}
	if wipe {
		errs = append(errs, d.loseDisk())
	}
	if err := errors.Join(append(errs, d.startTasks())...); err != nil {
		return d.broken(err)
	}
	return d.drain()
}

// loseDisk has stores begin with no files.
func (d *Driver) loseDisk() error {
	if d.opt.stateDir == "" {
		return nil
	}
	return os.RemoveAll(d.opt.stateDir)
}

// newEngine opens what a partition of a store is kept in.
func (d *Driver) newEngine(s *graph.Store, p int32) (store.Engine, error) {
	if d.opt.stateDir == "" || s.InMemory || s.Topic != "" {
		return memory.New(d.budget), nil
	}
	e, _, err := bolt.Open(bolt.Options{
		Path: filepath.Join(d.opt.stateDir, s.Name, strconv.Itoa(int(p))+".db"), Budget: d.budget, NoSync: true, PageSize: 1024,
	})
	return e, err
}

// flushEvery is how many commits a restart may have to replay: few, since tests of restarts have few records.
const flushEvery = 8

func (d *Driver) changelog(name string) string { return graph.ChangelogTopic(d.opt.application, name) }

// openStore opens one partition of a store and restores it from its changelog.
func (d *Driver) openStore(s *graph.Store, p int32) (store.Engine, error) {
	if s.Changelog {
		topic := d.changelog(s.Name)
		d.counts[topic] = max(d.counts[topic], d.taskCount(d.g.Subs[s.Sub]))
	}
	engines := d.stores[s.Name]
	for len(engines) <= int(p) {
		engines = append(engines, nil)
	}
	d.stores[s.Name] = engines
	if engines[p] != nil { // kept over a restart
		return engines[p], nil
	}
	under, err := d.newEngine(s, p)
	if err != nil {
		return nil, err
	}
	e, err := layout.Wrap(s, under)
	if err != nil {
		return nil, errors.Join(err, under.Close(false))
	}
	engines[p] = e
	if !s.Changelog && s.Row == nil {
		return engines[p], nil
	}
	if err := d.restore(engines[p], s, p); err != nil {
		return nil, fmt.Errorf("restore %q partition %d: %w", s.Name, p, err)
	}
	return engines[p], nil
}

func (d *Driver) restore(e store.Engine, s *graph.Store, p int32) error {
	var changes []store.Change
	if s.Row != nil {
		changes, err := d.sourceRows(s, p)
		if err != nil || len(changes) == 0 {
			return err
		}
		return e.Restore(changes, store.Checkpoint{Time: d.now})
	}
	from, _ := e.Checkpoint() // a file has what was committed before
	for _, r := range d.log(d.changelog(s.Name)).partitions[p][from.Offset:] {
		changes = append(changes, changelog.Change(r.Key, r.Value, r.Time, r.Headers))
	}
	if len(changes) == 0 {
		return nil
	}
	return e.Restore(changes, store.Checkpoint{Offset: d.changelogEnd(s, p), Time: d.now})
}

func (d *Driver) changelogEnd(s *graph.Store, p int32) int64 {
	if !s.Changelog {
		return 0
	}
	return int64(len(d.log(d.changelog(s.Name)).partitions[p]))
}

func (d *Driver) closeStores() error {
	var errs []error
	for _, engines := range d.stores {
		for _, e := range engines {
			if e != nil {
				errs = append(errs, e.Close(false))
			}
		}
	}
	d.stores = nil
	return errors.Join(errs...)
}
