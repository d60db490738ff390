package memtable

import (
	"encoding/binary"
	"errors"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/storage"
)

// errFull is returned by writes to a table that has come close to what its refs can name.
var errFull = errors.New("store: more than 24 GiB in memory")

// An epochLog is what one epoch did: an undo record for each entry that it changed, with the
// version before. It is the list of the epoch's changes for the changelog (the entries have the new
// values) and its undo list.
//
// The old versions are copied here, and the new ones are written in place. The alternative, to link
// a new version in front of the old one, would separate values from their keys, and each old
// version would have to be freed by itself when the epoch settles. A log is freed as a whole.
type epochLog struct {
	epoch   uint64
	bump    bump
	chunks  []logChunk
	deleted []ref // the entries that were deleted at the cut
}

// A logChunk is a chunk of a log and how much of it is used.
type logChunk struct {
	chunk uint32
	used  int
}

// A undoRecord, fields little-endian:
//
//	0       4        8       12       16      20     24
//	+-------+--------+-------+--------+-------+------+--------------------+
//	| entry | undo   | epoch | length | state | size | time, value, to 8  |
//	+-------+--------+-------+--------+-------+------+--------------------+
//
// All but entry and size are the entry's fields before the epoch; the last is missing when it was
// Absent.
type undoRecord []byte

const undoHead = 24

func (n undoRecord) entry() ref    { return le.Uint32(n) }
func (n undoRecord) undo() ref     { return le.Uint32(n[4:]) }
func (n undoRecord) epoch() uint32 { return le.Uint32(n[8:]) }
func (n undoRecord) state() State  { return State(n[16]) }
func (n undoRecord) size() int     { return int(le.Uint32(n[20:])) }
func (n undoRecord) stored() []byte {
	end := undoHead + timeSize + int(le.Uint32(n[12:]))
	return n[undoHead:end:end]
}

// logUndo copies the entry's version to the log of the current epoch, which is about to change it.
func (t *Table) logUndo(r ref, e entry) {
	stored := 0
	if e.state() != Absent {
		stored = timeSize + e.length()
	}
	size := undoHead + roundUp(stored)
	at := t.logSpace(t.log(), size)
	n := undoRecord(t.arena.bytes(at))
	le.PutUint32(n, r)
	le.PutUint32(n[4:], e.undo())
	le.PutUint32(n[8:], e.epoch())
	le.PutUint32(n[12:], uint32(e.length()))
	le.PutUint32(n[16:], uint32(e.state()))
	le.PutUint32(n[20:], uint32(size))
	copy(n[undoHead:undoHead+stored], t.arena.bytes(e.value()))
	e.setUndo(at)
	e.setEpoch(uint32(t.epoch))
}

// log returns the log of the current epoch. It makes one if this is the epoch's first change.
func (t *Table) log() *epochLog {
	if n := len(t.logs); n > 0 && t.logs[n-1].epoch == t.epoch {
		return t.logs[n-1]
	}
	var l *epochLog
	if n := len(t.spare); n > 0 {
		l, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		l = &epochLog{}
	}
	l.epoch = t.epoch
	t.logs = append(t.logs, l)
	return l
}

// logSpace returns size bytes at the end of a log. A large record gets a chunk of its own, which
// goes before the chunk being filled, so that this one stays the last.
func (t *Table) logSpace(l *epochLog, size int) ref {
	if size > largeFrom {
		chunk := t.arena.addChunk(mapPages(wholePages(size)))
		l.chunks = append(l.chunks, logChunk{chunk: chunk, used: size})
		if n := len(l.chunks); n > 1 {
			l.chunks[n-1], l.chunks[n-2] = l.chunks[n-2], l.chunks[n-1]
		}
		return chunk << offsetBit
	}
	r := t.arena.carve(&l.bump, size)
	if n := len(l.chunks); n == 0 || l.chunks[n-1].chunk != l.bump.chunk {
		l.chunks = append(l.chunks, logChunk{chunk: l.bump.chunk})
	}
	l.chunks[len(l.chunks)-1].used = l.bump.next
	return r
}

// eachUndoRecord calls f for each record of a log.
func (t *Table) eachUndoRecord(l *epochLog, f func(undoRecord) error) error {
	for _, p := range l.chunks {
		for rest := t.arena.chunks[p.chunk][:p.used]; len(rest) > 0; {
			n := undoRecord(rest)
			if err := f(n); err != nil {
				return err
			}
			rest = rest[n.size():]
		}
	}
	return nil
}

