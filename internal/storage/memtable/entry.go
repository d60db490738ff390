package memtable

import "encoding/binary"

// State is what a memtable knows of a key.
type State uint8

const (
	Absent  State = iota // nothing: the level below decides
	Live                 // the key has a row
	Deleted              // the key has no row, whatever is in the level below
)

// An entry is a block of the arena, fields little-endian:
//
//	0        4        8        12       16       20     22     24         24+key, to 8
//	+--------+--------+--------+--------+--------+------+------+----------+----------------+
//	| value  | length | capac- | undo   | epoch  | key  | size | key ...  | first value    |
//	| ref    |        | ity    | ref    |        | len  |state |          | block          |
//	+--------+--------+--------+--------+--------+------+------+----------+----------------+
//
// value refers to {time, 8 bytes, big-endian | value}, the form that rows have in files, so that a
// flush copies nothing. undo refers to the undo record of the entry's newest epoch, and is
// meaningless once that epoch has settled. size is that of the block. In a table that finds rows by
// series, the block ends with the links of the entry (seriesIndex).
type entry []byte

const (
	entryHead = 24
	timeSize  = 8
	maxInline = 2 << 10 // larger values get blocks of their own, which can be freed when they grow
)

func (e entry) value() ref    { return le.Uint32(e) }
func (e entry) length() int   { return int(le.Uint32(e[4:])) }
func (e entry) capacity() int { return int(le.Uint32(e[8:])) * unit }
func (e entry) undo() ref     { return le.Uint32(e[12:]) }
func (e entry) epoch() uint32 { return le.Uint32(e[16:]) }
func (e entry) key() []byte {
	n := int(le.Uint16(e[20:]))
	return e[entryHead : entryHead+n : entryHead+n]
}
func (e entry) state() State     { return State(e[22] & 3) }
func (e entry) size() int        { return int(le.Uint16(e[22:])>>2) * unit }
func (e entry) inlineAt() int    { return entryHead + roundUp(int(le.Uint16(e[20:]))) }
func (e entry) setState(s State) { e[22] = e[22]&^3 | byte(s) }

func (e entry) setEpoch(n uint32) { le.PutUint32(e[16:], n) }
func (e entry) setUndo(r ref)     { le.PutUint32(e[12:], r) }

func roundUp(n int) int { return (n + unit - 1) &^ (unit - 1) }

// newEntry makes an absent entry of key with capacity for a first value of n bytes.
func (t *Table) newEntry(key []byte, n int) ref {
	r, size := t.arena.alloc(t.entryBytes(key, n))
	t.initEntry(r, size, key)
	return r
}

// entryBytes returns how many bytes an entry of key with a first value of n bytes needs.
func (t *Table) entryBytes(key []byte, n int) int {
	n = roundUp(timeSize + n)
	if n > maxInline {
		n = timeSize
	}
	if t.series.on {
		n += linksSize
	}
	return entryHead + roundUp(len(key)) + n
}

// initEntry makes an absent entry of a block.
func (t *Table) initEntry(r ref, size int, key []byte) entry {
	inline, links := entryHead+roundUp(len(key)), 0
	if t.series.on {
		links = linksSize
	}
	e := entry(t.arena.bytes(r))
	le.PutUint32(e, r+uint32(inline/unit))
	le.PutUint32(e[4:], 0)
	le.PutUint32(e[8:], uint32((size-inline-links)/unit))
	e.setUndo(0)
	e.setEpoch(0)
	le.PutUint16(e[20:], uint16(len(key)))
	le.PutUint16(e[22:], uint16(size/unit)<<2)
	copy(e[entryHead:], key)
	return e
}

// freeEntry frees the entry's memory. Nothing may refer to it any more.
func (t *Table) freeEntry(r ref) {
	e := entry(t.arena.bytes(r))
	if !e.isInline(r) {
		t.arena.release(e.value(), e.capacity())
	}
	t.arena.release(r, e.size())
}

func (e entry) isInline(r ref) bool { return e.value() == r+uint32(e.inlineAt()/unit) }

// set writes the entry's value. A block that is too small is replaced by one with a quarter more
// than needed, since a value that grew once tends to grow again. value may be memory of the store:
// the new block is filled before the old one is released.
func (t *Table) set(r ref, value []byte, time int64, s State) {
	e := entry(t.arena.bytes(r))
	e.setState(s)
	le.PutUint32(e[4:], uint32(len(value)))
	if need := timeSize + len(value); need > e.capacity() {
		block, room := t.arena.alloc(need + need/4)
		copy(t.arena.bytes(block)[timeSize:], value)
		if !e.isInline(r) {
			t.arena.release(e.value(), e.capacity())
		}
		le.PutUint32(e, block)
		le.PutUint32(e[8:], uint32(room/unit))
	} else {
		copy(t.arena.bytes(e.value())[timeSize:], value)
	}
	binary.BigEndian.PutUint64(t.arena.bytes(e.value()), uint64(time))
}

// Row is a version of a row in a table. Its bytes are valid until the table is written or released.
type Row struct {
	Key    []byte
	Stored []byte // time, 8 bytes big-endian, then the value: the form that rows have in files
	State  State
}

// Value returns the row's value; empty for a deleted row.
func (r Row) Value() []byte { return r.Stored[timeSize:len(r.Stored):len(r.Stored)] }

// Time returns the row's time in milliseconds since 1970; for a deleted row, that of its deletion.
func (r Row) Time() int64 { return int64(binary.BigEndian.Uint64(r.Stored)) }

// row returns the newest version of the entry.
func (t *Table) row(r ref) Row {
	e := entry(t.arena.bytes(r))
	n := timeSize + e.length()
	return Row{Key: e.key(), Stored: t.arena.bytes(e.value())[:n:n], State: e.state()}
}
