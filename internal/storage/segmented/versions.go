package segmented

import (
	"bytes"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
)

// How versions are stored: the latest version of a key is a row under the key alone, with the time
// at which it began; it may be a deletion. Each version before it is a row in the segment in which
// it ended. Versions follow each other without gaps, since deletions are versions too.
//
// The latest versions that are deletions are also listed by time (tombstoneClass), so that they can
// be removed when they have expired.

const (
	olderTail        = timeLen
	versionTombstone = 0 // in front of a version's value
	versionValue     = 1
)

func appendLatest(b, key []byte) []byte { return append(append(b, latestClass), key...) }

func (s *shape) appendOlder(b, key []byte, to int64) []byte {
	b = appendTime(append(b, olderClass), segmentOf(to, s.interval))
	return appendTime(appendKey(b, key), to)
}

func appendTombstone(b, key []byte, at int64) []byte {
	return append(appendTime(append(b, tombstoneClass), at), key...)
}

// appendVersion appends a version's value in the form that rows have: a byte that tells deletions
// from values, and the value.
func appendVersion(b, v []byte) []byte {
	if v == nil {
		return append(b, versionTombstone)
	}
	return append(append(b, versionValue), v...)
}

// versionOf is the inverse of appendVersion. It returns nil for a deletion.
func versionOf(stored []byte) []byte {
	if len(stored) == 0 || stored[0] == versionTombstone {
		return nil
	}
	return stored[1:len(stored):len(stored)]
}

// readVersion is versionOf for rows that were not checked yet. The bytes of a damaged row must not
// pass for a value.
func readVersion(stored []byte) ([]byte, error) {
	if len(stored) == 0 || stored[0] > versionValue || stored[0] == versionTombstone && len(stored) > 1 {
		return nil, fmt.Errorf("%w: it has %d bytes and does not begin with %d or %d",
			errVersion, len(stored), versionTombstone, versionValue)
	}
	return versionOf(stored), nil
}

// tooOld reports whether a version that begins at t lies before the history retention. Puts refuse
// it.
func (s *Store) tooOld(t int64) bool { return t < s.readTime()-s.retention }

// putVersion writes the version that begins at begin, and notes in the journal what the changelog gets
// for it.
func (s *Store) putVersion(key, value []byte, begin int64) (validTo int64, written bool, err error) {
	if s.tooOld(begin) {
		return 0, false, nil
	}
	if key == nil {
		return 0, false, storage.ErrNilKey
	}
	s.observe(begin)
	s.writes++
	if value != nil {
		// value may be memory of the engine, which is valid only until the next call on it. The byte in front
		// keeps an empty value from being nil.
		s.valueCopy = append(append(s.valueCopy[:0], 0), value...)
		value = s.valueCopy[1:]
	}
	s.key = appendLatest(s.key[:0], key)
	stored, from, ok, err := s.Engine.Get(s.key)
	if err != nil {
		return 0, false, err
	}
	if ok { // the row goes to the changelog below, where the damage would outlive the file
		if _, err := readVersion(stored); err != nil {
			return 0, false, err
		}
	}
	if ok && begin < from {
		// The put is late: the version belongs before the latest one. Compaction keeps the last record of
		// a key, which would be this old version, so the latest one is written to the changelog again
		// after it.
		s.buf = append(s.buf[:0], stored...)
		if validTo, err = s.insertOlder(key, value, begin, from); err != nil {
			return 0, false, err
		}
		s.journal.add(key, value, begin)
		s.journal.add(key, versionOf(s.buf), from)
		return validTo, true, nil
	}
	// The version that was latest becomes an older one. A version that begins at the same time just
	// replaces it.
	if ok && begin > from {
		err = s.retire(key, stored, from, begin)
	}
	if err == nil {
		err = s.putLatest(key, value, begin, ok && begin == from && versionOf(stored) == nil)
	}
	if err != nil {
		return 0, false, err
	}
	s.journal.add(key, value, begin)
	return math.MaxInt64, true, nil
}

// retire makes the latest version an older one that ends at to.
func (s *Store) retire(key, stored []byte, from, to int64) error {
	isTombstone := versionOf(stored) == nil
	if to > s.readTime()-s.retention { // else it has expired
		// stored may be memory of the engine. Put copies it before it changes anything.
		s.key = s.shape.appendOlder(s.key[:0], key, to)
		if err := s.Engine.Put(s.key, stored, from); err != nil {
			return err
		}
	}
	if !isTombstone {
		return nil
	}
	s.key = appendTombstone(s.key[:0], key, from)
	return s.Engine.Delete(s.key, from)
}

