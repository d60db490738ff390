package segmented

import (
	"iter"
	"math"

	"github.com/millstream-go/millstream/internal/storage"
)

// versions implements storage.VersionedBytes.
type versions struct {
	view
	lookup versionLookup
}

// Get implements storage.VersionedBytes.
func (vs *versions) Get(key []byte) (storage.Version, bool, error) {
	stored, from, ok, err := vs.latest(key)
	v := storage.Version{Value: versionOf(stored), From: from, To: math.MaxInt64} // latest has checked stored
	if err != nil || !ok || v.Value == nil {
		return storage.Version{}, false, err
	}
	return v, true, nil
}

// latest returns the row of the latest version, which may be a deletion.
func (vs *versions) latest(key []byte) (stored []byte, from int64, ok bool, err error) {
	if key == nil {
		return nil, 0, false, storage.ErrNilKey
	}
	vs.key = appendLatest(vs.key[:0], key)
	if stored, from, ok, err = vs.rows.Get(vs.key); ok && err == nil {
		_, err = readVersion(stored)
	}
	return stored, from, ok, err
}

// oldest returns the earliest time at which versions of the key in vs.key can be read.
func (vs *versions) oldest() (int64, error) {
	if vs.partition != nil {
		return vs.partition.readTime() - vs.retention, nil
	}
	t, err := vs.partitions.Observed(vs.key)
	return t - vs.retention, err
}

// AsOf implements storage.VersionedBytes.
func (vs *versions) AsOf(key []byte, time int64) (storage.Version, bool, error) {
	stored, from, ok, err := vs.latest(key)
	if err != nil || !ok {
		return storage.Version{}, false, err
	}
	if from <= time {
		v := storage.Version{Value: versionOf(stored), From: from, To: math.MaxInt64}
		return v, v.Value != nil, nil
	}
	// Before the history retention there may still be rows of segments that have not expired as a
	// whole. They must not be read: what is there depends on when the engine drops it.
	oldest, err := vs.oldest()
	if err != nil || time < oldest {
		return storage.Version{}, false, err
	}
	f := &vs.lookup
	if err := vs.endedAfter(f, key, time, from); err != nil || !f.found || f.from > time {
		return storage.Version{}, false, err
	}
	v := storage.Version{Value: versionOf(f.stored), From: f.from, To: f.to}
	return v, v.Value != nil, nil
}

// versionLookup searches an older version, and is the result. Like scan, it exists so that a read
// allocates nothing.
type versionLookup struct {
	stored   []byte
	from, to int64
	found    bool
	err      error
	keyLen   int                             // of the rows' local keys
	onRow    func(storage.Entry, error) bool // the method row, bound once
}

// row takes the first row that a scan visits.
func (f *versionLookup) row(e storage.Entry, err error) bool {
	switch {
	case err != nil:
		f.err = err
	case len(e.Key) != f.keyLen:
		f.err = badKey(e.Key)
	default:
		_, f.err = readVersion(e.Value)
	}
	if f.err == nil {
		f.stored, f.from, f.to, f.found = append(f.stored[:0], e.Value...), e.Time, versionEnd(e.Key), true
	}
	return false
}

// skipEmptyFrom is from how many segments on a look-up asks the engine which of them have rows.
const skipEmptyFrom = 64

// endedAfter finds the older version of key that ended first after t. None ended after latest.
func (vs *versions) endedAfter(f *versionLookup, key []byte, t, latest int64) error {
	if f.onRow == nil {
		f.onRow = f.row
	}
	f.found, f.err = false, nil
	s := vs.acquireScan()
	defer vs.releaseScan(s)
	last := segmentOf(latest, vs.shape.interval)
	for n := segmentOf(t+1, vs.shape.interval); n <= last && !f.found && f.err == nil; n++ {
		// Few segments are scanned one by one, which allocates nothing. Of many, most may be empty.
		if last-n >= skipEmptyFrom {
			at, ok, err := nextSegment(vs.rows, olderClass, n, last, false)
			if err != nil || !ok {
				return err
			}
			n = at
		}
		s.from = appendKey(appendTime(append(s.from[:0], olderClass), n), key)
		s.to = appendTime(append(s.to[:0], s.from...), latest)
		s.from = appendTime(s.from, t)
		f.keyLen = len(s.from)
		vs.scanRows(storage.Range{From: s.from, FromAfter: true, To: s.to}, f.onRow)
	}
	return f.err
}

// Put implements storage.VersionedBytes.
func (vs *versions) Put(key, value []byte, time int64) (validTo int64, written bool, err error) {
	partition, err := vs.partitionOf(key)
	if err != nil {
		return 0, false, err
	}
	return partition.putVersion(key, value, time)
}

// History implements storage.VersionedBytes.
func (vs *versions) History(key []byte, from, to int64, backward bool) iter.Seq2[storage.Version, error] {
	return func(yield func(storage.Version, error) bool) {
		stored, latest, ok, err := vs.latest(key)
		if err != nil || !ok {
			if err != nil {
				yield(storage.Version{}, err)
			}
			return
		}
		s := vs.acquireScan()
		defer vs.releaseScan(s)
		// stored and key are the engine's and the caller's: both may change during the scan.
		s.buf = append(s.buf[:0], stored...)
		s.key = append(s.key[:0], key...)
		// The latest version is not among the older ones: it comes last, or first in a backward scan.
		last := func() bool {
			v := storage.Version{Value: versionOf(s.buf), From: latest, To: math.MaxInt64}
			return v.Value == nil || latest > to || yield(v, nil)
		}
		if backward && !last() {
			return
		}
		if oldest, err := vs.oldest(); err != nil {
			yield(storage.Version{}, err)
			return
		} else if from < oldest {
			from = oldest
		}
		o := olderScan{shape: &vs.shape, key: s.key, after: from, until: latest}
		for e, err := range o.scan(vs.rows, backward) {
			if err != nil {
				yield(storage.Version{}, err)
				return
			}
			v := storage.Version{Value: versionOf(e.Value), From: e.Time, To: versionEnd(e.Key)}
			if v.From > to && !backward { // so do all that follow
				break
			}
			if v.From <= to && v.Value != nil && !yield(v, nil) {
				return
			}
		}
		if !backward {
			last()
		}
	}
}

// Latest implements storage.VersionedBytes.
func (vs *versions) Latest() iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) {
		for e, err := range vs.rows.Scan(storage.PrefixRange([]byte{latestClass})) {
			if err != nil {
				yield(storage.Entry{}, err)
				return
			}
			v, err := readVersion(e.Value)
			if err != nil {
				yield(storage.Entry{}, err)
				return
			}
			if v != nil && !yield(storage.Entry{Key: e.Key[1:len(e.Key):len(e.Key)], Value: v, Time: e.Time}, nil) {
				return
			}
		}
	}
}
