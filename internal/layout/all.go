package layout

import (
	"bytes"
	"iter"

	"github.com/millstream-go/millstream/store"
)

// all visits the rows of all keys whose times are in [from, to] and that start at startTo or earlier, by key and then by time.
func (v *view) all(from, to, startTo int64) iter.Seq2[store.WindowEntry, error] {
	return func(yield func(store.WindowEntry, error) bool) {
		from, to := v.live(from, to)
		v.walk(from, to, startTo, func(r row, e store.Entry, err error) bool {
			if err != nil {
				yield(store.WindowEntry{}, err)
				return false
			}
			return yield(v.entry(r, e), nil)
		})
	}
}

// walk merges the segments: in each, rows are in the order of key and times, which is the bytes after class and segment. Some rows of
// each are read ahead, and read again once something was written.
func (v *view) walk(from, to, startTo int64, f func(row, store.Entry, error) bool) {
	w := walker{v: v, from: from, to: to, startTo: startTo}
	if err := w.open(); err != nil {
		f(row{}, store.Entry{}, err)
		return
	}
	for {
		p, err := w.next()
		if err != nil {
			f(row{}, store.Entry{}, err)
			return
		}
		if p == nil {
			return
		}
		e := p.pop()
		w.last = append(w.last[:0], e.Key...)
		r, buf, _ := v.shape.cutRow(e.Key, w.buf) // fill has looked
		w.buf = buf
		if !f(r, e, nil) {
			return
		}
		if v.writes() != w.version {
			if err := w.open(); err != nil {
				f(row{}, store.Entry{}, err)
				return
			}
		}
	}
}

func (v *view) writes() uint64 {
	if v.own == nil {
		return 0
	}
	return v.own.writes
}

// A walker is a walk under way.
type walker struct {
	v                 *view
	from, to, startTo int64
	segments          []*ahead
	last              []byte // what was handed out last, without class and segment; nil at the start
	version           uint64
	buf               []byte
}

// open begins in each segment that has rows, behind the last row that was handed out.
func (w *walker) open() error {
	w.segments, w.version = w.segments[:0], w.v.writes()
	if w.from > w.to {
		return nil
	}
	s := &w.v.shape
	for n, err := range segments(w.v.rows, rowClass, segmentOf(w.from, s.segment), segmentOf(w.to, s.segment), false) {
		if err != nil {
			return err
		}
		r := store.PrefixRange(appendTime([]byte{rowClass}, n))
		if w.last != nil {
			r.From, r.FromAfter = append(r.From, w.last...), true
		}
		w.segments = append(w.segments, &ahead{left: r})
	}
	return nil
}

// next returns the segment with the row that comes first; nil at the end.
func (w *walker) next() (*ahead, error) {
	var best *ahead
	for _, a := range w.segments {
		if err := w.fill(a); err != nil {
			return nil, err
		}
		if len(a.rows) > 0 && (best == nil || bytes.Compare(a.rows[0].Key, best.rows[0].Key) < 0) {
			best = a
		}
	}
	return best, nil
}

// aheadRows is how many rows of a segment are read at once.
const aheadRows = 64

// ahead is a part of a segment's rows that was read ahead; keys are without class and segment.
type ahead struct {
	left store.Range
	rows []store.Entry
	buf  []byte
	done bool
}

func (a *ahead) pop() store.Entry {
	e := a.rows[0]
	a.rows = a.rows[1:]
	return e
}

func (w *walker) fill(a *ahead) error {
	for len(a.rows) == 0 && !a.done {
		a.rows, a.buf = a.rows[:0], nil // what was handed out last may still be in use
		n := 0
		for e, err := range w.v.rows.Scan(a.left) {
			if err != nil {
				return err
			}
			if n++; n == aheadRows {
				a.left.From, a.left.FromAfter = bytes.Clone(e.Key), true
			}
			if w.wants(e.Key[headLen:]) {
				a.rows = append(a.rows, store.Entry{Key: a.keep(e.Key[headLen:]), Value: a.keep(e.Value), Time: e.Time})
			}
			if n == aheadRows {
				break
			}
		}
		a.done = n < aheadRows
	}
	return nil
}

// keep copies bytes to memory that stays until the rows are handed out.
func (a *ahead) keep(b []byte) []byte {
	if a.buf == nil || cap(a.buf)-len(a.buf) < len(b) {
		a.buf = make([]byte, 0, max(4<<10, len(b)))
	}
	at := len(a.buf)
	a.buf = append(a.buf, b...)
	return a.buf[at:len(a.buf):len(a.buf)]
}

func (w *walker) wants(tail []byte) bool {
	r, buf, ok := w.v.shape.cutRow(tail, w.buf)
	w.buf = buf
	if !ok {
		return false
	}
	at := w.v.shape.at(r)
	return at >= w.from && at <= w.to && r.start <= w.startTo
}
