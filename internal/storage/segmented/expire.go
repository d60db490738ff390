package segmented

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
)

// hiddenFromReads reports whether a row of time t has expired by the read time: reads do not see it.
func (s *Store) hiddenFromReads(t int64) bool { return t <= s.readTime()-s.retention }

// hasExpired reports whether a row of time t has expired by the expiry time: nothing sees it, and
// the engine may drop it.
func (s *Store) hasExpired(t int64) bool { return t <= s.expiryTime()-s.retention }

// keyHasExpired reports whether the row of a local key has expired.
func (s *Store) keyHasExpired(key []byte) bool {
	if len(key) == 0 {
		return false
	}
	switch key[0] {
	case rowClass:
		return len(key) >= headLen+s.shape.tailLen() && s.hasExpired(s.shape.rowTime(key))
	case timeClass:
		return len(key) >= headLen && s.hasExpired(timeAt(key[1:]))
	case olderClass: // the version ended before the history retention
		return len(key) >= headLen+olderTail && timeAt(key[len(key)-olderTail:]) <= s.readTime()-s.retention
	}
	return false
}

// dropExpiredSegments has the engine drop the segments whose rows have all expired, with the
// current epoch.
func (s *Store) dropExpiredSegments() {
	oldest := segmentOf(s.expiryTime()-s.retention+1, s.shape.interval)
	if s.expiryTime() < 0 || oldest <= s.droppedBelow {
		return
	}
	s.droppedBelow = oldest
	// The oldest segment that is left may have expired rows too. They go with the segment; until then
	// keyHasExpired hides them.
	class := byte(rowClass)
	if s.kind == graph.Versioned {
		class = olderClass
	}
	s.Engine.Expire([]byte{class}, appendTime([]byte{class}, oldest))
	if s.timeIndex {
		s.Engine.Expire([]byte{timeClass}, appendTime([]byte{timeClass}, oldest*s.shape.interval))
	}
}

// restoreMark is a place in a changelog, in bytes from where its restore began, and the observed
// time there.
type restoreMark struct{ bytes, observedTime int64 }

// restoreLag is how far the settled time stays behind a restore, in bytes of changelog (see readTime and
// expiryTime). The last records of a changelog may belong to an epoch that never settled. restoreLag is more
// than an epoch writes, so no row expires by the time of such a record.
var restoreLag int64 = 16 << 20

// noteRestored counts n restored bytes. Every restoreLag bytes the settled time moves to what was
// observed one such step before.
func (s *Store) noteRestored(n int64) {
	if s.restoredBytes += n; s.restoredBytes-s.restoreMark.bytes >= restoreLag {
		s.settledTime = max(s.settledTime, s.restoreMark.observedTime)
		s.provenTime = max(s.provenTime, s.restoreMark.observedTime)
		s.restoreMark = restoreMark{s.restoredBytes, s.observedTime}
	}
}

// clipExpired makes a scan begin after what has expired. The engine drops expired segments in its
// own time, so any number of their rows may still be there; without this a scan would visit and
// discard each of them.
func (s *Store) clipExpired(r storage.Range) storage.Range {
	if len(r.From) == 0 || s.expiryTime() < 0 {
		return r
	}
	bound := s.expiryTime() - s.retention + 1
	switch r.From[0] {
	case rowClass, olderClass: // their keys begin with the number of the segment
		bound = segmentOf(bound, s.shape.interval)
	case timeClass: // with the time itself
	default:
		return r
	}
	if len(r.From) < headLen || timeAt(r.From[1:]) < bound {
		r.From, r.FromAfter, r.Series = appendTime([]byte{r.From[0]}, bound), false, 0
	}
	return r
}
