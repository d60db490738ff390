package memory

import "encoding/binary"

// State says what a memtable knows of a key.
type State uint8

const (
	Absent  State = iota // nothing: ask what lies below
	Live                 // the key has a row
	Deleted              // the key has no row, whatever lies below
)

// An entry is a block of the arena, fields little-endian:
//
//	0        4        8        12       16       20     22     24         24+key, to 8
//	+--------+--------+--------+--------+--------+------+------+----------+----------------+
//	| value  | length | room   | before | epoch  | key  | size | key ...  | first value    |
//	| ref    |        | units  | ref    |        | len  |state |          | block          |
//	+--------+--------+--------+--------+--------+------+------+----------+----------------+
//
// value refers to {time, 8 bytes, big-endian | value}: what a file holds, so that a flush copies nothing. before refers to
// what undoes the entry's newest epoch and means something only until that epoch settles. size is that of the block.
type entry []byte

const (
	entryHead  = 24
	timeSize   = 8
	inlineMost = 2 << 10 // larger values get blocks of their own, which can be taken back when they grow
)

func (e entry) value() ref    { return le.Uint32(e) }
func (e entry) length() int   { return int(le.Uint32(e[4:])) }
func (e entry) room() int     { return int(le.Uint32(e[8:])) * unit }
func (e entry) before() ref   { return le.Uint32(e[12:]) }
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
func (e entry) setBefore(r ref)   { le.PutUint32(e[12:], r) }

func roundUp(n int) int { return (n + unit - 1) &^ (unit - 1) }

// newEntry makes an absent entry of key with room for a first value of n bytes.
func (t *Table) newEntry(key []byte, n int) ref {
	n = roundUp(timeSize + n)
	if n > inlineMost {
		n = timeSize
	}
	inline := entryHead + roundUp(len(key))
	r, size := t.arena.alloc(inline + n)
	e := entry(t.arena.bytes(r))
	le.PutUint32(e, r+uint32(inline/unit))
	le.PutUint32(e[4:], 0)
	le.PutUint32(e[8:], uint32((size-inline)/unit))
	e.setBefore(0)
	e.setEpoch(0)
	le.PutUint16(e[20:], uint16(len(key)))
	le.PutUint16(e[22:], uint16(size/unit)<<2)
	copy(e[entryHead:], key)
	return r
}

// freeEntry gives the entry's memory back. Nothing may refer to it any more.
func (t *Table) freeEntry(r ref) {
	e := entry(t.arena.bytes(r))
	if !e.isInline(r) {
		t.arena.release(e.value(), e.room())
	}
	t.arena.release(r, e.size())
}

func (e entry) isInline(r ref) bool { return e.value() == r+uint32(e.inlineAt()/unit) }

// set writes the entry's value. Blocks grow by a quarter more than needed: a value that grew once tends to grow again.
// value may alias the store's memory: the new block is filled before the old one is released.
func (t *Table) set(r ref, value []byte, time int64, s State) {
	e := entry(t.arena.bytes(r))
	e.setState(s)
	le.PutUint32(e[4:], uint32(len(value)))
	if need := timeSize + len(value); need > e.room() {
		block, room := t.arena.alloc(need + need/4)
		copy(t.arena.bytes(block)[timeSize:], value)
		if !e.isInline(r) {
			t.arena.release(e.value(), e.room())
		}
		le.PutUint32(e, block)
		le.PutUint32(e[8:], uint32(room/unit))
	} else {
		copy(t.arena.bytes(e.value())[timeSize:], value)
	}
	binary.BigEndian.PutUint64(t.arena.bytes(e.value()), uint64(time))
}

// Row is a version of a row as a table holds it. Its bytes live until the table is written or released.
type Row struct {
	Key    []byte
	Stored []byte // time, 8 bytes big-endian, then the value: the form that files hold
	State  State
}

// Value returns the row's value; empty for a deleted row.
func (r Row) Value() []byte { return r.Stored[timeSize:len(r.Stored):len(r.Stored)] }

// Time returns the row's time in milliseconds since 1970; that of the deletion for a deleted row.
func (r Row) Time() int64 { return int64(binary.BigEndian.Uint64(r.Stored)) }

// row returns the newest version of the entry.
func (t *Table) row(r ref) Row {
	e := entry(t.arena.bytes(r))
	n := timeSize + e.length()
	return Row{Key: e.key(), Stored: t.arena.bytes(e.value())[:n:n], State: e.state()}
}
