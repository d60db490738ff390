package op

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// NotKept says that a record was joined but is too old to be kept for partners that come later.
const NotKept = NoValue + 1

// Kept are the records of one side of a join of two streams, in a window store that keeps duplicates: the start of a window is the
// record's time.
type Kept[K, V any] struct {
	Name  string
	Rows  store.WindowBytes
	Key   *rowserde.Side[K]
	Value *rowserde.Side[V]
}

// JoinSide is what becomes of the records of one side of a join of two streams: they are joined with what is kept of the other side, then
// kept themselves. It is used again for each record: what follows from a result must not come back to it. Owned by the task's goroutine.
type JoinSide[K, V, W, O any] struct {
	Side Side
	// Time is the stream time that both sides share, in milliseconds, -1 before the first record.
	Time *int64
	// Own is where its records are kept; the zero Kept has them kept by nobody, which is for the second side of a stream that is joined
	// with itself.
	Own   Kept[K, V]
	Other Kept[K, W]
	// A record at t joins those of the other side in [t-Before, t+After], milliseconds.
	Before, After int64
	Pair          func(v V, w W) O
	// Alone makes the result of a record without a partner; nil where it has none.
	Alone func(v V) O
	// Waiting are the records of both sides that may still get a partner, nil in an inner join.
	Waiting *Waiting[K, O]
	// Bound has values that wait encoded apart from those that are kept, for serdes that differ from topic to topic. May be nil.
	Bound *rowserde.Side[V]
	Out   func(topology.Record[K, O]) error

	now     topology.Record[K, V] // the record that is being joined
	at      int64
	key     []byte // as Waiting has it
	partner bool
	err     error
	// Made once: a loop's body and a method's value would be a new closure for each record.
	visit func(store.WindowEntry, error) bool
	late  func(k K, t int64, o O) error
}

// Record joins r: Joined when that is done, and otherwise what r lacks. A *RecordError is the record's, others are fatal.
func (j *JoinSide[K, V, W, O]) Record(r topology.Record[K, V]) (Dropped, error) {
	t := r.Time.UnixMilli()
	*j.Time = max(*j.Time, t)
	switch {
	case r.NoKey && !r.Tombstone && j.Alone != nil:
		return Joined, j.Out(topology.WithValue(r, j.Alone(r.Value)))
	case r.NoKey:
		return NoKey, nil
	case r.Tombstone:
		return NoValue, nil
	}
	if j.visit == nil {
		j.visit, j.late = j.pair, j.unmatched
	}
	j.now, j.at = r, t
	return j.join(r, t)
}

func (j *JoinSide[K, V, W, O]) join(r topology.Record[K, V], t int64) (Dropped, error) {
	key, value, err := j.encode(r)
	if err != nil {
		return Joined, err
	}
	if j.Waiting != nil && t == *j.Time {
		if err := j.Waiting.flush(t, j.late); err != nil {
			return Joined, err
		}
	}
	if err := j.partners(key, r, t); err != nil {
		return Joined, err
	}
	if !j.partner && j.Alone != nil {
		if err := j.alone(r, t, value); err != nil {
			return Joined, err
		}
	}
	if j.Own.Rows == nil {
		return Joined, nil
	}
	kept, err := j.Own.Rows.Put(key, t, value, t)
	switch {
	case err != nil:
		return Joined, &RecordError{fmt.Errorf("store %q, key %q: put: %w", j.Own.Name, key, err)}
	case !kept:
		return NotKept, nil
	}
	return Joined, nil
}

// encode says whether r can be kept before anything is made of it, and leaves the key as the waiting records have it.
func (j *JoinSide[K, V, W, O]) encode(r topology.Record[K, V]) (key, value []byte, err error) {
	if j.Own.Rows != nil {
		if key, err = j.Own.Key.Encode(r.Key); err != nil {
			return nil, nil, &RecordError{fmt.Errorf("store %q: encode the key: %w", j.Own.Name, err)}
		}
		if value, err = j.Own.Value.Encode(r.Value); err != nil {
			return nil, nil, &RecordError{fmt.Errorf("store %q, key %q: encode the value: %w", j.Own.Name, key, err)}
		}
	}
	if j.Waiting == nil {
		return key, value, nil
	}
	if j.key, err = again(key, j.Own.Key, j.Waiting.Key, r.Key); err != nil {
		return nil, nil, &RecordError{fmt.Errorf("store %q: encode the key: %w", j.Waiting.Name, err)}
	}
	return key, value, nil
}

// again encodes a value that one store has for another, which may have another serde for it.
func again[T any](b []byte, had, want *rowserde.Side[T], v T) ([]byte, error) {
	if had == want {
		return b, nil
	}
	return want.Encode(v)
}

// partners sends on a result for each record of the other side in the window, by time, then as they came.
func (j *JoinSide[K, V, W, O]) partners(key []byte, r topology.Record[K, V], t int64) error {
	j.partner, j.err = false, nil
	from, to := max(t-j.Before, 0), t+j.After
	if from > to {
		return nil
	}
	key, err := again(key, j.Own.Key, j.Other.Key, r.Key)
	if err != nil {
		return &RecordError{fmt.Errorf("store %q: encode the key: %w", j.Other.Name, err)}
	}
	j.Other.Rows.Visit(key, from, to, j.visit)
	return j.err
}

// pair makes one result.
func (j *JoinSide[K, V, W, O]) pair(e store.WindowEntry, err error) bool {
	if err != nil {
		j.err = fmt.Errorf("store %q: fetch: %w", j.Other.Name, err)
		return false
	}
	j.partner = true
	j.err = j.result(e)
	return j.err == nil
}

func (j *JoinSide[K, V, W, O]) result(e store.WindowEntry) error {
	w, err := j.Other.Value.Decode(e.Value)
	if err != nil {
		return fmt.Errorf("store %q, key %q at %d: decode the value: %w", j.Other.Name, e.Key, e.Start, err)
	}
	at := e.Start // e is gone with the next call on its store
	if j.Waiting != nil {
		if err := j.Waiting.matched(1-j.Side, at, j.key, j.at); err != nil {
			return err
		}
	}
	out := topology.WithValue(j.now, j.Pair(j.now.Value, w))
	if at > j.at {
		out.Time = time.UnixMilli(at)
	}
	return j.Out(out)
}

// alone has a record without a partner wait for one, or sends it on when its window has passed already: the grace is not for it, as in
// Kafka Streams.
func (j *JoinSide[K, V, W, O]) alone(r topology.Record[K, V], t int64, value []byte) error {
	if t+j.After < *j.Time {
		return j.Out(topology.WithValue(r, j.Alone(r.Value)))
	}
	if j.Bound != nil {
		var err error
		if value, err = j.Bound.Encode(r.Value); err != nil {
			return &RecordError{fmt.Errorf("store %q: encode the value: %w", j.Waiting.Name, err)}
		}
	}
	return j.Waiting.put(j.Side, t, j.key, value, t)
}

// unmatched sends on the result of a record that has waited in vain: with its key and time, and the headers of the record that moved
// stream time.
func (j *JoinSide[K, V, W, O]) unmatched(k K, t int64, o O) error {
	out := topology.WithValue(j.now, o)
	out.Key, out.Time = k, time.UnixMilli(t)
	return j.Out(out)
}
