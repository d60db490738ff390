package memtable

import (
	"github.com/millstream-go/millstream/internal/storage"
)

// AppendTo appends the version of key to buf, as rows have it: eight bytes of time, then the value.
// It is that of the newest table that has one. State Absent means that the level below decides.
func (x *Snapshot) AppendTo(buf, key []byte) (stored []byte, state State, err error) {
	hash := Hash(key)
	x.all.enter()
	defer x.all.mu.Unlock()
	if x.ended != nil {
		return buf, Absent, x.ended
	}
	for _, t := range x.tables {
		r := t.find(hash, key)
		if r == 0 {
			continue
		}
		row := t.rowAt(r, x.epoch)
		if row.State == Live {
			buf = append(buf, row.Stored...)
		}
		if row.State != Absent {
			return buf, row.State, nil
		}
	}
	return buf, Absent, nil
}

// Tables returns how many tables the snapshot has.
func (x *Snapshot) Tables() int { return len(x.tables) }

// A reader copies firstRows rows when it has the lock for the first time, and then twice as many each
// time, up to mostRows: a scan is often of a few rows. Large rows are fewer.
const (
	firstRows = 8
	mostRows  = 128
	mostBytes = 64 << 10
)

// TableRows visits the rows of one table of a snapshot, those of deleted rows included. Bytes of a row
// are valid until the next call of Next.
type TableRows struct {
	snapshot *Snapshot
	table    *Table
	left     storage.Range // what was not read yet
	limit    int
	ended    bool // the table has no more
	rows     []Row
	at       int
	bytes    []byte // of rows
	last     []byte // the key that was read last
}

// ReadTable returns the rows in r of the i-th table, at the first of them.
func (x *Snapshot) ReadTable(i int, r storage.Range) (*TableRows, error) {
	tr := &TableRows{snapshot: x, table: x.tables[i], left: r, limit: firstRows, last: make([]byte, 0, 32)}
	if _, err := tr.table.orderFor(x); err != nil {
		return nil, err
	}
	return tr, tr.fill()
}

// Valid reports whether it is at a row.
func (tr *TableRows) Valid() bool { return tr.at < len(tr.rows) }

// Row returns the row that it is at; its state is Live or Deleted.
func (tr *TableRows) Row() Row { return tr.rows[tr.at] }

// Next moves to the next row.
func (tr *TableRows) Next() error {
	if tr.at++; tr.at < len(tr.rows) {
		return nil
	}
	return tr.fill()
}

// fill copies the next rows.
func (tr *TableRows) fill() error {
	tr.rows, tr.at, tr.bytes = tr.rows[:0], 0, tr.bytes[:0]
	for len(tr.rows) == 0 && !tr.ended {
		if err := tr.read(); err != nil {
			return err
		}
	}
	return nil
}

func (tr *TableRows) read() error {
	x := tr.snapshot
	x.all.enter()
	defer x.all.mu.Unlock()
	if x.ended != nil {
		return x.ended
	}
	c, visited := tr.table.Cursor(), 0
	for c.Start(tr.left); ; c.Step(tr.left) {
		if !c.Valid() || tr.left.Past(c.Key()) {
			tr.ended = true
			return nil
		}
		tr.last = append(tr.last[:0], c.Key()...)
		if row := tr.table.rowAt(c.entry, x.epoch); row.State != Absent {
			tr.copy(row)
		}
		// Entries that the snapshot does not see count too: there may be any number of them.
		if visited++; visited >= tr.limit || len(tr.bytes) >= mostBytes || x.all.wanted.Load() {
			break
		}
	}
	tr.limit = min(2*tr.limit, mostRows)
	tr.left = tr.left.Behind(tr.last)
	return nil
}

// copy copies a row. When the memory grows, the rows before go on using the old one.
func (tr *TableRows) copy(row Row) {
	from := len(tr.bytes)
	tr.bytes = append(append(tr.bytes, row.Key...), row.Stored...)
	b := tr.bytes[from:len(tr.bytes):len(tr.bytes)]
	n := len(row.Key)
	tr.rows = append(tr.rows, Row{Key: b[:n:n], Stored: b[n:], State: row.State})
}