// putLatest writes the latest version. again means that it replaces a deletion at the same time,
// which is no tombstone any more.
func (s *Store) putLatest(key, v []byte, t int64, again bool) error {
	s.value = appendVersion(s.value[:0], v)
	s.key = appendLatest(s.key[:0], key)
	if err := s.Engine.Put(s.key, s.value, t); err != nil {
		return err
	}
	s.key = appendTombstone(s.key[:0], key, t)
	switch {
	case v == nil:
		s.tombstones++
		return s.Engine.Put(s.key, emptyValue, t)
	case again:
		return s.Engine.Delete(s.key, t)
	}
	return nil
}

// insertOlder writes a version that begins at begin, before the latest one, which begins at latest.
func (s *Store) insertOlder(key, value []byte, begin, latest int64) (validTo int64, err error) {
	from, to, ok, err := s.findOlder(key, begin, latest)
	if err != nil {
		return 0, err
	}
	// [from, to) is the older version that ends first after begin. When there is none, the new version
	// ends where the latest begins.
	if !ok {
		to, from = latest, latest
	}
	if from > begin { // no version was valid at begin: the new one ends where the next begins
		to = from
	} else if from < begin {
		// A version was valid at begin. From now on it ends there, so it gets a new row there. The new version
		// overwrites its old row, which ends at to, below. In the order of keys the new row comes first,
		// so a flush that is interrupted never leaves only the second.
		if begin > s.readTime()-s.retention {
			s.key = s.shape.appendOlder(s.key[:0], key, begin)
			if err := s.Engine.Put(s.key, s.value, from); err != nil {
				return 0, err
			}
		}
	}
	if to > s.readTime()-s.retention { // else it has expired on arrival
		s.key = s.shape.appendOlder(s.key[:0], key, to)
		s.value = appendVersion(s.value[:0], value)
		err = s.Engine.Put(s.key, s.value, begin)
	}
	return to, err
}

// findOlder finds the older version of key that ended first after t. None ended after latest. Its
// stored form is in s.value.
func (s *Store) findOlder(key []byte, t, latest int64) (from, to int64, ok bool, err error) {
	o := olderScan{shape: &s.shape, key: key, after: t, until: latest}
	for e, err := range o.scan(s.Engine, false) {
		if err != nil {
			return 0, 0, false, err
		}
		s.value = append(s.value[:0], e.Value...)
		return e.Time, versionEnd(e.Key), true, nil
	}
	return 0, 0, false, nil
}

// versionEnd returns when an older version ended, from its local key.
func versionEnd(local []byte) int64 { return timeAt(local[len(local)-olderTail:]) }

// preparedCut is what PrepareCut has read for the next cut: the records that follow the values of
// the epoch, and where the pass is after them.
type preparedCut struct {
	records
	ready    bool
	writes   uint64 // Store.writes when it was read: later writes make it stale
	pass     pass
	finished *finishedPass
}

// PrepareCut reads all that the next Cut needs from the engine. A task that cuts several stores
// calls it for each of them before the first Cut. If a file turns out to be damaged, that is found
// while nothing of the epoch is in any changelog, and the epoch can be undone. Cut calls it if
// nobody did.
func (s *Store) PrepareCut() error {
	p := &s.prepared
	if s.kind != graph.Versioned || p.ready && p.writes == s.writes {
		return nil
	}
	p.ready = false
	p.records.clear()
	// Removed tombstones are not sent: in the changelog those keys have a tombstone already.
	if err := s.removeOldTombstones(); err != nil {
		return err
	}
	// The pass continues on a copy, so that a cut that fails leaves it where it was.
	p.pass = s.pass
	p.pass.lastKey = bytes.Clone(s.pass.lastKey)
	j := &s.journal
	var err error
	if p.finished, err = s.copyLatest(&p.pass, len(j.entries), &p.records); err != nil {
		return err
	}
	for i := range j.entries {
		if e := &j.entries[i]; !e.superseded && e.tombstone {
			if err := s.prepareDeletion(j.key(e), e.time); err != nil {
				return err
			}
		}
	}
	p.ready, p.writes = true, s.writes
	return nil
}

