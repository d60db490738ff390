package layout

import (
	"iter"
	"math"

	"github.com/millstream-go/millstream/store"
)

// versions implements store.VersionedBytes.
type versions struct{ view }

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
	o := olderScan{shape: &x.shape, key: key, after: time, until: from}
	for e, err := range o.scan(x.rows, false) {
		if err != nil || e.Time > time {
			return store.Version{}, false, err
		}
		x.value = append(x.value[:0], e.Value...)
		v := store.Version{Value: versionOf(x.value), From: e.Time, To: untilWhen(e.Key)}
		return v, v.Value != nil, nil
	}
	return store.Version{}, false, nil
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