// Cut ends the current epoch and passes its changes to emit, puts before deletions. When emit
// fails, the epoch goes on.
func (t *Table) Cut(emit func(storage.Change) error) (uint64, error) {
	if n := len(t.logs); n > 0 && t.logs[n-1].epoch == t.epoch {
		if err := t.emit(t.logs[n-1], emit); err != nil {
			return 0, err
		}
	}
	cut := t.epoch
	t.SetEpoch(cut + 1)
	t.DropRetained()
	return cut, nil
}

func (t *Table) emit(l *epochLog, emit func(storage.Change) error) error {
	l.deleted = l.deleted[:0]
	err := t.eachChanged(l, func(r ref) error {
		row := t.row(r)
		if row.State == Deleted {
			l.deleted = append(l.deleted, r)
			return nil
		}
		return emit(storage.Change{Key: row.Key, Value: row.Value(), Time: row.Time()})
	})
	for _, d := range l.deleted {
		if err != nil {
			return err
		}
		r := t.row(d)
		err = emit(storage.Change{Key: r.Key, Time: r.Time()})
	}
	return err
}

// eachChanged calls f for each entry that the epoch of a log has changed, in the order of the log. They are
// anywhere in memory: some are read ahead, as in ReadAhead.
func (t *Table) eachChanged(l *epochLog, f func(ref) error) error {
	var group [AheadKeys]ref
	n := 0
	each := func() error {
		t.touched ^= t.touch(group[:n])
		for _, r := range group[:n] {
			if err := f(r); err != nil {
				return err
			}
		}
		n = 0
		return nil
	}
	err := t.eachUndoRecord(l, func(u undoRecord) error {
		group[n] = u.entry()
		if n++; n < len(group) {
			return nil
		}
		return each()
	})
	if err != nil {
		return err
	}
	return each()
}

// SetEpoch makes n the current epoch; it only ever grows.
func (t *Table) SetEpoch(n uint64) {
	t.lock()
	defer t.unlock()
	if n < t.epoch {
		invariant.Fail("epoch %d follows %d", n, t.epoch)
	}
	// Entries have the low 32 bits of their epoch. When these wrap around, an old entry could seem to
	// belong to a new epoch and would not be logged. So all entries of settled epochs get 0, which is
	// no epoch's number.
	if n>>32 != t.epoch>>32 {
		t.clearSettledEpochs()
	}
	if uint32(n) == 0 {
		n++
	}
	t.epoch, t.dirty = n, 0
}

func (t *Table) clearSettledEpochs() {
	for _, s := range t.index.slots {
		if s != 0 {
			if e := entry(t.arena.bytes(ref(s))); !t.logged(e.epoch()) {
				e.setEpoch(0)
			}
		}
	}
}

// pending reports whether an entry's epoch is not settled.
func (t *Table) pending(epoch uint32) bool {
	for _, l := range t.logs {
		if uint32(l.epoch) == epoch {
			return true
		}
	}
	return false
}

// logged reports whether there is a log of an entry's epoch: it is not settled, or a snapshot needs
// what was before it. All epochs since the first kept one have their logs.
func (t *Table) logged(epoch uint32) bool {
	return t.pending(epoch) || len(t.retained) > 0 && t.isAfter(epoch, t.retained[0].epoch-1)
}

// Settle drops the undo records of the cut epochs up to this one, but for those that snapshots need.
func (t *Table) Settle(epoch uint64) {
	if epoch >= t.epoch {
		invariant.Fail("epoch %d is settled before it is cut", epoch)
	}
	t.lock()
	defer t.unlock()
	settled := 0
	for _, l := range t.logs {
		if l.epoch > epoch {
			break
		}
		settled++
	}
	// By way of retained, whether there are snapshots or not: one place decides what is needed.
	t.retained = append(t.retained, t.logs[:settled]...)
	t.logs = append(t.logs[:0], t.logs[settled:]...)
	t.dropRetained()
	t.check()
}

// DropRetained frees the logs of settled epochs that no snapshot needs any more.
func (t *Table) DropRetained() {
	if len(t.retained) > 0 {
		t.lock()
		t.dropRetained()
		t.unlock()
	}
}

