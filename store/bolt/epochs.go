package bolt

import (
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

const (
	replayBytes    = 256 << 20
	checkpointAge  = 10 * time.Minute
	changeOverhead = 32 // bytes of a changelog record besides key and value
)

// Cut implements store.Engine. When memory is short it waits for a flush of this store that is under way and goes well.
func (e *Engine) Cut(emit func(store.Change) error) (uint64, error) {
	e.noScan("cut")
	n := int64(0)
	epoch, err := e.tables[0].Cut(func(c store.Change) error {
		n += int64(len(c.Key) + len(c.Value) + changeOverhead)
		return emit(c)
	})
	if err != nil {
		return 0, err
	}
	e.debt += n
	e.cuts.Add(epoch)
	e.epoch = e.tables[0].Epoch()
	e.grown = max(0, e.account.Used()-e.level)
	if e.wantsSeal(e.relieve()) {
		e.seal(epoch)
	}
	e.level = e.account.Used()
	return epoch, nil
}

// relieve gives back cached memtables as memory is needed, and is whether the budget asked for more than that.
func (e *Engine) relieve() (pressed bool) {
	asked := e.account.Asked()
	e.trim(asked)
	if e.o.Budget.Full() {
		e.flusher.waitOnce()
		e.trim(asked)
	}
	return asked && e.o.Budget.Pressing()
}

// trim releases flushed tables, oldest first, all of them or as long as the next epoch might find no room, but at most two
// stay: each is one more place to look at for a key that none of them has.
func (e *Engine) trim(all bool) {
	b := e.o.Budget
	for n := len(e.tables) - 1; n > 0 && e.tables[n].isFlushed(); n-- {
		if !all && n <= 2 && b.Used()+e.grown < b.Limit() {
			return
		}
		e.drop(n)
	}
}

// Trim gives back all memory whose content is on disk. Its owner calls it when the store is not used for a while.
func (e *Engine) Trim() {
	e.noScan("trim")
	e.trim(true)
}

// drop releases the last table.
func (e *Engine) drop(n int) {
	e.tables[n].Release()
	e.tables[n] = nil
	e.tables = e.tables[:n]
}

func (t *table) isFlushed() bool {
	select {
	case <-t.flushed:
		return true
	default:
		return false
	}
}

// wantsSeal is whether the active table should be written to disk.
func (e *Engine) wantsSeal(pressed bool) bool {
	if e.tables[0].Entries() == 0 {
		return false
	}
	return pressed || e.sealNext || e.debt > e.o.ReplayBytes || e.aged()
}

// aged is whether there has been no flush for long: a checkpoint that is too old is not trusted after a restart.
func (e *Engine) aged() bool { return e.settled.Time.Sub(e.saved) > checkpointAge }

// seal ends the active table at a cut.
func (e *Engine) seal(epoch uint64) {
	t := e.tables[0]
	t.upTo, t.state = epoch, sealed
	e.drain(t)
	e.debt, e.sealNext, e.saved = 0, false, e.settled.Time
	e.addTable()
}

// drain tells the account what a sealed table will give back; it gets less when its epochs settle.
func (e *Engine) drain(t *table) {
	n := t.Bytes()
	e.account.Drain(n - t.drained)
	t.drained = n
}

// accept notes where the changelog stands.
func (e *Engine) accept(c store.Checkpoint) {
	if !e.has {
		e.saved = c.Time
	}
	e.settled, e.has = c, true
}

// Settle implements store.Engine.
func (e *Engine) Settle(epoch uint64, c store.Checkpoint) {
	e.noScan("settle")
	e.cuts.Settle(epoch)
	e.done = epoch
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
		// When later epochs settle in the same call, where the changelog stood after this table is not known. The file then
		// keeps an older checkpoint than it could have, which is safe: replay runs to the end.
		if t.upTo == epoch {
			t.c, t.has = c, true
		}
		e.enqueue(t)
	}
	if len(e.cuts) == 0 && e.tables[0].Dirty() == 0 && e.aged() {
		e.sealSettled()
	}
}

// enqueue hands a table to the flusher. It keeps invariant 1 of store.Engine.
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

// sealSettled seals the active table, all of which is settled, and hands it to the flusher. An empty one carries the checkpoint.
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

// Expire implements store.Engine.
func (e *Engine) Expire(from, to []byte) { e.expired.Add(e.epoch, from, to) }

// Undo implements store.Engine.
func (e *Engine) Undo() error {
	e.noScan("undo")
	e.cuts.Undo()
	e.expired.Undo(e.done)
	e.tables[0].Undo()
	for i := 1; i < len(e.tables) && e.tables[i].state == sealed; i++ {
		e.tables[i].Undo()
	}
	// What sealed tables hold now is settled, up to where the changelog stood last.
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

// Restore implements store.Engine.
func (e *Engine) Restore(changes []store.Change, c store.Checkpoint) error {
	e.noScan("restore")
	if len(e.cuts) > 0 || e.tables[0].Unsettled() {
		invariant.Fail("restore with unsettled epochs")
	}
	before := e.account.Used()
	for _, ch := range changes {
		if err := memory.Check(ch.Key, ch.Value, false); err != nil {
			return err
		}
		if err := e.tables[0].Load(ch.Key, ch.Value, ch.Time); err != nil {
			return err
		}
		e.debt += int64(len(ch.Key) + len(ch.Value) + changeOverhead)
	}
	e.accept(c)
	e.expired.Accept()
	e.grown = max(0, e.account.Used()-before)
	if e.wantsSeal(e.relieve()) {
		e.sealSettled()
	}
	e.level = e.account.Used()
	return nil
}
