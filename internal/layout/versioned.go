package layout

import (
	"iter"
	"math"

	"github.com/millstream-go/millstream/store"
)

// versions implements store.VersionedBytes.
type versions struct {
	view
	found found
}

// Get implements store.VersionedBytes.
func (x *versions) Get(key []byte) (store.Version, bool, error) {
	stored, from, ok, err := x.latest(key)
	v := store.Version{Value: versionOf(stored), From: from, To: math.MaxInt64}
	if err != nil || !ok || v.Value == nil {
		return store.Version{}, false, err
	}
	return v, true, nil
}

// latest returns the row of the latest version, which may be a deletion.
func (x *versions) latest(key []byte) (stored []byte, from int64, ok bool, err error) {
	if key == nil {
		return nil, 0, false, store.ErrNilKey
	}
	x.key = appendLatest(x.key[:0], key)
	return x.rows.Get(x.key)
}

// oldest returns the time that versions of the key that x.key says can be asked for.
func (x *versions) oldest() (int64, error) {
	if x.own != nil {
		return x.own.observed - x.retention, nil
	}
	t, err := x.parts.Observed(x.key)
	return t - x.retention, err
}

// AsOf implements store.VersionedBytes.
func (x *versions) AsOf(key []byte, time int64) (store.Version, bool, error) {
	stored, from, ok, err := x.latest(key)
	if err != nil || !ok {
		return store.Version{}, false, err
	}
	if from <= time {
		v := store.Version{Value: versionOf(stored), From: from, To: math.MaxInt64}
		return v, v.Value != nil, nil
	}
	oldest, err := x.oldest()
	if err != nil || time < oldest {
		return store.Version{}, false, err
	}
	f := &x.found
	if err := x.endedAfter(f, key, time, from); err != nil || !f.ok || f.from > time {
		return store.Version{}, false, err
	}
	v := store.Version{Value: versionOf(f.stored), From: f.from, To: f.to}
	return v, v.Value != nil, nil
}

// found is what a look-up of an older version comes to.
type found struct {
	stored   []byte
	from, to int64
	ok       bool
	err      error
	each     func(store.Entry, error) bool // made once
}

func (f *found) row(e store.Entry, err error) bool {
	if f.err = err; err == nil {
		f.stored, f.from, f.to, f.ok = append(f.stored[:0], e.Value...), e.Time, untilWhen(e.Key), true
	}
	return false
}

// manySegments is from how many segments on a look-up asks which of them have rows.
const manySegments = 64

// endedAfter finds the first version of key that ended after t. None of the older ones ended after latest.
func (x *versions) endedAfter(f *found, key []byte, t, latest int64) error {
	if f.each == nil {
		f.each = f.row
	}
	f.ok, f.err = false, nil
	s := x.enter()
	defer x.leave(s)
	last := segmentOf(latest, x.shape.segment)
	for n := segmentOf(t+1, x.shape.segment); n <= last && !f.ok && f.err == nil; n++ {
		if last-n >= manySegments {
			at, ok, err := nextSegment(x.rows, olderClass, n, last, false)
			if err != nil || !ok {
				return err
			}
			n = at
		}
		s.from = appendKey(appendTime(append(s.from[:0], olderClass), n), key)
		s.to = appendTime(append(s.to[:0], s.from...), latest)
		s.from = appendTime(s.from, t)
		x.scanRows(store.Range{From: s.from, FromAfter: true, To: s.to}, f.each)
	}
	return f.err
}

// Put implements store.VersionedBytes.
func (x *versions) Put(key, value []byte, time int64) (validTo int64, kept bool, err error) {
	l, err := x.home(key)
	if err != nil {
		return 0, false, err
	}
	return l.putVersion(key, value, time)
}

// History implements store.VersionedBytes.
func (x *versions) History(key []byte, from, to int64, backward bool) iter.Seq2[store.Version, error] {
	return func(yield func(store.Version, error) bool) {
		stored, latest, ok, err := x.latest(key)
		if err != nil || !ok {
			if err != nil {
				yield(store.Version{}, err)
			}
			return
		}
		s := x.enter()
		defer x.leave(s)
		s.buf = append(s.buf[:0], stored...)
		s.key = append(s.key[:0], key...)
		last := func() bool {
			v := store.Version{Value: versionOf(s.buf), From: latest, To: math.MaxInt64}
			return v.Value == nil || latest > to || yield(v, nil)
		}
		if backward && !last() {
			return
		}
		if oldest, err := x.oldest(); err != nil {
			yield(store.Version{}, err)
			return
		} else if from < oldest {
			from = oldest
		}
		o := olderScan{shape: &x.shape, key: s.key, after: from, until: latest}
		for e, err := range o.scan(x.rows, backward) {
			if err != nil {
				yield(store.Version{}, err)
				return
			}
			v := store.Version{Value: versionOf(e.Value), From: e.Time, To: untilWhen(e.Key)}
			if v.From > to && !backward {
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

// Latest implements store.VersionedBytes.
func (x *versions) Latest() iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range x.rows.Scan(store.PrefixRange([]byte{latestClass})) {
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			v := versionOf(e.Value)
			if v != nil && !yield(store.Entry{Key: e.Key[1:len(e.Key):len(e.Key)], Value: v, Time: e.Time}, nil) {
				return
			}
		}
	}
}
