package worker

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
)

// A file that turns out to be damaged costs its task a restore, and nobody else anything:
//
//	the engine notes the damage and wakes the worker -> the worker stops the task; when the commit in flight is over it
//	undoes what is not settled and returns the task -> the owner releases the stores, which moves the file aside
//	and removes the others of the partition -> the task is opened again: the store without files is restored, the others continue from their checkpoints
//
// The reader of the store gets the error too, but the worker does not depend on it: a user's
// function may ignore the error and continue with missing rows. So the worker asks the engines in
// each round and before each commit.

// Damage has the files of a task's stores and decides which errors mean that one of them is
// damaged. The zero value is for a task without files.
type Damage struct {
	Files map[string]storage.Damageable // by store
	// Restorable reports whether a restore could bring back rows that do not decode: the store has a
	// changelog or a topic, and the App has not restored it for that reason before. Nil: no store is
	// restorable.
	Restorable func(store string, partition int32) bool
	// DistrustGlobal marks a global store as damaged because rows do not decode. It reports false, and
	// does nothing, when a restore could not bring them back. Nil: always false.
	DistrustGlobal func(store string, err error) bool
}

// firstError returns the error of a file that is damaged, nil when no damage is known.
func (d *Damage) firstError() error {
	for _, f := range d.Files {
		if err := f.Damaged(); err != nil {
			return err
		}
	}
	return nil
}

// causes reports whether a damaged file is the cause of err. It marks that file as damaged if it is
// not marked yet.
func (d *Damage) causes(id graph.TaskID, err error) bool {
	// Once a file is damaged, every error may be a consequence: a function fails when its rows are
	// missing.
	if d.firstError() != nil || errors.Is(err, storage.ErrDamaged) {
		return true
	}
	// A page of a memory-mapped file could not be read: the disk failed, or somebody truncated the file.
	if fault, ok := errors.AsType[memoryFault](err); ok {
		for _, file := range d.Files {
			if file.Faulted(fault.Addr()) {
				file.Distrust(err)
				return true
			}
		}
	}
	// A row that does not decode: the file has other bytes than were written, or the serde has
	// changed. A restore tells which. It is tried once in the life of an App (Restorable); after that
	// the row is what Kafka has, and the decode policy decides.
	row, ok := errors.AsType[*codec.DecodeError](err)
	if !ok {
		return false
	}
	if row.Store == "" { // the error does not name its store: it may be any of the task's
		distrusted := false
		for name := range d.Files {
			distrusted = d.distrustUndecodable(id, name, err) || distrusted
		}
		return distrusted
	}
	if d.Files[row.Store] == nil { // not a store of the task
		return d.DistrustGlobal != nil && d.DistrustGlobal(row.Store, err)
	}
	return d.distrustUndecodable(id, row.Store, err)
}

// distrustUndecodable marks the file of a store with undecodable rows as damaged, if the store can
// be restored. It reports whether it did.
func (d *Damage) distrustUndecodable(id graph.TaskID, name string, err error) bool {
	file := d.Files[name]
	if !file.OnDisk() || d.Restorable == nil || !d.Restorable(name, id.Partition) {
		return false
	}
	file.Distrust(err)
	return true
}

// memoryFault is what the runtime panics with when memory cannot be read.
type memoryFault interface {
	error
	Addr() uintptr
}

// asDamaged adds storage.ErrDamaged to an error of opening a task whose cause is a damaged file. The
// owner then opens the task again, and the store is restored.
func (d *Damage) asDamaged(id graph.TaskID, err error) error {
	if err == nil || errors.Is(err, storage.ErrDamaged) || !d.causes(id, err) {
		return err
	}
	return fmt.Errorf("%w: %w", storage.ErrDamaged, err)
}

// stopDamaged stops the tasks with a damaged file.
func (w *Worker) stopDamaged() {
	for _, active := range w.tasks {
		if active.err != nil || active.undo {
			continue
		}
		if err := active.Damage.firstError(); err != nil {
			w.failTask(active, err)
		}
	}
}
