package topology

import (
	"time"

	"github.com/millstream-go/millstream/store"
)

type (
	// Header is one header of a record.
	Header = store.Header
	// Headers are the headers of a record, in order; a name may occur more than once. They are
	// never changed in place: With and Without copy, so records may share them.
	Headers = store.Headers
)

// Source is the input record that a record was made from.
type Source struct {
	Topic     string // empty in a punctuation
	Partition int32  // -1 in a punctuation
	Offset    int64  // -1 in a punctuation
}

// Record is a record on its way through a topology. It is a value: steps get a copy and pass on a
// copy.
type Record[K, V any] struct {
	Key   K
	Value V
	// NoKey marks a record without a key (Kafka's null). Key is its zero value then. Only the flag
	// counts: an empty key is a key.
	NoKey bool
	// Tombstone marks a record without a value (Kafka's null), which deletes a row of a table.
	// Value is its zero value then.
	Tombstone bool
	// Time is the record's time, to the millisecond. In a record that is forwarded, the zero Time
	// stands for that of the record being processed.
	Time    time.Time
	Headers Headers

	src Source
}

// Source returns the input record that r was made from. Its Topic is empty in a punctuation.
func (r Record[K, V]) Source() Source { return r.src }

// From returns r as made from the input record s. In a topology the source sets it; tests of
// functions on records use From.
func (r Record[K, V]) From(s Source) Record[K, V] { r.src = s; return r }

// At returns r with another time.
func (r Record[K, V]) At(t time.Time) Record[K, V] { r.Time = t; return r }

// Deleted returns r as a tombstone.
func (r Record[K, V]) Deleted() Record[K, V] {
	var none V
	r.Value, r.Tombstone = none, true
	return r
}

// Keyless returns r without its key.
func (r Record[K, V]) Keyless() Record[K, V] {
	var none K
	r.Key, r.NoKey = none, true
	return r
}

// With returns r with one more header.
func (r Record[K, V]) With(name string, value []byte) Record[K, V] {
	r.Headers = r.Headers.With(name, value)
	return r
}

// WithValue returns r with another value, perhaps of another type. The result is no tombstone.
func WithValue[K, V, V2 any](r Record[K, V], v V2) Record[K, V2] {
	return Record[K, V2]{Key: r.Key, Value: v, NoKey: r.NoKey, Time: r.Time, Headers: r.Headers, src: r.src}
}

// WithKey returns r with another key, perhaps of another type. The result has a key.
func WithKey[K, V, K2 any](r Record[K, V], k K2) Record[K2, V] {
	return Record[K2, V]{Key: k, Value: r.Value, Tombstone: r.Tombstone, Time: r.Time, Headers: r.Headers, src: r.src}
}
