package operator

import (
	"math"
	"slices"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/topology"
)

// Sessions folds records in sessions, which grow and merge. A session's row has the time of its
// end. Start and end are part of the store's key, so a session that grows is deleted and put again.
type Sessions[K, V, A any] struct {
	Windowing[K, V, A]
	Rows *SessionRows[K, A]
	// Merge merges two aggregates. The aggregates of a record's sessions are merged one after the
	// other into that of Start; if Start is nil, into the first one.
	Merge func(k K, a, b A) A
	Gap   int64

	found   []foundSession[A]
	merged  mergedSession[A]
	visitor func(storage.WindowEntry, error) bool // allocated once: a loop body would be a new closure for each record
}

// foundSession is a session to which a record belongs.
type foundSession[A any] struct {
	start, end int64
	agg        A
	oldValue   A // with Old: agg in memory of its own, since agg is merged
}

// openFor returns how long after its end a session accepts records.
func (s *Sessions[K, V, A]) openFor() int64 { return s.Gap + s.Grace + 1 }

// AdvanceTime moves stream time to that of a record that is not folded, and emits the sessions that
// this closes.
func (s *Sessions[K, V, A]) AdvanceTime(r topology.Record[K, V]) error {
	if from, to, ok := s.closeAt(r.Time.UnixMilli(), s.openFor()); ok {
		return s.emitClosedSessions(r, from, to)
	}
	return nil
}

// WouldClose reports whether a record at the given time would close a session that is open.
func (s *Sessions[K, V, A]) WouldClose(at int64) bool {
	return s.wouldClose(at, s.openFor(), s.Rows.store.ByTime)
}

// Record folds the record into one session, made of all sessions that are no further away from the
// record than the gap.
func (s *Sessions[K, V, A]) Record(record topology.Record[K, V]) error {
	s.Rows.SetHeaders(record.Headers)
	if err := s.AdvanceTime(record); err != nil {
		return err
	}
	if err := s.Rows.setKey(record.Key); err != nil {
		return err
	}
	at := record.Time.UnixMilli()
	if err := s.merge(record.Key, at); err != nil {
		return err
	}
	// Whether the record is late is decided by the session that it makes, not by its own time: a
	// late record may belong to a session that is open.
	if s.merged.end+s.openFor() <= *s.Time {
		s.CountLate()
		return nil
	}
	// Kafka Streams forwards new records here, which have no headers.
	if !s.OnClose && !s.UntilCommit {
		record.Headers = nil
	}
	return s.add(record, s.merged.agg, len(s.found) > 0, s.merged.start, s.merged.end)
}

// mergedSession is what a record makes of the sessions to which it belongs.
type mergedSession[A any] struct {
	time       int64 // the record's time
	agg        A
	start, end int64
	err        error
}

// merge finds the sessions to which a record belongs, and merges their aggregates in the order of
// their ends.
func (s *Sessions[K, V, A]) merge(key K, at int64) error {
	s.found, s.merged = s.found[:0], mergedSession[A]{time: at, start: at, end: at}
	if s.visitor == nil {
		s.visitor = s.visitSession
	}
	// The scan begins with the latest session. Sessions of a key are further apart than the gap, or
	// they would be one, so the first one that does not begin after the record is the last that can
	// be within the gap. A session that grows leaves deleted rows with smaller ends behind: a scan
	// from the other side would pass all of them with each record.
	s.Rows.store.Find(s.Rows.keyBytes, max(0, at-s.Gap), at+s.Gap, true)(s.visitor)
	into := &s.merged
	if into.err != nil {
		return into.err
	}
	slices.Reverse(s.found)
	started := s.Start != nil
	if started {
		into.agg = s.Start()
	}
	for i := range s.found {
		f := &s.found[i]
		if started {
			into.agg = s.Merge(key, into.agg, f.agg)
		} else {
			into.agg, started = f.agg, true
		}
		into.start, into.end = min(into.start, f.start), max(into.end, f.end)
	}
	return nil
}

