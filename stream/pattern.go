package stream

import (
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/serde"
)

// Pattern describes all topics whose whole names match a regular expression, in the syntax of
// package regexp. Topics that are created while the App runs are found within a minute. A Pattern
// is a value; its methods return a changed copy.
type Pattern[K, V any] struct {
	regexp string
	topic  plan.Topic[K, V]
}

// NewPattern returns the pattern of that regular expression.
//
//	legacy := stream.NewPattern("legacy-orders-.*", serde.String, serde.JSON[Order]())
func NewPattern[K, V any](re string, key serde.Serde[K], value serde.Serde[V]) Pattern[K, V] {
	return Pattern[K, V]{re, plan.Topic[K, V]{Key: key, Value: value}}
}

// Topic returns one topic of the pattern, for the test driver.
func (p Pattern[K, V]) Topic(name string) Topic[K, V] {
	p.topic.Name = name
	return newTopic(p.topic)
}

// Timestamp is Topic.Timestamp for all topics of p.
func (p Pattern[K, V]) Timestamp(f func(r Record[K, V], latest time.Time) (at time.Time, ok bool)) Pattern[K, V] {
	p.topic.ExtractTime = f
	return p
}

// OnDecodeError is Topic.OnDecodeError for all topics of p.
func (p Pattern[K, V]) OnDecodeError(f failure.Policy) Pattern[K, V] {
	p.topic.DecodePolicy = f
	return p
}

// StartAt is Topic.StartAt for all topics of p.
func (p Pattern[K, V]) StartAt(o Offset) Pattern[K, V] {
	p.topic.Start = o.at
	return p
}

// FromPattern reads all topics that p describes, as From reads topics by name. A topic that is read
// by name must not match.
//
//	orders := stream.FromPattern(b, legacy)
func FromPattern[K, V any](b *Builder, p Pattern[K, V]) KStream[K, V] {
	return from((*plan.Program)(b).Builder(), "stream.FromPattern", []plan.Topic[K, V]{p.topic}, &p.regexp)
}
