package memory

import (
	"encoding/binary"
	"errors"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/store"
)

// errFull is returned by a write to a table that has come close to what its refs can name.
var errFull = errors.New("store: more than 30 GiB in memory")

// An epochLog is what one epoch did: a node for each entry that it touched, with the version before. It is the epoch's
// changelog batch (the entries have the newest values) and its undo list. Versions are copied here rather than new ones
// linked in front: the log is written and freed as a whole, and entries keep their values beside their keys.
type epochLog struct {
	epoch uint64
	bump  bump
	parts []part
	dead  []ref // entries that are deleted as of the cut
}

// A part is a chunk of a log and how much of it is used.
type part struct {
	chunk uint32
	used  int
}

// A node, fields little-endian:
//
//	0       4        8       12       16      20     24
//	+-------+--------+-------+--------+-------+------+--------------------+
//	| entry | before | epoch | length | state | size | time, value, to 8  |
//	+-------+--------+-------+--------+-------+------+--------------------+
//
// All but entry and size are the entry's fields before the epoch; the last is missing when it was Absent.
type node []byte

const nodeHead = 24

func (n node) entry() ref    { return le.Uint32(n) }
func (n node) before() ref   { return le.Uint32(n[4:]) }
func (n node) epoch() uint32 { return le.Uint32(n[8:]) }
func (n node) state() State  { return State(n[16]) }
func (n node) size() int     { return int(le.Uint32(n[20:])) }
func (n node) stored() []byte {
	end := nodeHead + timeSize + int(le.Uint32(n[12:]))
	return n[nodeHead:end:end]
}

// remember notes the entry's version in the log of the current epoch, which is about to change it.
func (t *Table) remember(r ref, e entry) {
	stored := 0
	if e.state() != Absent {
		stored = timeSize + e.length()
	}
	size := nodeHead + roundUp(stored)
	at := t.logSpace(t.log(), size)
	n := node(t.arena.bytes(at))
	le.PutUint32(n, r)
	le.PutUint32(n[4:], e.before())
	le.PutUint32(n[8:], e.epoch())
	le.PutUint32(n[12:], uint32(e.length()))
	le.PutUint32(n[16:], uint32(e.state()))
	le.PutUint32(n[20:], uint32(size))
	copy(n[nodeHead:nodeHead+stored], t.arena.bytes(e.value()))
	e.setBefore(at)
	e.setEpoch(uint32(t.epoch))
}

// log returns the log of the current epoch.
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

// logSpace returns size bytes at the end of a log. A node that needs memory of its own goes before the part being filled.
func (t *Table) logSpace(l *epochLog, size int) ref {
	if size > largeFrom {
		r, _ := t.arena.allocLarge(size)
		l.parts = append(l.parts, part{chunk: r >> offsetBit, used: size})
		if n := len(l.parts); n > 1 {
			l.parts[n-1], l.parts[n-2] = l.parts[n-2], l.parts[n-1]
		}
		return r
	}
	r := t.arena.cut(&l.bump, size)
	if n := len(l.parts); n == 0 || l.parts[n-1].chunk != l.bump.chunk {
		l.parts = append(l.parts, part{chunk: l.bump.chunk})
	}
	l.parts[len(l.parts)-1].used = l.bump.off
	return r
}

// nodes calls f for each node of a log.
func (t *Table) nodes(l *epochLog, f func(node) error) error {
	for _, p := range l.parts {
		for rest := t.arena.chunks[p.chunk][:p.used]; len(rest) > 0; {
			n := node(rest)
			if err := f(n); err != nil {
				return err
			}
			rest = rest[n.size():]
		}
	}
	return nil
}

// Cut ends the current epoch and hands its changes to emit, puts before deletions. When emit fails, the epoch goes on.
func (t *Table) Cut(emit func(store.Change) error) (uint64, error) {
	if n := len(t.logs); n > 0 && t.logs[n-1].epoch == t.epoch {
		if err := t.emit(t.logs[n-1], emit); err != nil {
			return 0, err
		}
	}
	cut := t.epoch
	t.SetEpoch(cut + 1)
	return cut, nil
}

