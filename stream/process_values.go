package stream

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// ProcessValues is Process for processors that keep the key: they forward values, with the key of the record being processed. Nothing
// that follows needs a repartition topic because of it.
//
//	twice := stream.ProcessValues(in, "twice", func(c *stream.ValueContext[string]) (func(stream.Record[string, string]) error, error) {
//		return func(r stream.Record[string, string]) error {
//			c.Forward(r.Value)
//			c.ForwardAt("again", r.Time.Add(time.Second))
//			return nil
//		}, nil
//	})
func ProcessValues[K, V, V2 any](s KStream[K, V], name string, start func(*ValueContext[V2]) (func(Record[K, V]) error, error), uses ...store.Dep) KStream[K, V2] {
	n := process[K, V2](s, "stream.ProcessValues", name, start, uses, func(at site, out wire.Outlet[K, V2]) starting[K, V] {
		now := &processed[K, V, V2]{out: out, at: at}
		c, p := topology.NewValueContext(at.env, at.node, now.forward)
		return starting[K, V]{p, func() (func(Record[K, V]) error, error) {
			f, err := start(c)
			if f == nil {
				return nil, err
			}
			return now.during(f), err
		}}
	})
	return result[K, V2](n)
}

// processed holds the record whose key forwarded values get.
type processed[K, V, V2 any] struct {
	at  site
	out wire.Outlet[K, V2]
	of  Record[K, V]
	on  bool // a record is being processed; false in a punctuation
}

// during returns f with its record at hand.
func (x *processed[K, V, V2]) during(f func(Record[K, V]) error) func(Record[K, V]) error {
	return func(r Record[K, V]) error {
		x.of, x.on = r, true
		err := f(r)
		x.on = false
		return err
	}
}

func (x *processed[K, V, V2]) forward(v V2, gone bool, at time.Time) error {
	if !x.on {
		x.at.drop(graph.NoPunctuateKey)
		return nil
	}
	r := topology.WithValue(x.of, v)
	r.Tombstone = gone
	if !at.IsZero() {
		r.Time = at
	}
	return x.out(derive(x.of, r))
}
