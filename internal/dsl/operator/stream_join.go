package operator

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/topology"
)

// TooLateToStore reports that a record was joined, but is too old to be stored for later partners.
const TooLateToStore = NoValue + 1

// JoinWindow is the stored records of one side of a stream-stream join: a window store that keeps
// duplicates, where the start of a window is the record's time.
type JoinWindow[K, V any] struct {
	Name  string
	Rows  storage.WindowBytes
	Key   *codec.Codec[K]
	Value *codec.Codec[V]
	Try   retry.Func // decides about records that the store rejects
}

func (k *JoinWindow[K, V]) wrap(what string, key []byte, err error) error {
	return keyError(k.Name, key, what, err)
}

// putAgain handles an error of a put. It is apart from the put so that only a failure allocates the
// closure.
func (k *JoinWindow[K, V]) putAgain(key, value []byte, t int64, err error) (stored bool, _ error) {
	wrap := func(what string, err error) error { return k.wrap(what, key, err) }
	err = onRowError(k.Try, wrap, "put", err, func() (err error) {
		stored, err = k.Rows.Put(key, t, value, t)
		return err
	})
	return stored, err
}

// JoinSide processes the records of one side of a stream-stream join: it joins them with the stored
// records of the other side, then stores them.
//
// It holds the state of the record being joined, so what follows from a result must not come back
// to it. Owned by the task's goroutine.
type JoinSide[K, V, W, O any] struct {
	Side Side
	// Time is the stream time that both sides share, in milliseconds; -1 before the first record.
	Time *int64
	// Window stores this side's records. The zero JoinWindow stores nothing, for the second side of
	// a stream that is joined with itself.
	Window      JoinWindow[K, V]
	OtherWindow JoinWindow[K, W]
	// A record at t joins those of the other side in [t-Before, t+After], in milliseconds.
	Before, After int64
	Pair          func(v V, w W) O
	// Unpaired makes the result of a record without a partner. Nil: such a record has none.
	Unpaired func(v V) O
	// Unmatched are the records of both sides that may still get a partner. Nil in an inner join.
	Unmatched *Unmatched[K, O]
	// UnmatchedValue encodes values for Unmatched, for serdes that differ from topic to topic. Nil:
	// they are encoded as for Window.
	UnmatchedValue *codec.Codec[V]
	Out            func(topology.Record[K, O]) error

	record topology.Record[K, V] // the record being joined
	time   int64
	key    []byte // encoded for Unmatched
	paired bool   // paired reports that the record has found a partner.
	err    error
	// Allocated once: a loop body or a method value would be a new closure for each record.
	visit      func(storage.WindowEntry, error) bool
	emitClosed func(k K, t int64, o O) error
}

// Record joins r. It returns Joined when that is done, and otherwise what r lacks.
func (j *JoinSide[K, V, W, O]) Record(r topology.Record[K, V]) (Outcome, error) {
	t := r.Time.UnixMilli()
	*j.Time = max(*j.Time, t)
	switch {
	case r.NoKey && !r.Tombstone && j.Unpaired != nil:
		return Joined, j.Out(topology.WithValue(r, j.Unpaired(r.Value)))
	case r.NoKey:
		return NoKey, nil
	case r.Tombstone:
		return NoValue, nil
	}
	if j.visit == nil {
		j.visit, j.emitClosed = j.visitPartner, j.emitUnpaired
	}
	j.record, j.time = r, t
	return j.join(r, t)
}

// join encodes the record, emits what has closed, joins the record with its partners, and stores it.
func (j *JoinSide[K, V, W, O]) join(record topology.Record[K, V], recordTime int64) (Outcome, error) {
	// Encoding comes first: a record that cannot be stored must fail before any of its results is
	// emitted.
	key, value, err := j.encode(record)
	if err != nil {
		return Joined, err
	}
	// Only a record that moves stream time, or is at it, can close windows. Late records emit
	// nothing here, as in Kafka Streams.
	if j.Unmatched != nil && recordTime == *j.Time {
		if err := j.Unmatched.emitClosed(recordTime, j.emitClosed); err != nil {
			return Joined, err
		}
	}
	if err := j.joinPartners(key, record, recordTime); err != nil {
		return Joined, err
	}
	if !j.paired && j.Unpaired != nil {
		if err := j.handleUnpaired(record, recordTime, value); err != nil {
			return Joined, err
		}
	}
	// The record is stored after the join, so that it does not find itself where both sides read
	// one store.
	if j.Window.Rows == nil {
		return Joined, nil
	}
	stored, err := j.Window.Rows.Put(key, recordTime, value, recordTime)
	if err != nil {
		stored, err = j.Window.putAgain(key, value, recordTime, err)
	}
	if err == nil && !stored {
		return TooLateToStore, nil
	}
	return Joined, err
}

