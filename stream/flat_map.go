package stream

import (
	"iter"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// FlatMap makes each record into any number of records with f, which share its time and headers. A tombstone has no value to make keys
// from: it is dropped and counted; use FlatMapRecords to keep it. What follows and needs records in their key's partition goes through a
// repartition topic.
//
//	items := stream.FlatMap(orders, func(id string, o Order) iter.Seq2[string, int] { return maps.All(o.Items) })
func FlatMap[K, V, K2, V2 any](s KStream[K, V], f func(K, V) iter.Seq2[K2, V2]) KStream[K2, V2] {
	return result[K2, V2](rekeyed(step(s, "stream.FlatMap", "flat-map", f, func(at site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
		x := &spread[K, V, K2, V2]{at: at, out: out}
		yield := func(k K2, v V2) bool { return x.send(topology.WithKey(topology.WithValue(x.of, v), k)) }
		return func(r Record[K, V]) error {
			at.enter()
			if r.Tombstone {
				at.drop(graph.NoNewKey)
				return nil
			}
			if seq := f(r.Key, r.Value); seq != nil {
				x.begin(r)
				seq(yield)
			}
			return x.err
		}
	})))
}

// spread sends what a sequence yields on. It and the function that yields live as long as the task: calling the sequence with that
// function, in place of a range loop with a new one for each record, keeps the way of a record free of allocation. No record
// meets a step twice at a time, since a topology has no cycles.
type spread[K, V, K2, V2 any] struct {
	at  site
	of  Record[K, V]
	out wire.Outlet[K2, V2]
	err error // fatal: nothing is sent any more
}

func (x *spread[K, V, K2, V2]) begin(r Record[K, V]) { x.of = r }

func (x *spread[K, V, K2, V2]) send(r Record[K2, V2]) bool {
	if x.err == nil {
		x.err = x.out(r)
		x.at.enter() // the sequence goes on
	}
	return x.err == nil
}
