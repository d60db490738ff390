package segmented

import (
	"bytes"
	"iter"

	"github.com/millstream-go/millstream/internal/storage"
)

// scanKeys visits the rows whose keys are in keys, whose times are in [from, to] and that start at
// startTo or earlier, by key and then by time.
func (v *view) scanKeys(keys storage.Range, from, to, startTo int64) iter.Seq2[storage.WindowEntry, error] {
	return func(yield func(storage.WindowEntry, error) bool) {
		from, to := v.readRange(from, to)
		v.walk(keys, from, to, startTo, func(r row, e storage.Entry, err error) bool {
			if err != nil {
				yield(storage.WindowEntry{}, err)
				return false
			}
			return yield(v.entry(r, e), nil)
		})
	}
}

// walk merges the segments. Within a segment rows are ordered by key and times, which are the bytes
// after class and segment. Some rows of each segment are read ahead. After a write they are read
// again, from behind the row that f got last: a scan sees writes ahead of it.
func (v *view) walk(keys storage.Range, from, to, startTo int64, f func(row, storage.Entry, error) bool) {
	w := walker{view: v, keys: keys, from: from, to: to, startTo: startTo}
	if err := w.open(); err != nil {
		f(row{}, storage.Entry{}, err)
		return
	}
	for {
		p, err := w.next()
		if err != nil {
			f(row{}, storage.Entry{}, err)
			return
		}
		if p == nil {
			return
		}
		e := p.pop()
		w.lastKey = append(w.lastKey[:0], e.Key...)
		r, buf, _ := v.shape.parseRowKey(e.Key, w.buf) // fill has checked the key
		w.buf = buf
		if !f(r, e, nil) {
			return
		}
		if v.writes() != w.version {
			if err := w.open(); err != nil {
				f(row{}, storage.Entry{}, err)
				return
			}
		}
	}
}

func (v *view) writes() uint64 {
	if v.partition == nil {
		return 0
	}
	return v.partition.writes
}

// A walker is the state of one walk.
type walker struct {
	view              *view
	keys              storage.Range // of users' keys, not local ones
	from, to, startTo int64
	segments          []*readAhead
	lastKey           []byte // what was handed out last, without class and segment; nil at the start
	version           uint64 // Store.writes when the segments were opened
	buf               []byte
}

// open begins in each segment that has rows, after the row that f got last.
func (w *walker) open() error {
	w.segments, w.version = w.segments[:0], w.view.writes()
	if w.from > w.to {
		return nil
	}
	s := &w.view.shape
	first, last := segmentOf(w.from, s.interval), segmentOf(w.to, s.interval)
	for n, err := range segments(w.view.rows, rowClass, first, last, false) {
		if err != nil {
			return err
		}
		w.segments = append(w.segments, &readAhead{remaining: w.segment(n)})
	}
	return nil
}

// segment returns the range of the rows of a segment that the walk has not visited.
func (w *walker) segment(n int64) storage.Range {
	head := appendTime([]byte{rowClass}, n)
	r := storage.PrefixRange(head)
	r.Backward = w.keys.Backward
	// Local keys sort as the users' keys that they begin with, and all rows of one key are a prefix
	// range. So an exclusive lower bound, and an inclusive upper bound, is the end of that range.
	if w.keys.From != nil {
		if r.From = appendKey(bytes.Clone(head), w.keys.From); w.keys.FromAfter {
			r.From = storage.PrefixRange(r.From).To
		}
	}
	if w.keys.To != nil {
		if r.To = appendKey(bytes.Clone(head), w.keys.To); !w.keys.ToBefore {
			r.To = storage.PrefixRange(r.To).To
		}
	}
	switch {
	case w.lastKey == nil:
	case r.Backward:
		r.To, r.ToBefore = append(bytes.Clone(head), w.lastKey...), true
	default:
		r.From, r.FromAfter = append(bytes.Clone(head), w.lastKey...), true
	}
	return r
}

// next returns the segment whose next row comes first of all; nil at the end.
func (w *walker) next() (*readAhead, error) {
	var best *readAhead
	for _, a := range w.segments {
		if err := w.fill(a); err != nil {
			return nil, err
		}
		if len(a.rows) == 0 {
			continue
		}
		if best == nil || (bytes.Compare(a.rows[0].Key, best.rows[0].Key) < 0) != w.keys.Backward {
			best = a
		}
	}
	return best, nil
}

// readAheadRows is how many rows of a segment one scan of the engine reads ahead.
const readAheadRows = 64

// readAhead is a part of a segment's rows. Its keys are without class and segment.
type readAhead struct {
	remaining storage.Range // not read yet
	rows      []storage.Entry
	buf       []byte
	done      bool
}

func (a *readAhead) pop() storage.Entry {
	e := a.rows[0]
	a.rows = a.rows[1:]
	return e
}

func (w *walker) fill(a *readAhead) error {
	for len(a.rows) == 0 && !a.done {
		a.rows, a.buf = a.rows[:0], nil // a new buffer: the caller may still use the row that it got last
		n := 0
		for e, err := range w.view.rows.Scan(a.remaining) {
			if err != nil {
				return err
			}
			if n++; n == readAheadRows {
				a.remaining = a.remaining.Behind(bytes.Clone(e.Key))
			}
			wanted, ok := w.includes(e.Key[headLen:])
			if !ok {
				return badKey(e.Key)
			}
			if wanted {
				a.rows = append(a.rows, storage.Entry{Key: a.copyBytes(e.Key[headLen:]), Value: a.copyBytes(e.Value), Time: e.Time})
			}
			if n == readAheadRows {
				break
			}
		}
		a.done = n < readAheadRows
	}
	return nil
}

// copyBytes copies bytes of the engine, which are valid until its next call, to a buffer for the
// rows read ahead.
func (a *readAhead) copyBytes(b []byte) []byte {
	// When the buffer is full, a new one replaces it. Rows that point to the old one keep it alive.
	if a.buf == nil || cap(a.buf)-len(a.buf) < len(b) {
		a.buf = make([]byte, 0, max(4<<10, len(b)))
	}
	at := len(a.buf)
	a.buf = append(a.buf, b...)
	return a.buf[at:len(a.buf):len(a.buf)]
}

// includes reports whether a row belongs to the walk; ok is false when its key is damaged.
func (w *walker) includes(tail []byte) (wanted, ok bool) {
	r, buf, ok := w.view.shape.parseRowKey(tail, w.buf)
	w.buf = buf
	at := w.view.shape.expiryOf(r)
	return ok && at >= w.from && at <= w.to && r.start <= w.startTo, ok
}
