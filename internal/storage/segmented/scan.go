package segmented

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/storage"
)

// maxDirect is up to how many segments a scan visits one by one. Where it spans more, it asks the
// engine which of them have rows.
const maxDirect = 4

// segments visits the numbers of the segments in [first, last] that may have rows of a class, in
// order. An engine does not know of segments, so where the span is wide, the next one is that of
// the next row.
func segments(rows storage.Bytes, class byte, first, last int64, backward bool) iter.Seq2[int64, error] {
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

// segment returns the first of the segments in [first, last] that may have rows, or backward the
// last.
func segment(rows storage.Bytes, class byte, first, last int64, backward bool) (at int64, ok bool, err error) {
	switch {
	case uint64(last-first) >= maxDirect:
		return nextSegment(rows, class, first, last, backward)
	case backward:
		return last, true, nil
	}
	return first, true, nil
}

// nextSegment returns the first segment, or backward the last, in [first, last] that has a row.
func nextSegment(rows storage.Bytes, class byte, first, last int64, backward bool) (segment int64, ok bool, err error) {
	r := storage.Range{
		From:     appendTime([]byte{class}, first),
		To:       storage.PrefixRange(appendTime([]byte{class}, last)).To,
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

// scan is the memory of one scan. A view has several, since scans nest.
type scan struct {
	shape    *shape
	key      []byte // the user's
	from, to []byte
	buf      []byte
	local    []byte

	// For visit, which scans one key.
	view    *view
	startTo int64
	yield   func(storage.WindowEntry, error) bool
	stopped bool
	onRow   func(storage.Entry, error) bool // the method row, bound once: binding it for each scan would allocate
}

func (v *view) acquireScan() *scan {
	if n := len(v.idleScans); n > 0 {
		s := v.idleScans[n-1]
		v.idleScans = v.idleScans[:n-1]
		return s
	}
	s := &scan{shape: &v.shape, view: v, key: []byte{}} // an empty key is not nil
	s.onRow = s.row
	return s
}

func (v *view) releaseScan(s *scan) {
	s.yield = nil
	v.idleScans = append(v.idleScans, s)
}

// segment visits the rows of key in one segment whose times are in [from, to].
func (s *scan) segment(rows storage.Bytes, key []byte, from, to int64, backward bool) iter.Seq2[storage.Entry, error] {
	s.key = append(s.key[:0], key...)
	s.bounds(segmentOf(from, s.shape.interval), from, to)
	return rows.Scan(s.keys(backward))
}

// bounds sets the bounds of a scan of key in one segment.
func (s *scan) bounds(segment, from, to int64) {
	s.from = appendKey(appendTime(append(s.from[:0], rowClass), segment), s.key)
	s.to = append(s.to[:0], s.from...)
	s.from, s.to = appendTime(s.from, from), appendTime(s.to, to)
	// What follows the time in a key may be anything up to the upper bound's time.
	for range s.shape.tailLen() - timeLen {
		s.to = append(s.to, 0xff)
	}
}

// keys returns the range between the bounds.
func (s *scan) keys(backward bool) storage.Range {
	return storage.Range{From: s.from, To: s.to, Backward: backward, Series: len(s.to) - s.shape.tailLen()}
}

// fetch visits the rows of key whose times are in [from, to] and that start at startTo or earlier.
func (v *view) fetch(key []byte, from, to, startTo int64, backward bool) iter.Seq2[storage.WindowEntry, error] {
	return func(yield func(storage.WindowEntry, error) bool) { v.visit(key, from, to, startTo, backward, yield) }
}

// visit is fetch without an iterator. It allocates nothing where the times span a few segments.
func (v *view) visit(key []byte, from, to, startTo int64, backward bool, f func(storage.WindowEntry, error) bool) {
	if key == nil {
		f(storage.WindowEntry{}, storage.ErrNilKey)
		return
	}
	s := v.acquireScan()
	defer v.releaseScan(s)
	s.key, s.startTo, s.yield, s.stopped = append(s.key[:0], key...), startTo, f, false
	from, to = v.readRange(from, to)
	if from > to {
		return
	}
	first, last := segmentOf(from, v.shape.interval), segmentOf(to, v.shape.interval)
	// The body of segments, once more: an iterator would allocate.
	for first <= last && !s.stopped {
		n, ok, err := segment(v.rows, rowClass, first, last, backward)
		if err != nil {
			f(storage.WindowEntry{}, err)
			return
		}
		if !ok {
			return
		}
		s.bounds(n, from, to)
		v.scanRows(s.keys(backward), s.onRow)
		if backward {
			last = n - 1
		} else {
			first = n + 1
		}
	}
}

// scanRows visits local rows, without an iterator where the engine can. It goes past Store.Scan, so
// it is for rows that have not expired.
func (v *view) scanRows(r storage.Range, f func(storage.Entry, error) bool) {
	if v.partition != nil {
		if e, ok := v.partition.Engine.(storage.Visitor); ok {
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

// row passes a local row of s.key to the caller of visit.
func (s *scan) row(e storage.Entry, err error) bool {
	if err != nil {
		s.stopped = true
		s.yield(storage.WindowEntry{}, err)
		return false
	}
	// All local keys of one key have the same length. A damaged one may be shorter than what is read
	// from its end.
	if len(e.Key) != len(s.to) {
		s.stopped = true
		s.yield(storage.WindowEntry{}, badKey(e.Key))
		return false
	}
	r := row{key: s.key}
	s.shape.readTail(&r, e.Key[len(e.Key)-s.shape.tailLen():])
	if r.start <= s.startTo && !s.yield(s.view.entry(r, e), nil) {
		s.stopped = true
	}
	return !s.stopped
}

// byTime visits the rows of all keys whose times are in [from, to], by time.
func (v *view) byTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	if !v.timeIndex {
		return v.byTimeSorted(from, to)
	}
	return func(yield func(storage.WindowEntry, error) bool) {
		s := v.acquireScan()
		defer v.releaseScan(s)
		from, to := v.scanRange(from, to)
		if from > to {
			return
		}
		r := storage.Range{
			From:     appendTime([]byte{timeClass}, from),
			To:       storage.PrefixRange(appendTime([]byte{timeClass}, to)).To,
			ToBefore: true,
		}
		for e, err := range v.rows.Scan(r) {
			if err != nil {
				yield(storage.WindowEntry{}, err)
				return
			}
			if !v.yieldIndexed(s, e.Key, yield) {
				return
			}
		}
	}
}

// yieldIndexed yields the row that an index key points to, and reports whether the scan goes on.
func (v *view) yieldIndexed(s *scan, index []byte, yield func(storage.WindowEntry, error) bool) bool {
	r, buf, ok := v.shape.parseIndexKey(index, s.buf)
	if s.buf = buf; !ok {
		return yield(storage.WindowEntry{}, fmt.Errorf("%w: %s in the index by time", errKey, quote.Hex(index)))
	}
	s.local = v.shape.appendRowKey(s.local[:0], r)
	value, t, ok, err := v.rows.Get(s.local)
	switch {
	case err != nil:
		yield(storage.WindowEntry{}, err)
		return false
	case !ok: // deleted since the scan read its key
		return true
	}
	return yield(v.entry(r, storage.Entry{Value: value, Time: t}), nil)
}

// byTimeSorted is byTime without an index: it collects the keys of all rows and sorts them.
func (v *view) byTimeSorted(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return func(yield func(storage.WindowEntry, error) bool) {
		s := v.acquireScan()
		defer v.releaseScan(s)
		var keys [][]byte
		var failed error
		first, last := v.readRange(from, to)
		// An index key sorts by time and then by key, and leads back to the row.
		v.walk(storage.Range{}, first, last, math.MaxInt64, func(r row, _ storage.Entry, err error) bool {
			if failed = err; err == nil {
				keys = append(keys, v.shape.appendIndexKey(nil, r))
			}
			return err == nil
		})
		if failed != nil {
			yield(storage.WindowEntry{}, failed)
			return
		}
		slices.SortFunc(keys, bytes.Compare)
		for _, key := range keys {
			if !v.yieldIndexed(s, key, yield) {
				return
			}
		}
	}
}

// olderScan visits the older versions of a key that ended in (after, until], by time.
type olderScan struct {
	shape        *shape
	key          []byte
	after, until int64 // ends of versions
}

func (o *olderScan) scan(rows storage.Bytes, backward bool) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) {
		if o.after >= o.until {
			return
		}
		// One prefix serves all segments: only its segment number changes. The bounds are appended to it,
		// each in new memory (its capacity is its length), since an engine may read both during the scan.
		prefix := appendKey(append(make([]byte, 0, headLen+len(o.key)+10), make([]byte, headLen)...), o.key)
		prefix[0] = olderClass
		first, last := segmentOf(o.after+1, o.shape.interval), segmentOf(o.until, o.shape.interval)
		for n, err := range segments(rows, olderClass, first, last, backward) {
			if err != nil {
				yield(storage.Entry{}, err)
				return
			}
			appendTime(prefix[:1], n)
			r := storage.Range{
				From: appendTime(prefix[:len(prefix):len(prefix)], o.after), FromAfter: true,
				To: appendTime(prefix[:len(prefix):len(prefix)], o.until), Backward: backward,
			}
			for e, err := range rows.Scan(r) {
				// Callers use key and value without further checks.
				if err == nil && len(e.Key) != len(prefix)+olderTail {
					err = badKey(e.Key)
				} else if err == nil {
					_, err = readVersion(e.Value)
				}
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}
