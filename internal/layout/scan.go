package layout

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/millstream-go/millstream/store"
)

// direct is up to how many segments are visited one by one; where a scan spans more, it looks which of them have rows.
const direct = 4

// segments visits the numbers of the segments in [first, last] that may have rows of a class, in order. Where the span is wide it asks
// the store for the next row: a store of bytes does not say which segments it has.
func segments(rows store.Bytes, class byte, first, last int64, backward bool) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		for first <= last {
			at, ok, err := segment(rows, class, first, last, backward)
			if err != nil {
				yield(0, err)
				return
			}
			if !ok || !yield(at, nil) {
				return
			}
			if backward {
				last = at - 1
			} else {
				first = at + 1
			}
		}
	}
}

// segment returns the first of the segments in [first, last] that may have rows, or backward the last.
func segment(rows store.Bytes, class byte, first, last int64, backward bool) (at int64, ok bool, err error) {
	switch {
	case uint64(last-first) >= direct:
		return nextSegment(rows, class, first, last, backward)
	case backward:
		return last, true, nil
	}
	return first, true, nil
}

// nextSegment returns the first segment, or backward the last, in [first, last] that has a row.
func nextSegment(rows store.Bytes, class byte, first, last int64, backward bool) (segment int64, ok bool, err error) {
	r := store.Range{
		From:     appendTime([]byte{class}, first),
		To:       store.PrefixRange(appendTime([]byte{class}, last)).To,
		ToBefore: true, Backward: backward,
	}
	for e, err := range rows.Scan(r) {
		if err != nil {
			return 0, false, err
		}
		if len(e.Key) >= headLen && e.Key[0] == class {
			return timeAt(e.Key[1:]), true, nil
		}
	}
	return 0, false, nil
}

// scan is the memory of one scan: scans nest.
type scan struct {
	shape    *shape
	key      []byte // the user's
	from, to []byte
	buf      []byte
	local    []byte

	// Of a scan of one key.
	view    *view
	startTo int64
	out     func(store.WindowEntry, error) bool
	ended   bool
	each    func(store.Entry, error) bool // made once
}

func (v *view) enter() *scan {
	if n := len(v.idle); n > 0 {
		s := v.idle[n-1]
		v.idle = v.idle[:n-1]
		return s
	}
	s := &scan{shape: &v.shape, view: v, key: []byte{}} // an empty key is one
	s.each = s.row
	return s
}

func (v *view) leave(s *scan) {
	s.out = nil
	v.idle = append(v.idle, s)
}

// segment visits the rows of key in one segment whose times are in [from, to].
func (s *scan) segment(rows store.Bytes, key []byte, from, to int64, backward bool) iter.Seq2[store.Entry, error] {
	s.key = append(s.key[:0], key...)
	s.bounds(segmentOf(from, s.shape.segment), from, to)
	return rows.Scan(store.Range{From: s.from, To: s.to, Backward: backward})
}

// bounds makes the bounds of a scan over key in a segment.
func (s *scan) bounds(segment, from, to int64) {
	s.from = appendKey(appendTime(append(s.from[:0], rowClass), segment), s.key)
	s.to = append(s.to[:0], s.from...)
	s.from, s.to = appendTime(s.from, from), appendTime(s.to, to)
	for range s.shape.tailLen() - timeLen {
		s.to = append(s.to, 0xff)
	}
}

// fetch visits the rows of key whose times are in [from, to] and that start at startTo or earlier.
func (v *view) fetch(key []byte, from, to, startTo int64, backward bool) iter.Seq2[store.WindowEntry, error] {
	return func(yield func(store.WindowEntry, error) bool) { v.visit(key, from, to, startTo, backward, yield) }
}

// visit is fetch without an iterator: it allocates nothing where the span of times is that of a few segments.
func (v *view) visit(key []byte, from, to, startTo int64, backward bool, f func(store.WindowEntry, error) bool) {
	if key == nil {
		f(store.WindowEntry{}, store.ErrNilKey)
		return
	}
	s := v.enter()
	defer v.leave(s)
	s.key, s.startTo, s.out, s.ended = append(s.key[:0], key...), startTo, f, false
	from, to = v.live(from, to)
	if from > to {
		return
	}
	first, last := segmentOf(from, v.shape.segment), segmentOf(to, v.shape.segment)
	for first <= last && !s.ended {
		n, ok, err := segment(v.rows, rowClass, first, last, backward)
		if err != nil {
			f(store.WindowEntry{}, err)
			return
		}
		if !ok {
			return
		}
		s.bounds(n, from, to)
		v.scanRows(store.Range{From: s.from, To: s.to, Backward: backward}, s.each)
		if backward {
			last = n - 1
		} else {
			first = n + 1
		}
	}
}

