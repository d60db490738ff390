package bolt

import (
	"bytes"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

// A merge is one scan: a cursor on each table and one on the file, each at the first entry that the scan has not passed. The scan
// takes the next key, from the youngest source that has it, and moves all that have it on.
//
// Bytes of keys stay in place during the scan: entries of tables go only when epochs end, which the scan forbids, and the
// file's are in the read transaction, which is not replaced while the lock is held.
type merge struct {
	e      *Engine
	r      store.Range
	tables []memory.Cursor
	keys   [][]byte // of each table's cursor; nil: at its end
	file   fileCursor
}

// Scan implements store.Bytes.
func (e *Engine) Scan(r store.Range) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) { e.Visit(r, yield) }
}

// Visit implements store.Visitor.
func (e *Engine) Visit(r store.Range, f func(store.Entry, error) bool) {
	m := e.beginScan(r)
	defer e.endScan(m)
	if err := m.start(); err != nil {
		f(store.Entry{}, err)
		return
	}
	for {
		at, key := m.next()
		if key == nil || r.Past(key) {
			return
		}
		entry, live, err := m.entry(at, key)
		if err != nil {
			f(store.Entry{}, err)
			return
		}
		if live && !f(entry, nil) {
			return
		}
		if err := m.pass(key); err != nil {
			f(store.Entry{}, err)
			return
		}
	}
}

// beginScan takes the lock, unless a scan around this one has it. Scans nest, so their merges are a stack.
func (e *Engine) beginScan(r store.Range) *merge {
	if e.scans == 0 {
		e.file.lock <- struct{}{}
	}
	if e.scans == len(e.merges) {
		e.merges = append(e.merges, &merge{e: e})
	}
	m := e.merges[e.scans]
	e.scans++
	m.r = r
	return m
}

func (e *Engine) endScan(m *merge) {
	clear(m.tables)
	clear(m.keys)
	m.tables, m.keys = m.tables[:0], m.keys[:0]
	m.file.key, m.file.stored = nil, nil
	if e.scans--; e.scans == 0 {
		<-e.file.lock
	}
}

func (m *merge) start() error {
	for _, t := range m.e.tables {
		c := t.Cursor()
		c.Start(m.r)
		m.tables = append(m.tables, c)
		m.keys = append(m.keys, nil)
		m.load(len(m.tables) - 1)
	}
	m.file.f = m.e.file
	return m.file.start(m.r, m.e.flusher.hasFile.Load())
}

func (m *merge) load(i int) {
	m.keys[i] = nil
	if c := &m.tables[i]; c.Valid() {
		m.keys[i] = c.Key()
	}
}

// before is whether a comes before b in the scan; nil comes last.
func (m *merge) before(a, b []byte) bool {
	if a == nil || b == nil {
		return a != nil
	}
	if c := bytes.Compare(a, b); m.r.Backward {
		return c > 0
	} else {
		return c < 0
	}
}

// next returns the next key, and which table has it; len(tables) means the file.
func (m *merge) next() (at int, key []byte) {
	at, key = len(m.tables), m.file.key
	for i := len(m.keys) - 1; i >= 0; i-- {
		if k := m.keys[i]; k != nil && !m.before(key, k) {
			at, key = i, k
		}
	}
	return at, key
}

func (m *merge) entry(at int, key []byte) (e store.Entry, live bool, err error) {
	if at < len(m.tables) {
		row := m.tables[at].Row()
		if row.State != memory.Live {
			return e, false, nil
		}
		return store.Entry{Key: key, Value: row.Value(), Time: row.Time()}, true, nil
	}
	value, ms, err := decodeRow(m.file.stored)
	return store.Entry{Key: key, Value: value, Time: ms}, err == nil, err
}

// pass moves what stands at key on. The active table, the only one that a scan's caller can write, looks its place up again when
// it has got entries: writes ahead are seen.
func (m *merge) pass(key []byte) error {
	for i := range m.tables {
		c := &m.tables[i]
		switch {
		case i == 0 && c.Stale():
			c.Resume(m.r, key)
			m.load(i)
		case m.keys[i] != nil && bytes.Equal(m.keys[i], key):
			c.Step(m.r)
			m.load(i)
		}
	}
	if m.file.key != nil && bytes.Equal(m.file.key, key) {
		return m.file.step(m.r)
	}
	return nil
}

// A fileCursor is a scan's place in the file. It is used for one scan after the other: bbolt's cursor is good as long as the bucket that
// it is of, which is another one for each read transaction.
type fileCursor struct {
	f           *file
	of          *bbolt.Bucket
	c           *bbolt.Cursor
	key, stored []byte // key is nil at the end
	buf         []byte
}

func (c *fileCursor) start(r store.Range, hasFile bool) (err error) {
	if c.f.db == nil && hasFile {
		return errAway
	}
	if c.f.rows == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = c.f.damaged(r)
		}
	}()
	if c.of != c.f.rows {
		c.of, c.c = c.f.rows, c.f.rows.Cursor()
	}
	switch {
	case r.Backward && r.To == nil:
		c.set(c.c.Last())
	case r.Backward:
		to := appendKey(c.buf[:0], r.To)
		c.buf = to
		k, v := c.c.Seek(to)
		switch {
		case k == nil:
			k, v = c.c.Last()
		case r.ToBefore || !bytes.Equal(k, to):
			k, v = c.c.Prev()
		}
		c.set(k, v)
	case r.From == nil:
		c.set(c.c.First())
	default:
		from := appendKey(c.buf[:0], r.From)
		c.buf = from
		k, v := c.c.Seek(from)
		if r.FromAfter && bytes.Equal(k, from) {
			k, v = c.c.Next()
		}
		c.set(k, v)
	}
	return nil
}

func (c *fileCursor) step(r store.Range) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = c.f.damaged(r)
		}
	}()
	if r.Backward {
		c.set(c.c.Prev())
	} else {
		c.set(c.c.Next())
	}
	return nil
}

func (c *fileCursor) set(k, v []byte) {
	c.key, c.stored = nil, nil
	if k != nil {
		// A key is never nil, even the empty one.
		c.key, c.stored = k[1:], v
	}
}
