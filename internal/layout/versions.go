package layout

import (
	"bytes"
	"math"

	"github.com/millstream-go/millstream/store"
)

// Versions: the latest version of a key is a row under the key alone, with the time it began; it may be a deletion. Each version
// before it is a row of the segment that it ended in. Versions follow one another without gaps, since deletions are versions too.
//
// The deletions among the latest are listed by time besides, so that keys that were deleted for good can be forgotten.

const (
	olderTail = timeLen
	deletion  = 0 // in front of a version's value
	value     = 1
)

func appendLatest(b, key []byte) []byte { return append(append(b, latestClass), key...) }

func (s *shape) appendOlder(b, key []byte, to int64) []byte {
	b = appendTime(append(b, olderClass), segmentOf(to, s.segment))
	return appendTime(appendKey(b, key), to)
}

func appendGone(b, key []byte, at int64) []byte {
	return append(appendTime(append(b, goneClass), at), key...)
}

// stored appends a version's value as rows have it.
func appendVersion(b, v []byte) []byte {
	if v == nil {
		return append(b, deletion)
	}
	return append(append(b, value), v...)
}

// versionOf is the inverse of appendVersion: nil for a deletion.
func versionOf(stored []byte) []byte {
	if len(stored) == 0 || stored[0] == deletion {
		return nil
	}
	return stored[1:len(stored):len(stored)]
}

// tooOld is whether a version that begins at t is refused, and what a time reads as when no version is that old.
func (l *Log) tooOld(t int64) bool { return t < l.observed-l.retention }

// putVersion writes the version that begins at t.
func (l *Log) putVersion(key, v []byte, t int64) (validTo int64, kept bool, err error) {
	if l.tooOld(t) {
		return 0, false, nil
	}
	if key == nil {
		return 0, false, store.ErrNilKey
	}
	l.observed = max(l.observed, t)
	l.writes++
	if v != nil { // it may be what the engine handed out last
		l.given = append(append(l.given[:0], 0), v...)
		v = l.given[1:]
	}
	l.key = appendLatest(l.key[:0], key)
	stored, from, ok, err := l.Engine.Get(l.key)
	if err != nil {
		return 0, false, err
	}
	if ok && t < from {
		// What is latest now is said again after it: a changelog that is compacted keeps the last that was said of a key.
		l.buf = append(l.buf[:0], stored...)
		if validTo, err = l.insertOlder(key, v, t, from); err != nil {
			return 0, false, err
		}
		l.journal.add(key, v, t)
		l.journal.add(key, versionOf(l.buf), from)
		return validTo, true, nil
	}
	if ok && t > from {
		err = l.retire(key, stored, from, t)
	}
	if err == nil {
		err = l.putLatest(key, v, t, ok && t == from && versionOf(stored) == nil)
	}
	if err != nil {
		return 0, false, err
	}
	l.journal.add(key, v, t)
	return math.MaxInt64, true, nil
}

// retire makes the latest version one of the older ones, which ends at to.
func (l *Log) retire(key, stored []byte, from, to int64) error {
	gone := versionOf(stored) == nil
	if to > l.observed-l.retention {
		// stored may be the engine's; it copies before anything changes.
		l.key = l.shape.appendOlder(l.key[:0], key, to)
		if err := l.Engine.Put(l.key, stored, from); err != nil {
			return err
		}
	}
	if !gone {
		return nil
	}
	l.key = appendGone(l.key[:0], key, from)
	return l.Engine.Delete(l.key, from)
}

// putLatest writes the latest version; again is whether it takes the place of a deletion at the same time.
func (l *Log) putLatest(key, v []byte, t int64, again bool) error {
	l.value = appendVersion(l.value[:0], v)
	l.key = appendLatest(l.key[:0], key)
	if err := l.Engine.Put(l.key, l.value, t); err != nil {
		return err
	}
	l.key = appendGone(l.key[:0], key, t)
	switch {
	case v == nil:
		l.deleted++
		return l.Engine.Put(l.key, emptyValue, t)
	case again:
		return l.Engine.Delete(l.key, t)
	}
	return nil
}

// insertOlder writes a version that begins before the latest one, which begins at latest.
func (l *Log) insertOlder(key, v []byte, t, latest int64) (validTo int64, err error) {
	from, to, ok, err := l.older(key, t, latest)
	if err != nil {
		return 0, err
	}
	if !ok { // the first version, so far, is the latest
		to, from = latest, latest
	}
	if from > t { // there was none at t
		to = from
	} else if from < t {
		// The version that was valid then ends now.
		if t > l.observed-l.retention {
			l.key = l.shape.appendOlder(l.key[:0], key, t)
			if err := l.Engine.Put(l.key, l.value, from); err != nil {
				return 0, err
			}
		}
	}
	if to > l.observed-l.retention {
		l.key = l.shape.appendOlder(l.key[:0], key, to)
		l.value = appendVersion(l.value[:0], v)
		err = l.Engine.Put(l.key, l.value, t)
	}
	return to, err
}