// cutVersions ends the epoch of a versioned store. Values go before deletions, as in every
// changelog (Engine.Cut). When a late deletion is not its key's latest version, the latest version
// is sent once more after it.
func (s *Store) cutVersions(emit func(storage.Change) error, part *epochTimes) (uint64, error) {
	if err := s.PrepareCut(); err != nil {
		return 0, err
	}
	j, p := &s.journal, &s.prepared
	for i := range j.entries {
		if e := &j.entries[i]; !e.superseded && !e.tombstone {
			if err := emit(j.change(e)); err != nil {
				return 0, err
			}
		}
	}
	for i := range p.entries {
		if err := emit(p.change(&p.entries[i])); err != nil {
			return 0, err
		}
	}
	// The engine's own changes are rows of this package, not records of the changelog.
	epoch, err := s.Engine.Cut(func(storage.Change) error { return nil })
	if err == nil {
		s.pass, part.finished = p.pass, p.finished
		p.records.clear()
		p.ready = false
		j.clear()
		s.tombstones = 0
	}
	return epoch, err
}

// prepareDeletion adds a deletion to what the cut sends. After it comes the key's latest version,
// if that is another one: compaction keeps the last record of a key.
func (s *Store) prepareDeletion(key []byte, t int64) error {
	s.prepared.add(key, nil, t)
	s.key = appendLatest(s.key[:0], key)
	stored, from, ok, err := s.Engine.Get(s.key)
	if err != nil || !ok || from == t {
		return err
	}
	v, err := readVersion(stored)
	if err != nil {
		return err
	}
	s.prepared.add(key, v, from)
	return nil
}

// removeAtLeast is how many expired tombstones a cut removes at most, besides twice as many as the
// epoch has added. So a cut does not take long, and the list does not grow.
const removeAtLeast = 64

// removeOldTombstones removes keys whose latest version is a deletion that has expired. Their older
// versions have expired before it.
func (s *Store) removeOldTombstones() error {
	n := removeAtLeast + 2*s.tombstones
	expired := appendTime([]byte{tombstoneClass}, s.readTime()-s.retention)
	r := storage.Range{From: []byte{tombstoneClass}, To: expired, ToBefore: true}
	for e, err := range s.Engine.Scan(r) {
		if err != nil {
			return err
		}
		if n--; n < 0 {
			break
		}
		if len(e.Key) < headLen {
			return badKey(e.Key)
		}
		if err := s.removeTombstone(e.Key[headLen:], timeAt(e.Key[1:])); err != nil {
			return err
		}
		s.key = append(s.key[:0], e.Key...)
		if err := s.Engine.Delete(s.key, e.Time); err != nil {
			return err
		}
	}
	return nil
}

// removeTombstone removes the latest version of a key if it is the deletion at t. After a crash in
// a flush the list may have entries of versions that are not there.
func (s *Store) removeTombstone(key []byte, t int64) error {
	s.key = appendLatest(s.key[:0], key)
	stored, from, ok, err := s.Engine.Get(s.key)
	if err != nil || !ok || from != t || versionOf(stored) != nil {
		return err
	}
	return s.Engine.Delete(s.key, t)
}

// changelogVersions passes all versions of a key to emit, oldest first, or a tombstone at now when
// there are none.
func (s *Store) changelogVersions(key []byte, now int64, emit func(storage.Change) error) error {
	s.key = appendLatest(s.key[:0], key)
	stored, latest, ok, err := s.Engine.Get(s.key)
	if err != nil {
		return err
	}
	if !ok {
		return emit(storage.Change{Key: key, Time: now})
	}
	if _, err := readVersion(stored); err != nil {
		return err
	}
	stored = bytes.Clone(stored) // the scan below makes the engine's memory invalid
	o := olderScan{shape: &s.shape, key: key, after: s.readTime() - s.retention, until: latest}
	for e, err := range o.scan(s.Engine, false) {
		if err != nil {
			return err
		}
		if err := emit(storage.Change{Key: key, Value: versionOf(e.Value), Time: e.Time}); err != nil {
			return err
		}
	}
	return emit(storage.Change{Key: key, Value: versionOf(stored), Time: latest})
}
