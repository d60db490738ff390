package stream

import (
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/serde"
)

// Pattern describes all topics whose whole names match a regular expression, in the syntax of package regexp: those that exist, and those
// that come into being while the App runs, which finds them within a minute. It is a value; its methods return a changed copy.
type Pattern[K, V any] struct {
	re string
	t  plan.Topic[K, V]
}

// NewPattern returns the pattern of that regular expression.
//
//	legacy := stream.NewPattern("legacy-orders-.*", serde.String, serde.JSON[Order]())
func NewPattern[K, V any](re string, key serde.Serde[K], value serde.Serde[V]) Pattern[K, V] {
	return Pattern[K, V]{re, plan.Topic[K, V]{Key: key, Value: value}}
}

// Topic returns one topic of the pattern, for the test driver.
func (p Pattern[K, V]) Topic(name string) Topic[K, V] {
	p.t.Name = name
	return Topic[K, V]{p.t}
}

// Timestamp is Topic.Timestamp for all topics of p.
func (p Pattern[K, V]) Timestamp(f func(r Record[K, V], latest time.Time) (at time.Time, ok bool)) Pattern[K, V] {
	p.t.Extract = f
	return p
}

// OnDecodeError is Topic.OnDecodeError for all topics of p.
func (p Pattern[K, V]) OnDecodeError(f failure.Policy) Pattern[K, V] {
	p.t.Decode = f
	return p
}

// StartAt is Topic.StartAt for all topics of p.
func (p Pattern[K, V]) StartAt(o Offset) Pattern[K, V] {
	p.t.Start = o.at
	return p
}

// FromPattern reads all topics that p describes, as From reads topics by name. A topic that is read by name must not match.
//
//	orders := stream.FromPattern(b, legacy)
func FromPattern[K, V any](b *Builder, p Pattern[K, V]) KStream[K, V] {
	return from(b.Plan(), "stream.FromPattern", []plan.Topic[K, V]{p.t}, &p.re)
}