// older finds the first version of key that ended after t. None ended after latest. What it had stored is in l.value.
func (l *Log) older(key []byte, t, latest int64) (from, to int64, ok bool, err error) {
	o := olderScan{shape: &l.shape, key: key, after: t, until: latest}
	for e, err := range o.scan(l.Engine, false) {
		if err != nil {
			return 0, 0, false, err
		}
		l.value = append(l.value[:0], e.Value...)
		return e.Time, untilWhen(e.Key), true, nil
	}
	return 0, 0, false, nil
}

// untilWhen returns the end of an older version, from its local key.
func untilWhen(local []byte) int64 { return timeAt(local[len(local)-olderTail:]) }

// cutVersions ends the epoch of a versioned store. Values go before deletions, as in every changelog; where a key's latest
// version is none of the deletions that follow, it is said once more behind them.
func (l *Log) cutVersions(emit func(store.Change) error) (uint64, error) {
	if err := l.forget(); err != nil { // not for the changelog
		return 0, err
	}
	j := &l.journal
	for i := range j.entries {
		if e := &j.entries[i]; !e.dead && !e.gone {
			if err := emit(store.Change{Key: j.key(e), Value: j.valueOf(e), Time: e.time}); err != nil {
				return 0, err
			}
		}
	}
	for i := range j.entries {
		if e := &j.entries[i]; !e.dead && e.gone {
			if err := l.emitDeletion(j.key(e), e.time, emit); err != nil {
				return 0, err
			}
		}
	}
	epoch, err := l.Engine.Cut(func(store.Change) error { return nil })
	if err == nil {
		j.clear()
		l.deleted = 0
	}
	return epoch, err
}

func (l *Log) emitDeletion(key []byte, t int64, emit func(store.Change) error) error {
	if err := emit(store.Change{Key: key, Time: t}); err != nil {
		return err
	}
	l.key = appendLatest(l.key[:0], key)
	stored, from, ok, err := l.Engine.Get(l.key)
	if err != nil || !ok || from == t {
		return err
	}
	return emit(store.Change{Key: key, Value: versionOf(stored), Time: from})
}

// forgetAtLeast is how many deletions a cut forgets, if so many have expired, besides twice as many as the epoch has brought.
const forgetAtLeast = 64

// forget removes keys whose latest version is a deletion that has expired: what was before it has, too.
func (l *Log) forget() error {
	n := forgetAtLeast + 2*l.deleted
	r := store.Range{From: []byte{goneClass}, To: appendTime([]byte{goneClass}, l.observed-l.retention), ToBefore: true}
	for e, err := range l.Engine.Scan(r) {
		if err != nil {
			return err
		}
		if n--; n < 0 {
			break
		}
		if err := l.forgetKey(e.Key[headLen:], timeAt(e.Key[1:])); err != nil {
			return err
		}
		l.key = append(l.key[:0], e.Key...)
		if err := l.Engine.Delete(l.key, e.Time); err != nil {
			return err
		}
	}
	return nil
}

// forgetKey removes the latest version of a key if it is the deletion at t. After a crash in a flush the list may have others.
func (l *Log) forgetKey(key []byte, t int64) error {
	l.key = appendLatest(l.key[:0], key)
	stored, from, ok, err := l.Engine.Get(l.key)
	if err != nil || !ok || from != t || versionOf(stored) != nil {
		return err
	}
	return l.Engine.Delete(l.key, t)
}

// loggedVersions hands all versions of a key to emit, oldest first.
func (l *Log) loggedVersions(key []byte, now int64, emit func(store.Change) error) error {
	l.key = appendLatest(l.key[:0], key)
	stored, latest, ok, err := l.Engine.Get(l.key)
	if err != nil {
		return err
	}
	if !ok {
		return emit(store.Change{Key: key, Time: now})
	}
	stored = bytes.Clone(stored)
	o := olderScan{shape: &l.shape, key: key, after: l.observed - l.retention, until: latest}
	for e, err := range o.scan(l.Engine, false) {
		if err != nil {
			return err
		}
		if err := emit(store.Change{Key: key, Value: versionOf(e.Value), Time: e.Time}); err != nil {
			return err
		}
	}
	return emit(store.Change{Key: key, Value: versionOf(stored), Time: latest})
}