func (t *Table) dropRetained() {
	oldest, read := uint64(0), false
	if t.shared != nil && t.readers > 0 {
		oldest, read = t.shared.oldest(t)
	}
	// The snapshot of an epoch needs what was before later epochs. One that is opened while this pauses
	// is of an epoch that is settled now.
	n := 0
	for n < len(t.retained) && !(read && t.retained[n].epoch > oldest) {
		n++
	}
	for _, l := range t.retained[:n] {
		if t.onlyLevel {
			t.removeDeleted(l)
		}
	}
	for _, l := range t.retained[:n] {
		t.recycle(l)
	}
	t.retained = append(t.retained[:0], t.retained[n:]...)
}

// RetainedBytes returns the memory of the logs that are kept for snapshots.
func (t *Table) RetainedBytes() (n int64) {
	for _, l := range t.retained {
		for _, p := range l.chunks {
			n += int64(len(t.arena.chunks[p.chunk]))
		}
	}
	return n
}

// removeDeleted removes the entries that the log's epoch deleted, unless a later epoch wrote them
// again: an entry's epoch is the one that wrote it last.
func (t *Table) removeDeleted(l *epochLog) {
	for i, d := range l.deleted {
		if i%pauseEvery == pauseEvery-1 {
			t.pause()
		}
		if e := entry(t.arena.bytes(d)); e.epoch() == uint32(l.epoch) && e.state() == Deleted {
			t.remove(d)
		}
	}
}

func (t *Table) recycle(l *epochLog) {
	for _, p := range l.chunks {
		t.arena.dropChunk(p.chunk)
	}
	*l = epochLog{chunks: l.chunks[:0], deleted: l.deleted[:0]}
	t.spare = append(t.spare, l)
}

// Undo undoes all epochs that are not settled, newest first. It removes the entries that they made.
func (t *Table) Undo() {
	t.lock()
	defer t.unlock()
	undone := 0
	for i := len(t.logs) - 1; i >= 0; i-- {
		_ = t.eachUndoRecord(t.logs[i], func(n undoRecord) error {
			// A reader finds the version that it looks for, whether the later ones were undone or not.
			if undone++; undone%pauseEvery == 0 {
				t.pause()
			}
			t.undo(n)
			return nil
		})
		t.recycle(t.logs[i])
	}
	t.logs, t.dirty = t.logs[:0], 0
	t.check()
}

func (t *Table) undo(n undoRecord) {
	r, s := n.entry(), n.state()
	t.updateLive(r, s)
	// The version before may be a deletion that has settled. When it settled, a later epoch had
	// written the row again, so the entry was not removed then.
	if s == Absent || s == Deleted && t.onlyLevel && !t.logged(n.epoch()) {
		t.remove(r)
		return
	}
	stored := n.stored()
	t.set(r, stored[timeSize:], int64(binary.BigEndian.Uint64(stored)), s)
	e := entry(t.arena.bytes(r))
	e.setUndo(n.undo())
	e.setEpoch(n.epoch())
}

// Unsettled reports whether some epoch can still be undone.
func (t *Table) Unsettled() bool { return len(t.logs) > 0 }

// settledRow returns the entry's newest settled version, Absent when there is none.
func (t *Table) settledRow(r ref) Row {
	if len(t.logs) == 0 {
		return t.row(r)
	}
	return t.rowAt(r, t.logs[0].epoch-1)
}

// rowAt returns the entry's version of an epoch: of those that belong to epochs up to it, the newest.
// It is Absent when there is none. The logs of all later epochs are there.
func (t *Table) rowAt(r ref, epoch uint64) Row {
	row := t.row(r)
	e := entry(t.arena.bytes(r))
	for of, before := e.epoch(), e.undo(); t.isAfter(of, epoch); {
		n := undoRecord(t.arena.bytes(before))
		of, before = n.epoch(), n.undo()
		row.State, row.Stored = n.state(), nil
		if row.State != Absent {
			row.Stored = n.stored()
		}
	}
	return row
}

// isAfter reports whether an entry's epoch, of which it has the low 32 bits, comes after another. It
// asks no log: a snapshot that is open for long has many.
func (t *Table) isAfter(of uint32, epoch uint64) bool {
	return of != 0 && epoch < t.epoch && of-uint32(epoch)-1 < uint32(t.epoch-epoch)
}
