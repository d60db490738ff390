package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/timerange"
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

// WithValue returns r with another value, perhaps of another type. The result is no tombstone.
func WithValue[K, V, V2 any](r Record[K, V], v V2) Record[K, V2] { return topology.WithValue(r, v) }

// WithKey returns r with another key, perhaps of another type. The result has a key.
func WithKey[K, V, K2 any](r Record[K, V], k K2) Record[K2, V] { return topology.WithKey(r, k) }

// HasValue reports whether a record is no tombstone, for FilterRecords.
func HasValue[K, V any](r Record[K, V]) bool { return !r.Tombstone }

// HasKey reports whether a record has a key, for FilterRecords.
func HasKey[K, V any](r Record[K, V]) bool { return !r.NoKey }

// tombstone returns r as a tombstone for values of another type.
func tombstone[V2, K, V any](r Record[K, V]) Record[K, V2] {
	var none V2
	o := topology.WithValue(r, none)
	o.Tombstone = true
	return o
}

// derive completes a record that a user's function made from another one: a zero time and a missing
// source are filled in from the other, and a key or value that a flag declares absent becomes zero.
// It returns an error if the record has a time that records cannot have.
func derive[K, V, K2, V2 any](from Record[K, V], r Record[K2, V2]) (Record[K2, V2], error) {
	r = wire.Complete(r, from.Time, from.Source())
	return r, timerange.Check(r.Time)
}

// deriveAll is derive for several.
func deriveAll[K, V, K2, V2 any](from Record[K, V], made []Record[K2, V2]) (err error) {
	for i := range made {
		if made[i], err = derive(from, made[i]); err != nil {
			return err
		}
	}
	return nil
}