// scanRows visits local rows within the times that are live, without an iterator where the engine can.
func (v *view) scanRows(r store.Range, f func(store.Entry, error) bool) {
	if v.own != nil {
		if e, ok := v.own.Engine.(store.Visitor); ok {
			e.Visit(r, f)
			return
		}
	}
	for e, err := range v.rows.Scan(r) {
		if !f(e, err) {
			return
		}
	}
}

// row hands out a local row of s.key.
func (s *scan) row(e store.Entry, err error) bool {
	if err != nil {
		s.ended = true
		s.out(store.WindowEntry{}, err)
		return false
	}
	r := row{key: s.key}
	s.shape.readTail(&r, e.Key[len(e.Key)-s.shape.tailLen():])
	if r.start <= s.startTo && !s.out(s.view.entry(r, e), nil) {
		s.ended = true
	}
	return !s.ended
}

// byTime visits the rows of all keys whose times are in [from, to], by time.
func (v *view) byTime(from, to int64) iter.Seq2[store.WindowEntry, error] {
	if !v.index {
		return v.sorted(from, to)
	}
	return func(yield func(store.WindowEntry, error) bool) {
		s := v.enter()
		defer v.leave(s)
		from, to := v.there(from, to)
		if from > to {
			return
		}
		r := store.Range{From: appendTime([]byte{timeClass}, from), To: store.PrefixRange(appendTime([]byte{timeClass}, to)).To, ToBefore: true}
		for e, err := range v.rows.Scan(r) {
			if err != nil {
				yield(store.WindowEntry{}, err)
				return
			}
			if !v.indexed(s, e.Key, yield) {
				return
			}
		}
	}
}

// indexed hands out the row that an index key leads to, and is whether to go on.
func (v *view) indexed(s *scan, index []byte, yield func(store.WindowEntry, error) bool) bool {
	r, buf, ok := v.shape.cutIndex(index, s.buf)
	if s.buf = buf; !ok {
		return yield(store.WindowEntry{}, fmt.Errorf("%w: %x in the index by time", errKey, index))
	}
	s.local = v.shape.appendRow(s.local[:0], r)
	value, t, ok, err := v.rows.Get(s.local)
	switch {
	case err != nil:
		yield(store.WindowEntry{}, err)
		return false
	case !ok: // it went while the scan stood elsewhere
		return true
	}
	return yield(v.entry(r, store.Entry{Value: value, Time: t}), nil)
}

// sorted is byTime without an index.
func (v *view) sorted(from, to int64) iter.Seq2[store.WindowEntry, error] {
	return func(yield func(store.WindowEntry, error) bool) {
		s := v.enter()
		defer v.leave(s)
		var keys [][]byte
		var failed error
		first, last := v.live(from, to)
		v.walk(first, last, math.MaxInt64, func(r row, _ store.Entry, err error) bool {
			if failed = err; err == nil {
				keys = append(keys, v.shape.appendIndex(nil, r))
			}
			return err == nil
		})
		if failed != nil {
			yield(store.WindowEntry{}, failed)
			return
		}
		slices.SortFunc(keys, bytes.Compare)
		for _, key := range keys {
			if !v.indexed(s, key, yield) {
				return
			}
		}
	}
}

// olderScan visits the older versions of a key that ended in (after, until], by time.
type olderScan struct {
	shape        *shape
	key          []byte
	after, until int64
}

func (o *olderScan) scan(rows store.Bytes, backward bool) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if o.after >= o.until {
			return
		}
		prefix := appendKey(append(make([]byte, 0, headLen+len(o.key)+10), make([]byte, headLen)...), o.key)
		prefix[0] = olderClass
		first, last := segmentOf(o.after+1, o.shape.segment), segmentOf(o.until, o.shape.segment)
		for n, err := range segments(rows, olderClass, first, last, backward) {
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			appendTime(prefix[:1], n)
			r := store.Range{
				From: appendTime(prefix[:len(prefix):len(prefix)], o.after), FromAfter: true,
				To: appendTime(prefix[:len(prefix):len(prefix)], o.until), Backward: backward,
			}
			for e, err := range rows.Scan(r) {
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}