func (t *Table) emit(l *epochLog, emit func(store.Change) error) error {
	l.dead = l.dead[:0]
	err := t.nodes(l, func(n node) error {
		r := t.row(n.entry())
		if r.State == Deleted {
			l.dead = append(l.dead, n.entry())
			return nil
		}
		return emit(store.Change{Key: r.Key, Value: r.Value(), Time: r.Time()})
	})
	for _, d := range l.dead {
		if err != nil {
			return err
		}
		r := t.row(d)
		err = emit(store.Change{Key: r.Key, Time: r.Time()})
	}
	return err
}

// SetEpoch makes n the current epoch; it only ever grows.
func (t *Table) SetEpoch(n uint64) {
	if n < t.epoch {
		invariant.Fail("epoch %d follows %d", n, t.epoch)
	}
	// Entries know 32 bits of their epoch. When these start over, those of settled epochs are set to 0, which no epoch has.
	if n>>32 != t.epoch>>32 {
		t.forgetEpochs()
	}
	if uint32(n) == 0 {
		n++
	}
	t.epoch, t.dirty = n, 0
}

func (t *Table) forgetEpochs() {
	for _, s := range t.index.slots {
		if s != 0 {
			if e := entry(t.arena.bytes(ref(s))); !t.pending(e.epoch()) {
				e.setEpoch(0)
			}
		}
	}
}

// pending is whether an entry's epoch is not settled.
func (t *Table) pending(epoch uint32) bool {
	for _, l := range t.logs {
		if uint32(l.epoch) == epoch {
			return true
		}
	}
	return false
}

// Settle forgets how to undo the cut epochs up to this one.
func (t *Table) Settle(epoch uint64) {
	if epoch >= t.epoch {
		invariant.Fail("epoch %d is settled before it is cut", epoch)
	}
	settled := 0
	for _, l := range t.logs {
		if l.epoch > epoch {
			break
		}
		settled++
	}
	for _, l := range t.logs[:settled] {
		if t.bottom {
			t.bury(l)
		}
	}
	for _, l := range t.logs[:settled] {
		t.recycle(l)
	}
	t.logs = append(t.logs[:0], t.logs[settled:]...)
	t.check()
}

// bury removes the entries that the log's epoch deleted, unless a later epoch wrote them again. (An entry deleted by two epochs
// is in both lists; its epoch says which one counts.)
func (t *Table) bury(l *epochLog) {
	for _, d := range l.dead {
		if e := entry(t.arena.bytes(d)); e.epoch() == uint32(l.epoch) && e.state() == Deleted {
			t.remove(d)
		}
	}
}

func (t *Table) recycle(l *epochLog) {
	for _, p := range l.parts {
		t.arena.dropChunk(p.chunk)
	}
	*l = epochLog{parts: l.parts[:0], dead: l.dead[:0]}
	t.spare = append(t.spare, l)
}

// Undo takes back all epochs that are not settled, newest first. Entries that they made are gone.
func (t *Table) Undo() {
	for i := len(t.logs) - 1; i >= 0; i-- {
		_ = t.nodes(t.logs[i], func(n node) error { t.undo(n); return nil })
		t.recycle(t.logs[i])
	}
	t.logs, t.dirty = t.logs[:0], 0
	t.check()
}

func (t *Table) undo(n node) {
	r, s := n.entry(), n.state()
	t.count(r, s)
	// A deletion that settled while a later epoch had written the row again was not buried then.
	if s == Absent || s == Deleted && t.bottom && !t.pending(n.epoch()) {
		t.remove(r)
		return
	}
	stored := n.stored()
	t.set(r, stored[timeSize:], int64(binary.BigEndian.Uint64(stored)), s)
	e := entry(t.arena.bytes(r))
	e.setBefore(n.before())
	e.setEpoch(n.epoch())
}

// Unsettled is whether some epoch can still be undone.
func (t *Table) Unsettled() bool { return len(t.logs) > 0 }

// settledRow returns the entry's newest version that is settled; Absent when there is none.
func (t *Table) settledRow(r ref) Row {
	row := t.row(r)
	e := entry(t.arena.bytes(r))
	for epoch, before := e.epoch(), e.before(); t.pending(epoch); {
		n := node(t.arena.bytes(before))
		epoch, before = n.epoch(), n.before()
		row.State, row.Stored = n.state(), nil
		if row.State != Absent {
			row.Stored = n.stored()
		}
	}
	return row
}
