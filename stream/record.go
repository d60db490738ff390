package stream

import (
	"github.com/millstream-go/millstream/topology"
)

type (
	// Record is a record on its way through the program.
	Record[K, V any] = topology.Record[K, V]
	// Header is one header of a record.
	Header = topology.Header
	// Headers are the headers of a record.
	Headers = topology.Headers
)

// WithValue returns r with another value, perhaps of another type. It is no tombstone then.
func WithValue[K, V, V2 any](r Record[K, V], v V2) Record[K, V2] { return topology.WithValue(r, v) }

// WithKey returns r with another key, perhaps of another type. It has a key then.
func WithKey[K, V, K2 any](r Record[K, V], k K2) Record[K2, V] { return topology.WithKey(r, k) }

// HasValue is true of records that are no tombstones, for FilterRecords.
func HasValue[K, V any](r Record[K, V]) bool { return !r.Tombstone }

// HasKey is true of records that have a key, for FilterRecords.
func HasKey[K, V any](r Record[K, V]) bool { return !r.NoKey }

// tombstone returns r as a tombstone for values of another type.
func tombstone[V2, K, V any](r Record[K, V]) Record[K, V2] {
	var none V2
	o := topology.WithValue(r, none)
	o.Tombstone = true
	return o
}

// derive completes a record that a user's function made from another one: what it left out is that of the other, and what a flag says
// is absent is zero.
func derive[K, V, K2, V2 any](from Record[K, V], r Record[K2, V2]) Record[K2, V2] {
	return topology.Complete(r, from.Time, from.Source())
}
