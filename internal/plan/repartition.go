package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Grouping is the kind of the nodes of stream.GroupBy and GroupByKey, whose users share one repartition topic.
const Grouping = "group"

// Merging is the kind of the nodes of stream.Merge.
const Merging = "merge"

// repartitioned is what a node's records were read back from.
type repartitioned struct {
	out  Out
	user *Node
}

// Repartition is how the records of a repartition topic are written.
type Repartition[K, V any] struct {
	Name       string // the topic's without "-repartition"
	Partitions int    // 0: as many as its input needs
	Choose     func(r topology.Record[K, V], n int) int
	KeepNoKey  bool // records without a key are written too
}

// Through writes from to a repartition topic and makes what is read back output i of the current call, whose serdes it is written
// with.
func Through[K, V any](c *Compile, i int, from Out, r Repartition[K, V]) error {
	x, err := through(c, from, c.at, r)
	if err == nil {
		c.ports[Out{c.at, i}] = x.after
	}
	return err
}

// Partitioned returns an output with the records of from, each in its key's partition: from itself, or read back from a repartition
// topic when keys have changed. Steps that share a grouping share the topic, and then its name must not depend on one of them.
func Partitioned[K, V any](c *Compile, from Handle[K, V], name string) (Out, error) {
	return PartitionedBy(c, from, Repartition[K, V]{Name: name})
}

// PartitionedBy is Partitioned for steps that say more of the topic than its name.
func PartitionedBy[K, V any](c *Compile, from Handle[K, V], r Repartition[K, V]) (Out, error) {
	n := from.Node()
	if !n.KeyChanged {
		// A key is in one partition of each topic it is read from; it is in one task only if they have as many partitions.
		c.Together(from.out)
		return from.out, nil
	}
	grouping := n.Kind == Grouping
	if s, ok := c.shared[n]; ok && grouping {
		if n.name == "" {
			return Out{}, fmt.Errorf("its grouping is used by %s at %s too, and they share one repartition topic; give the grouping a name with Named", s.user.Op, s.user.pos)
		}
		return s.out, nil
	}
	if grouping && n.name != "" {
		r.Name = n.name
	}
	x, err := through(c, from.out, n, r)
	if err != nil {
		return Out{}, err
	}
	c.crossings = append(c.crossings, x)
	out := c.inner(x.after)
	c.shared[n] = repartitioned{out: out, user: c.at}
	return out, nil
}

// through makes the repartition topic: a sink and a source. of is the node whose serdes it is written with.
func through[K, V any](c *Compile, from Out, of *Node, r Repartition[K, V]) (*crossing, error) {
	name := r.Name + "-repartition"
	if i := slices.IndexFunc(c.g.Topics, func(t *graph.Topic) bool { return t.Name == name }); i >= 0 {
		return nil, fmt.Errorf("repartition topic %q is made at %s already; use another name", name, c.g.Topics[i].Pos)
	}
	key, err := KeySerde[K](of)
	value, err2 := ValueSerde[V](of)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	x := &crossing{from: from, before: c.ports[from], topic: &graph.Topic{Name: name, Partitions: r.Partitions, Pos: c.at.pos}}
	if !r.KeepNoKey {
		if from, err = dropNoKeys[K, V](c, from, r.Name); err != nil {
			return nil, err
		}
		x.filter = c.ports[from].owner
	}
	t := Topic[K, V]{Name: name, Key: key, Value: value, Choose: r.Choose}
	x.sink = newSink(t, nil)
	x.sink.Sink.Internal = true
	if err := c.Add(name+"-sink", x.sink, from); err != nil {
		return nil, err
	}
	source := &graph.Node{Op: "source", Kind: graph.Source, Source: &graph.SourceSpec{
		Topics: []string{name}, Internal: true, Open: open([]Topic[K, V]{t}),
	}}
	if err := c.Add(name+"-source", source); err != nil {
		return nil, err
	}
	c.g.Topics = append(c.g.Topics, x.topic)
	x.after = addPort[K, V](source, "")
	return x, nil
}

// dropNoKeys emits the filter before a repartition topic: what follows needs a key, and a record without one would be spread
// over the partitions for nothing. Kafka Streams does not count these; we do, under a reason of their own.
func dropNoKeys[K, V any](c *Compile, from Out, name string) (Out, error) {
	g := &graph.Node{Op: "repartition-filter", Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		out := outs[0].(wire.Outlet[K, V])
		return wire.Outlet[K, V](func(r topology.Record[K, V]) error {
			if r.NoKey {
				env.Drop(n, graph.NoRepartition)
				return nil
			}
			return out(r)
		}), nil
	}}
	if err := c.Add(name+"-repartition-filter", g, from); err != nil {
		return Out{}, err
	}
	return c.inner(addPort[K, V](g, "")), nil
}
