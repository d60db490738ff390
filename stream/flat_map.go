package stream

import (
	"iter"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// FlatMap replaces each record by any number of records, which have its time and headers. A
// tombstone has no value to make keys from: it is dropped and counted. FlatMapRecords can preserve
// it. Steps that follow and need records in the partition of their key use a repartition topic.
//
//	items := stream.FlatMap(orders, func(id string, o Order) iter.Seq2[string, int] { return maps.All(o.Items) })
func FlatMap[K, V, K2, V2 any](s KStream[K, V], f func(K, V) iter.Seq2[K2, V2]) KStream[K2, V2] {
	return result[K2, V2](changesKey(unary(s, "stream.FlatMap", "flat-map", f,
		func(site wire.Site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
			emitter := &flatMapEmitter[K, V, K2, V2]{site: site, out: out}
			yield := func(k K2, v V2) bool { return emitter.emit(topology.WithKey(topology.WithValue(emitter.record, v), k)) }
			return func(r Record[K, V]) error {
				site.Enter()
				if r.Tombstone {
					site.Drop(graph.NoNewKey)
					return nil
				}
				if seq := f(r.Key, r.Value); seq != nil {
					emitter.begin(r)
					seq(yield)
				}
				return emitter.err
			}
		})))
}

// flatMapEmitter passes on what a user's sequence yields. It and the yield function live as long as
// the task. A range loop over the sequence would allocate a new yield function for each record;
// this way processing a record allocates nothing. One emitter is enough, because a topology has no
// cycles: no step processes two records at a time.
type flatMapEmitter[K, V, K2, V2 any] struct {
	site   wire.Site
	record Record[K, V]
	out    wire.Outlet[K2, V2]
	err    error // fatal: nothing is sent any more
}

func (e *flatMapEmitter[K, V, K2, V2]) begin(r Record[K, V]) { e.record = r }

func (e *flatMapEmitter[K, V, K2, V2]) emit(r Record[K2, V2]) bool {
	if e.err == nil {
		e.err = e.out(r)
		e.site.Resume() // the sequence goes on
	}
	return e.err == nil
}
