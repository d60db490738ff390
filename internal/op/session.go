package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// Sessions folds records in sessions, which grow and merge. A session's row has the time of its end; its bounds are its key, so that a
// session that grows is deleted and put again.
type Sessions[K, V, A any] struct {
	Windowing[K, V, A]
	Rows *SessionRows[K, A]
	// Merge makes one aggregate of two. Aggregates of sessions are merged into that of Start one after the other; if Start is nil
	// the first of them is taken as it is.
	Merge func(k K, a, b A) A
	Gap   int64

	found   []found[A]
	merged  merged[A]
	visitor func(store.WindowEntry, error) bool
}

// found is a session to which a record belongs.
type found[A any] struct {
	start, end int64
	agg        A
	value      A // with Old: agg again, apart from what is merged
}

// See moves stream time to a record that is not folded, and sends what that closes.
func (s *Sessions[K, V, A]) See(r topology.Record[K, V]) error {
	before := s.see(r.Time.UnixMilli())
	if !s.OnClose || before == *s.Time {
		return nil
	}
	from := int64(0)
	if before >= 0 {
		from = s.open(before)
	}
	if to := s.open(*s.Time) - 1; s.closing.due(from, to) {
		return s.flush(r, from, to)
	}
	return nil
}

// Closes says whether a record at a time would close a session that was not.
func (s *Sessions[K, V, A]) Closes(at int64) bool {
	return s.closes(at, s.open(*s.Time), s.open(at)-1, s.Rows.store.ByTime)
}

// open is the least end of a session that takes records at a stream time.
func (s *Sessions[K, V, A]) open(now int64) int64 { return now - s.Grace - s.Gap }

// Record folds r into the session that it makes of those no further away than the gap. They are deleted, which is sent, unless the
// session is r's moment alone. Whether r is late is judged by the session that it makes: a late record may join one that is open.
func (s *Sessions[K, V, A]) Record(r topology.Record[K, V]) error {
	s.Rows.Keep(r.Headers)
	if err := s.See(r); err != nil {
		return err
	}
	if err := s.Rows.of(r.Key); err != nil {
		return err
	}
	at := r.Time.UnixMilli()
	if err := s.merge(r.Key, at); err != nil {
		return err
	}
	if s.merged.end < s.open(*s.Time) {
		s.Late()
		return nil
	}
	if !s.OnClose && !s.Hold {
		r.Headers = nil // Kafka Streams makes new records here
	}
	if s.merged.start != at || s.merged.end != at {
		if err := s.replace(r, at); err != nil {
			return err
		}
	}
	return s.add(r, s.merged.agg, len(s.found) > 0, s.merged.start, s.merged.end)
}

// merged is what a record makes of the sessions to which it belongs.
type merged[A any] struct {
	at         int64 // the record's time
	agg        A
	start, end int64
	err        error
}

// merge finds the sessions to which a record at a time belongs, and merges their aggregates, by their ends.
//
// They are looked for from the latest on. Sessions of a key lie further apart than the gap, or they would be one; so the first that does
// not begin after the record is the last that can be near. A session that grows leaves deleted rows behind it, with smaller ends: a
// search from the other side would go over all of them, with each record.
func (s *Sessions[K, V, A]) merge(k K, at int64) error {
	s.found, s.merged = s.found[:0], merged[A]{at: at, start: at, end: at}
	if s.visitor == nil {
		s.visitor = s.visit // once: a loop's body would be a new closure for each record
	}
	s.Rows.store.Find(s.Rows.at, max(0, at-s.Gap), at+s.Gap, true)(s.visitor)
	m := &s.merged
	if m.err != nil {
		return m.err
	}
	slices.Reverse(s.found)
	some := s.Start != nil
	if some {
		m.agg = s.Start()
	}
	for i := range s.found {
		f := &s.found[i]
		if some {
			m.agg = s.Merge(k, m.agg, f.agg)
		} else {
			m.agg, some = f.agg, true
		}
		m.start, m.end = min(m.start, f.start), max(m.end, f.end)
	}
	return nil
}

// visit takes note of one session.
func (s *Sessions[K, V, A]) visit(e store.WindowEntry, err error) bool {
	m, f := &s.merged, found[A]{start: e.Start, end: e.End}
	if err != nil {
		m.err = s.Rows.wrap("scan", m.at, m.at, err)
		return false
	}
	if f.agg, m.err = s.Rows.decode(e.Value, e.Start, e.End); m.err != nil {
		return false
	}
	if s.Old {
		if f.value, m.err = s.Rows.decode(e.Value, e.Start, e.End); m.err != nil {
			return false
		}
	}
	s.found = append(s.found, f)
	return e.Start > m.at
}

// replace deletes the sessions found, whose records are to be in another one.
func (s *Sessions[K, V, A]) replace(r topology.Record[K, V], at int64) error {
	for i := range s.found {
		f := &s.found[i]
		if err := s.Rows.remove(f.start, f.end, at); err != nil {
			return err
		}
		gone := Folded[A]{Gone: true, Time: f.end, Old: f.value, HasOld: s.Old || s.Hold}
		if err := s.send(r, windowKey(r.Key, f.start, f.end), gone); err != nil {
			return err
		}
	}
	return nil
}

// add adds r to what was merged, and writes and sends the session. Where the row was there before, as the session is r's moment alone,
// its old value goes with it; Kafka Streams leaves it out, and what is computed from the table counts the session twice.
func (s *Sessions[K, V, A]) add(r topology.Record[K, V], a A, row bool, start, end int64) error {
	at := r.Time.UnixMilli()
	res := Folded[A]{Time: end}
	if start == end && row && (s.Old || s.Hold) {
		res.Old, res.HasOld = s.found[0].value, true
	}
	a = s.Add(r.Key, r.Value, a, row)
	k := windowKey(r.Key, start, end)
	if s.Delete != nil && s.Delete(k, a) {
		res.Gone = true
		if err := s.Rows.remove(start, end, at); err != nil {
			return err
		}
		return s.send(r, k, res)
	}
	res.New = a
	kept, err := s.Rows.save(start, end, a, at)
	if err != nil {
		return err
	}
	if !kept { // another operator, which writes the same store, is far ahead
		s.Late()
		return nil
	}
	s.closing.put(end)
	return s.send(r, k, res)
}

// flush sends the rows of the sessions that end in [from, to] and are closed by r.
func (s *Sessions[K, V, A]) flush(r topology.Record[K, V], from, to int64) error {
	s.closing.begin()
	for e, err := range s.Rows.store.ByTime(max(from, 0), math.MaxInt64) {
		if err != nil {
			return s.Rows.wrap("scan", from, to, err)
		}
		if e.End > to {
			s.closing.put(e.End)
			break
		}
		k, err := s.Rows.key.Decode(e.Key)
		if err != nil {
			return fmt.Errorf("store %q, key %q: decode the key: %w", s.Rows.name, e.Key, err)
		}
		start, end := e.Start, e.End
		a, err := s.Rows.decode(e.Value, start, end)
		if err != nil {
			return err
		}
		if err := s.sendClosed(r, windowKey(k, start, end), a, end); err != nil {
			return err
		}
	}
	return nil
}