// visitSession adds one session to s.found. It returns false to end the scan.
func (s *Sessions[K, V, A]) visitSession(entry storage.WindowEntry, err error) bool {
	m, f := &s.merged, foundSession[A]{start: entry.Start, end: entry.End}
	if err != nil {
		m.err = s.Rows.wrap("scan", m.time, m.time, err)
		return false
	}
	if f.agg, m.err = s.Rows.decode(entry.Value, entry.Start, entry.End); m.err != nil {
		return false
	}
	if s.Old {
		if f.oldValue, m.err = s.Rows.decode(entry.Value, entry.Start, entry.End); m.err != nil {
			return false
		}
	}
	s.found = append(s.found, f)
	return entry.Start > m.time
}

// deleteMerged deletes the sessions found, and emits their deletion. Their records are in the
// session from start to end now. That session may be one of them, and its row is then the new one,
// which must stay.
func (s *Sessions[K, V, A]) deleteMerged(record topology.Record[K, V], start, end, at int64) error {
	for i := range s.found {
		f := &s.found[i]
		if f.start != start || f.end != end {
			if err := s.Rows.remove(f.start, f.end, at); err != nil {
				return err
			}
		}
		deleted := FoldResult[A]{Deleted: true, Time: f.end, Old: f.oldValue, HasOld: s.Old || s.UntilCommit}
		if err := s.emit(record, windowKey(record.Key, f.start, f.end), deleted); err != nil {
			return err
		}
	}
	return nil
}

// add adds the record to the merged aggregate, and writes and emits the session.
func (s *Sessions[K, V, A]) add(record topology.Record[K, V], agg A, row bool, start, end int64) error {
	at := record.Time.UnixMilli()
	res := FoldResult[A]{Time: end}
	// The session is the moment of the record alone and existed before. Its row is replaced, so its old
	// value goes with the change. Kafka Streams leaves the old value out, and a table computed from
	// this one then counts the session twice.
	if start == end && row && (s.Old || s.UntilCommit) {
		res.Old, res.HasOld = s.found[0].oldValue, true
	}
	agg = s.Add(record.Key, record.Value, agg, row)
	windowed := windowKey(record.Key, start, end)
	replaces := start != at || end != at
	if s.Delete != nil && s.Delete(windowed, agg) {
		res.Deleted = true
		if replaces {
			if err := s.deleteMerged(record, start, end, at); err != nil {
				return err
			}
		}
		if err := s.Rows.remove(start, end, at); err != nil {
			return err
		}
		return s.emit(record, windowed, res)
	}
	res.New = agg
	// The new row is written before the old ones are deleted: a record that cannot be stored must
	// leave them as they were.
	stored, err := s.Rows.save(start, end, agg, at)
	if err == nil && replaces {
		err = s.deleteMerged(record, start, end, at)
	}
	if err != nil {
		return err
	}
	// Several operators may write one store (a cogroup). Another one's stream time may be so far
	// ahead that the store rejects this session.
	if !stored {
		s.CountLate()
		return nil
	}
	s.tracker.noteOpen(end)
	return s.emit(record, windowed, res)
}

// emitClosedSessions emits the rows of the sessions that end in [from, to] and that the record has
// closed.
func (s *Sessions[K, V, A]) emitClosedSessions(record topology.Record[K, V], from, to int64) error {
	s.tracker.reset()
	for e, err := range s.Rows.store.ByTime(max(from, 0), math.MaxInt64) {
		if err != nil {
			return s.Rows.wrap("scan", from, to, err)
		}
		// The first session that is still open ends the scan, and is where the next one begins.
		if e.End > to {
			s.tracker.noteOpen(e.End)
			break
		}
		k, err := s.Rows.key.Decode(e.Key)
		if err != nil {
			return keyError(s.Rows.name, e.Key, "decode the key", err)
		}
		start, end := e.Start, e.End
		a, err := s.Rows.decode(e.Value, start, end)
		if err != nil {
			return err
		}
		if err := s.emitClosed(record, windowKey(k, start, end), a, end); err != nil {
			return err
		}
	}
	return nil
}
