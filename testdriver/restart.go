package testdriver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

// Restart crashes the program and starts it again. Whatever was in memory and not committed is
// lost: stores are restored from their changelogs, stream times from the committed offsets, and
// records that were not committed are processed again. Stores without a changelog still have what
// was committed, unless they are in memory. Functions registered with OnClose are not called.
func (d *Driver) Restart() {
	d.test.Helper()
	d.check(d.restart(false))
}

// Wipe is Restart on another machine: the disk is lost, too, and with it stores without a
// changelog.
func (d *Driver) Wipe() {
	d.test.Helper()
	d.check(d.restart(true))
}

func (d *Driver) restart(wipe bool) error {
	if err := d.usable(); err != nil {
		return err
	}
	old := d.stores
	d.stores = map[string][]storage.Engine{}
	var errs []error
	for name, engines := range old {
		def := d.graph.Store(name)
		for _, engine := range engines {
			if engine == nil {
				continue
			}
			// A crash of the process does not delete files. A store on disk with a changelog is closed all
			// the same: it must show that it can be restored.
			if survives := !wipe && !def.Changelog && !def.InMemory && def.SourceTopic == ""; survives {
				errs = append(errs, engine.Undo())
				d.stores[name] = append(d.stores[name], engine)
				continue
			}
			errs = append(errs, engine.Close(false))
		}
	}
	if wipe {
		errs = append(errs, d.deleteStateDir())
	}
	if err := errors.Join(append(errs, d.startTasks())...); err != nil {
		return d.fail(err)
	}
	return d.drain()
}

// deleteStateDir deletes the files of all stores.
func (d *Driver) deleteStateDir() error {
	if d.options.stateDir == "" {
		return nil
	}
	return os.RemoveAll(d.options.stateDir)
}

// newEngine opens the engine of one partition of a store.
func (d *Driver) newEngine(def *graph.Store, partition int32) (storage.Engine, error) {
	if d.options.stateDir == "" || def.InMemory || def.SourceTopic != "" {
		return memtable.New(d.budget), nil
	}
	engine, _, err := lsm.Open(lsm.Options{
		Path:  filepath.Join(d.options.stateDir, def.Name, strconv.Itoa(int(partition))),
		Store: d.options.application + "/" + def.Name, Partition: partition, Budget: d.budget, NoSync: true, PageSize: 1024,
	})
	return engine, err
}

// flushEvery is how many commits a restart may have to replay. It is small, because tests have few
// records.
const flushEvery = 8

func (d *Driver) changelog(name string) string {
	return graph.ChangelogTopic(d.options.application, name)
}

// openStore opens one partition of a store and restores it from its changelog.
func (d *Driver) openStore(def *graph.Store, partition int32) (storage.Engine, error) {
	if def.Changelog {
		topic := d.changelog(def.Name)
		d.counts[topic] = max(d.counts[topic], d.taskCount(d.graph.Subtopologies[def.Subtopology]))
	}
	engines := d.stores[def.Name]
	for len(engines) <= int(partition) {
		engines = append(engines, nil)
	}
	d.stores[def.Name] = engines
	if engines[partition] != nil { // kept over a restart
		return engines[partition], nil
	}
	under, err := d.newEngine(def, partition)
	if err != nil {
		return nil, err
	}
	engine, err := segmented.Wrap(def, under)
	if err != nil {
		return nil, errors.Join(err, under.Close(false))
	}
	engines[partition] = engine
	if !def.Changelog && def.RowDecoder == nil {
		return engines[partition], nil
	}
	if err := d.restore(engines[partition], def, partition); err != nil {
		return nil, fmt.Errorf("restore %q partition %d: %w", def.Name, partition, err)
	}
	return engines[partition], nil
}

func (d *Driver) restore(engine storage.Engine, def *graph.Store, partition int32) error {
	var changes []storage.Change
	if def.RowDecoder != nil {
		changes, err := d.sourceRows(def, partition)
		if err != nil || len(changes) == 0 {
			return err
		}
		return engine.Restore(changes, storage.Checkpoint{Time: d.now})
	}
	from, _ := engine.Checkpoint() // a file has what was committed before
	for _, r := range d.log(d.changelog(def.Name)).partitions[partition][from.Offset:] {
		changes = append(changes, changelog.Change(r.Key, r.Value, r.Time, r.Headers))
	}
	if len(changes) == 0 {
		return nil
	}
	return engine.Restore(changes, storage.Checkpoint{Offset: d.changelogEnd(def, partition), Time: d.now})
}

func (d *Driver) changelogEnd(def *graph.Store, partition int32) int64 {
	if !def.Changelog {
		return 0
	}
	return int64(len(d.log(d.changelog(def.Name)).partitions[partition]))
}

func (d *Driver) closeStores() error {
	var errs []error
	for _, engines := range d.stores {
		for _, engine := range engines {
			if engine != nil {
				errs = append(errs, engine.Close(false))
			}
		}
	}
	d.stores = nil
	return errors.Join(errs...)
}
