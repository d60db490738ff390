package lsm

import (
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

const (
	replayBytes    = 256 << 20
	checkpointAge  = 10 * time.Minute
	changeOverhead = 32 // bytes of a changelog record besides key and value
)

// Cut implements storage.Engine. When memory is short it waits for a flush of this store that is under
// way and does not fail.
func (e *Engine) Cut(emit func(storage.Change) error) (uint64, error) {
	e.noScan("cut")
	n := int64(0)
	epoch, err := e.tables[0].Cut(func(c storage.Change) error {
		n += int64(len(c.Key) + len(c.Value) + changeOverhead)
		return emit(c)
	})
	if err != nil {
		return 0, err
	}
	e.debt += n
	e.noteScans()
	e.cuts.Add(epoch)
	e.epoch = e.tables[0].Epoch()
	e.grown = max(0, e.account.Used()-e.level)
	if e.wantsSeal(e.relieve()) {
		e.seal(epoch)
	}
	e.level = e.account.Used()
	return epoch, nil
}

// relieve frees cached memtables as memory is needed. It reports whether the budget asked for more.
func (e *Engine) relieve() (pressed bool) {
	asked := e.account.Asked()
	e.trim(asked)
	if e.o.Budget.Full() {
		e.flusher.waitOnce()
		e.trim(asked)
	}
	return asked && e.o.Budget.Pressing()
}

// trim releases flushed tables, oldest first: all of them, or as long as the next epoch might find no
// room. At most two stay, since a read of a key that none of them has looks into each.
func (e *Engine) trim(all bool) {
	e.releaseRetired()
	b := e.o.Budget
	for n := len(e.tables) - 1; n > 0 && e.tables[n].isFlushed(); n-- {
		if !all && n <= 2 && b.Used()+e.grown < b.Limit() {
			return
		}
		e.drop(n)
	}
}

// Trim frees all memory whose content is on disk. The owner calls it when the store is not used for a
// while.
func (e *Engine) Trim() {
	e.noScan("trim")
	e.trim(true)
}

// drop releases the last table, or retires it.
func (e *Engine) drop(n int) {
	t := e.tables[n].Table
	e.snapshots.Lock()
	e.tables[n] = nil
	e.tables = e.tables[:n]
	e.snapshots.Unlock()
	// No snapshot that is opened from here on has it.
	if t.Readers() == 0 {
		t.Release()
		return
	}
	e.retire(t)
}

// retire keeps a flushed table for its snapshots, as long as there is memory for that. It counts apart
// from the budget: a reader that takes long, or never goes on, must not leave stores less room to
// write. A snapshot keeps at most the tables that there were when it was opened, with their kept logs,
// however long it is open. The oldest end first: they are those that take long.
func (e *Engine) retire(t *memtable.Table) {
	b := e.o.Budget
	for b.Retained()+t.Bytes() > b.Limit() && len(e.retired) > 0 {
		e.snapshots.EndReaders(e.retired[0])
		e.releaseRetired()
	}
	if b.Retained()+t.Bytes() > b.Limit() {
		e.snapshots.EndReaders(t)
	}
	t.Charge(e.retained)
	e.retired = append(e.retired, t)
	e.releaseRetired()
}

// releaseRetired releases the retired tables that no snapshot reads any more.
func (e *Engine) releaseRetired() {
	e.retired = slices.DeleteFunc(e.retired, func(t *memtable.Table) bool {
		if t.Readers() > 0 {
			return false
		}
		t.Release()
		return true
	})
}

func (t *table) isFlushed() bool {
	select {
	case <-t.flushed:
		return true
	default:
		return false
	}
}

// wantsSeal reports whether the active table should be written to disk.
func (e *Engine) wantsSeal(pressed bool) bool {
	if e.tables[0].Entries() == 0 {
		return false
	}
	return pressed || e.sealNext || e.debt > e.o.ReplayBytes || e.aged()
}

// aged reports whether there was no flush for long: a checkpoint that is too old is not trusted after a
// restart. Nor is one of a clock that was ahead, which is replaced: it would seem young for as long as
// the clock was ahead.
func (e *Engine) aged() bool { return e.settled.Time.Sub(e.saved).Abs() > checkpointAge }

// seal ends the active table at a cut.
func (e *Engine) seal(epoch uint64) {
	t := e.tables[0]
	t.upTo, t.state = epoch, sealed
	e.drain(t)
	e.debt, e.sealNext, e.saved = 0, false, e.settled.Time
	e.addTable()
}

// drain notes in the account what flushing a sealed table will free. It gets less when its epochs
// settle.
func (e *Engine) drain(t *table) {
	n := t.Bytes()
	e.account.AddFlushing(n - t.drained)
	t.drained = n
}

// accept notes where the changelog stands.
func (e *Engine) accept(c storage.Checkpoint) {
	if !e.has {
		e.saved = c.Time
	}
	e.settled, e.has, e.forgotten = c, true, false
}

// Settle implements storage.Engine.
func (e *Engine) Settle(epoch uint64, c storage.Checkpoint) {
	e.noScan("settle")
	e.cuts.Settle(epoch)
	e.settle(epoch)
	e.accept(c)
	e.tables[0].Settle(min(epoch, e.epoch-1))
	for i := len(e.tables) - 1; i > 0; i-- {
		t := e.tables[i]
		if t.state != sealed {
			continue
		}
		t.Settle(min(epoch, t.upTo))
		if t.upTo > epoch {
			break
		}
		// When later epochs settle in the same call, it is not known where the changelog stood after this
		// table. The checkpoint on disk is then older than it could be, which is safe: replay runs to the
		// end.
		if t.upTo == epoch {
			t.c, t.has = c, true
		}
		e.enqueue(t)
	}
	if len(e.cuts) == 0 && e.tables[0].Dirty() == 0 && e.aged() {
		e.sealSettled()
	}
}

// settle makes an epoch the newest settled one. It comes before all that follows from it, such as that
// tables let go of earlier versions: snapshots are of this epoch from here on.
func (e *Engine) settle(epoch uint64) {
	e.snapshots.Lock()
	defer e.snapshots.Unlock()
	e.done = epoch
}

// enqueue adds a table to the flusher's queue. It keeps invariant 1 of storage.Engine.
func (e *Engine) enqueue(t *table) {
	if t.Unsettled() {
		invariant.Fail("a memtable with unsettled epochs is to be flushed")
	}
	t.state = queued
	t.expired = e.expired.Until(min(t.upTo, e.done))
	e.expired.Settle(min(t.upTo, e.done), slices.Clone(t.expired))
	e.drain(t)
	e.flusher.add(t)
}

// sealSettled seals the active table, all of which is settled, and adds it to the flusher's queue. An
// empty one has the checkpoint.
func (e *Engine) sealSettled() {
	if e.tables[0].Entries() == 0 && !e.checkpointMoved() {
		return
	}
	t := e.tables[0]
	e.seal(e.epoch - 1)
	t.c, t.has = e.settled, e.has
	e.enqueue(t)
}

func (e *Engine) checkpointMoved() bool {
	on, ok := e.flusher.newest()
	return e.has && (!ok || on.Offset != e.settled.Offset || on.TopicID != e.settled.TopicID || e.aged())
}

// Expire implements storage.Engine.
func (e *Engine) Expire(from, to []byte) { e.expired.Add(e.epoch, from, to) }

// Undo implements storage.Engine.
func (e *Engine) Undo() error {
	e.noScan("undo")
	e.cuts.Undo()
	e.expired.Undo(e.done)
	e.tables[0].Undo()
	for i := 1; i < len(e.tables) && e.tables[i].state == sealed; i++ {
		e.tables[i].Undo()
	}
	// All that sealed tables have now is settled, up to where the changelog stood last.
	for i := len(e.tables) - 1; i > 0; i-- {
		if t := e.tables[i]; t.state == sealed {
			t.c, t.has = e.settled, e.has
			e.enqueue(t)
		}
	}
	e.epoch++
	e.tables[0].SetEpoch(e.epoch)
	e.epoch = e.tables[0].Epoch()
	return nil
}

// Restore implements storage.Engine.
func (e *Engine) Restore(changes []storage.Change, c storage.Checkpoint) error {
	e.noScan("restore")
	if len(e.cuts) > 0 || e.tables[0].Unsettled() {
		invariant.Fail("restore with unsettled epochs")
	}
	before := e.account.Used()
	if err := e.load(changes); err != nil {
		return err
	}
	// After the last change: when one of them fails, the checkpoint is still before all of them.
	e.accept(c)
	e.expired.Accept()
	// Before relieve, which makes room for the next batch: that is expected to need as much as this
	// one.
	e.grown = max(0, e.account.Used()-before)
	if e.wantsSeal(e.relieve()) {
		e.sealSettled()
	}
	e.level = e.account.Used()
	return nil
}

// load writes the changes of a restore to the active table.
func (e *Engine) load(changes []storage.Change) (err error) {
	t, write := e.tables[0], e.tables[0].Load
	if e.snapshots.TryRefuse() {
		defer e.snapshots.Allow()
		t.DropRetained()
	} else {
		// Open snapshots need the rows before. So the changes are an epoch, which settles at once.
		write = t.PutOrDelete
		defer func() {
			epoch, _ := t.Cut(func(storage.Change) error { return nil })
			e.settle(epoch)
			t.Settle(epoch)
			e.epoch = t.Epoch()
		}()
	}
	for i, ch := range changes {
		if i%memtable.AheadKeys == 0 {
			t.ReadAheadOf(changes[i:])
		}
		if err := memtable.CheckRow(ch.Key, ch.Value, false); err != nil {
			return err
		}
		if err := write(ch.Key, ch.Value, ch.Time); err != nil {
			return err
		}
		e.debt += int64(len(ch.Key) + len(ch.Value) + changeOverhead)
	}
	return nil
}
