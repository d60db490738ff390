package memtable

import "bytes"

// Walk visits all rows of a table in the order of their keys, those of deleted rows included. Nobody writes to
// the table meanwhile.
type Walk struct {
	table   *Table
	settled bool

	cursor Cursor // when the table has an order

	pile *pile
	sort sorter
	part int         // the next one
	rows []sortEntry // of the part before, in order; without a pile all rows
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
	if t.order.Load() == nil {
		w.rows = t.sortAll()
		w.nextSorted()
		return w
	}
	w.cursor = t.Cursor()
	w.cursor.ReadAhead()
	w.cursor.Seek(nil, false)
	return w
}

// ordered reports whether the walk goes along the order of the table.
func (w *Walk) ordered() bool { return w.cursor.table != nil }

// Valid reports whether the walk is at a row.
func (w *Walk) Valid() bool {
	if w.ordered() {
		return w.cursor.Valid()
	}
	return w.at != 0
}

// Key returns the key of the current row.
func (w *Walk) Key() []byte {
	if w.ordered() {
		return w.cursor.Key()
	}
	return w.table.at(w.at).key()
}

// Row returns the current row. One that only epochs have that are not settled is Absent.
func (w *Walk) Row() Row {
	at := w.at
	if w.ordered() {
		at = w.cursor.entry
	}
	if w.settled && w.pile == nil {
		return w.table.settledRow(at)
	}
	return w.table.row(at)
}

// Next moves to the next row.
func (w *Walk) Next() {
	switch {
	case w.ordered():
		w.cursor.Next()
	case w.pile == nil:
		w.nextSorted()
	default:
		w.nextOfPile()
	}
}

// nextSorted moves to the next of all rows.
func (w *Walk) nextSorted() {
	if w.next == len(w.rows) {
		w.at = 0
		return
	}
	if w.next%readAhead == 0 {
		w.readAhead(w.rows[w.next:min(w.next+readAhead, len(w.rows))])
	}
	w.at = w.rows[w.next].ref
	w.next++
}

// readAhead is that of a Cursor.
func (w *Walk) readAhead(rows []sortEntry) {
	touched := byte(0)
	for i := range rows {
		touched ^= w.table.at(rows[i].ref)[22]
	}
	for i := range rows {
		e := w.table.at(rows[i].ref)
		for at := 64; at < e.size(); at += 64 {
			touched ^= e[at]
		}
	}
	w.touched ^= touched
}

// nextOfPile moves to the next row of a pile.
func (w *Walk) nextOfPile() {
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