// encode encodes the record for the stores, before any result is made of it, and sets j.key for
// Unmatched.
func (j *JoinSide[K, V, W, O]) encode(record topology.Record[K, V]) (key, value []byte, err error) {
	if j.Window.Rows != nil {
		if key, err = j.Window.Key.Encode(record.Key); err != nil {
			return nil, nil, err
		}
		if value, err = j.Window.Value.Encode(record.Value); err != nil {
			return nil, nil, err
		}
	}
	if j.Unmatched == nil {
		return key, value, nil
	}
	j.key, err = reencode(key, j.Window.Key, j.Unmatched.Key, record.Key)
	return key, value, err
}

// reencode returns the bytes of v for another store: b itself, unless that store has a serde of its
// own.
func reencode[T any](b []byte, from, to *codec.Codec[T], v T) ([]byte, error) {
	if from == to {
		return b, nil
	}
	return to.Encode(v)
}

// joinPartners emits a result for each record of the other side in the window, by time, and in the
// order of arrival at equal times.
func (j *JoinSide[K, V, W, O]) joinPartners(key []byte, record topology.Record[K, V], t int64) error {
	j.paired, j.err = false, nil
	from, to := max(t-j.Before, 0), t+j.After
	if from > to {
		return nil
	}
	key, err := reencode(key, j.Window.Key, j.OtherWindow.Key, record.Key)
	if err != nil {
		return err
	}
	j.OtherWindow.Rows.Visit(key, from, to, j.visit)
	return j.err
}

// visitPartner emits one result. It returns false to end the scan.
func (j *JoinSide[K, V, W, O]) visitPartner(entry storage.WindowEntry, err error) bool {
	if err != nil {
		j.err = fmt.Errorf("store %q: fetch: %w", j.OtherWindow.Name, err)
		return false
	}
	j.paired = true
	j.err = j.emitPair(entry)
	return j.err == nil
}

// emitPair emits the result of the current record and a partner.
func (j *JoinSide[K, V, W, O]) emitPair(entry storage.WindowEntry) error {
	w, err := j.OtherWindow.Value.Decode(entry.Value)
	if err != nil {
		return fmt.Errorf(
			"store %q, key %s at %d: decode the value: %w", j.OtherWindow.Name, quote.Key(entry.Key), entry.Start, err,
		)
	}
	// entry belongs to the scan and is invalid after the next call on its store.
	at := entry.Start
	if j.Unmatched != nil {
		if err := j.Unmatched.remove(1-j.Side, at, j.key, j.time); err != nil {
			return err
		}
	}
	out := topology.WithValue(j.record, j.Pair(j.record.Value, w))
	if at > j.time {
		out.Time = time.UnixMilli(at)
	}
	return j.Out(out)
}

// handleUnpaired adds a record without a partner to Unmatched. If its window has passed already it
// is emitted at once: as in Kafka Streams, the grace period does not apply to it.
func (j *JoinSide[K, V, W, O]) handleUnpaired(record topology.Record[K, V], t int64, value []byte) error {
	if t+j.After < *j.Time {
		return j.Out(topology.WithValue(record, j.Unpaired(record.Value)))
	}
	if j.UnmatchedValue != nil {
		var err error
		if value, err = j.UnmatchedValue.Encode(record.Value); err != nil {
			return err
		}
	}
	return j.Unmatched.put(j.Side, t, j.key, value, t)
}

// emitUnpaired emits the result of a record that has found no partner: with its key and time, and
// the headers of the record that moved stream time.
func (j *JoinSide[K, V, W, O]) emitUnpaired(k K, t int64, o O) error {
	out := topology.WithValue(j.record, o)
	out.Key, out.Time = k, time.UnixMilli(t)
	return j.Out(out)
}
