package memtable

import "bytes"

// Walk visits all rows of a table in the order of their keys, those of deleted rows included. Nobody writes to
// the table meanwhile.
type Walk struct {
	table   *Table
	settled bool

	cursor Cursor // when the table has no pile

	pile *pile
	sort sorter
	part int         // the next one
	rows []sortEntry // of the part before, in order
	next int         // in rows
	at   ref         // the current one; 0: none

	touched byte // the reads must not be optimised away
}

// Walk returns a walk at the first row; with settled, over the rows of epochs that have settled.
func (t *Table) Walk(settled bool) *Walk {
	w := &Walk{table: t, settled: settled, pile: t.pile.Load()}
	// All rows of a pile are settled.
	if w.pile != nil {
		w.sort.keyOf = func(r ref) []byte { return t.at(r).key() }
		w.Next()
		return w
	}
	w.cursor = t.Cursor()
	w.cursor.ReadAhead()
	w.cursor.Seek(nil, false)
	return w
}

// Valid reports whether the walk is at a row.
func (w *Walk) Valid() bool {
	if w.pile != nil {
		return w.at != 0
	}
	return w.cursor.Valid()
}

// Key returns the key of the current row.
func (w *Walk) Key() []byte {
	if w.pile != nil {
		return w.table.at(w.at).key()
	}
	return w.cursor.Key()
}

// Row returns the current row. One that only epochs have that are not settled is Absent.
func (w *Walk) Row() Row {
	switch {
	case w.pile != nil:
		return w.table.row(w.at)
	case w.settled:
		return w.cursor.Settled()
	}
	return w.cursor.Row()
}

// Next moves to the next row.
func (w *Walk) Next() {
	if w.pile == nil {
		w.cursor.Next()
		return
	}
	for w.next == len(w.rows) {
		if w.part == len(w.pile.parts) {
			w.at = 0
			return
		}
		w.sortPart()
	}
	first := w.rows[w.next]
	w.at = first.ref
	// Of the rows of a key the newest one, as pile says.
	for w.next++; w.next < len(w.rows) && w.rows[w.next].prefix == first.prefix; w.next++ {
		same := w.rows[w.next].ref
		if !bytes.Equal(w.table.at(same).key(), w.table.at(first.ref).key()) {
			return
		}
		w.at = max(w.at, same)
	}
}

// sortPart puts the rows of the next part in order.
func (w *Walk) sortPart() {
	w.rows, w.next = w.rows[:0], 0
	commonPrefix := w.pile.split.commonPrefix
	w.touch(&w.pile.parts[w.part])
	w.table.each(&w.pile.parts[w.part], func(r ref, e entry) {
		w.rows = append(w.rows, sortEntry{prefixOf(commonPrefix, e.key()), r})
	})
	w.part++
	w.sort.sort(w.rows)
}

// touch reads all pieces of a part from one end to the other, which the processor foresees. Their rows would be
// waited for one by one.
//
// It reads the links between the rows of a series, too, which a scan makes when it ends the pile: so not while one
// does. Nothing else of a walk reads them.
func (w *Walk) touch(p *part) {
	w.table.pileMu.Lock()
	defer w.table.pileMu.Unlock()
	touched := byte(0)
	for _, x := range p.pieces {
		b := w.table.arena.bytes(x.at)[:x.size]
		for at := 0; at < len(b); at += 64 {
			touched ^= b[at]
		}
	}
	w.touched ^= touched
}
