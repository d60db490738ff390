package stream

import (
	"time"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// ProcessValues is Process for processors that do not change keys: they forward values, which get
// the key of the record being processed. It never causes a repartition topic.
//
//	twice := stream.ProcessValues(in, "twice",
//		func(c *stream.ValueContext[string]) (func(stream.Record[string, string]) error, error) {
//			return func(r stream.Record[string, string]) error {
//				c.Forward(r.Value)
//				c.ForwardAt("again", r.Time.Add(time.Second))
//				return nil
//			}, nil
//		})
func ProcessValues[K, V, V2 any](
	s KStream[K, V], name string, start func(*ValueContext[V2]) (func(Record[K, V]) error, error),
	uses ...store.Dependency,
) KStream[K, V2] {
	node := processNode[K, V2](s, "stream.ProcessValues", name, start, uses,
		func(site wire.Site, out wire.Outlet[K, V2]) processorInit[K, V] {
			forwarder := &valueForwarder[K, V, V2]{out: out, site: site}
			context := &ValueContext[V2]{}
			task := initTask(&context.Task, site)
			task.SetForward(func(v V2, tombstone bool, at time.Time) {
				// A zero time is that of the record being processed, which needs no check.
				if task.MayForward() && (at.IsZero() || task.CheckTime(at)) {
					task.Forwarded(forwarder.forward(v, tombstone, at))
				}
			})
			return processorInit[K, V]{task, func() (func(Record[K, V]) error, error) {
				f, err := start(context)
				if f == nil {
					return nil, err
				}
				return forwarder.withRecord(f), err
			}}
		})
	return result[K, V2](node)
}

// valueForwarder adds the key of the current record to the values that a processor forwards.
type valueForwarder[K, V, V2 any] struct {
	site     wire.Site
	out      wire.Outlet[K, V2]
	record   Record[K, V]
	inRecord bool // a record is being processed; false in a punctuation
}

// withRecord returns f with its record set as the current one during the call.
func (vf *valueForwarder[K, V, V2]) withRecord(f func(Record[K, V]) error) func(Record[K, V]) error {
	return func(r Record[K, V]) error {
		vf.record, vf.inRecord = r, true
		err := f(r)
		vf.inRecord = false
		return err
	}
}

func (vf *valueForwarder[K, V, V2]) forward(v V2, tombstone bool, at time.Time) error {
	// A punctuation has no record, and so no key that the value could get.
	if !vf.inRecord {
		vf.site.Drop(graph.NoPunctuateKey)
		return nil
	}
	record := topology.WithValue(vf.record, v)
	record.Tombstone = tombstone
	if !at.IsZero() {
		record.Time = at
	}
	return vf.out(wire.Complete(record, vf.record.Time, vf.record.Source()))
}
