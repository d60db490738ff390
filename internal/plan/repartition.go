package plan

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

type repartitioned struct {
	topic string
	port  port
	user  *Node
}

// Repartition is how the records of a repartition topic are written.
type Repartition[K, V any] struct {
	Name       string // the topic's without "-repartition"
	Partitions int    // 0: as many as its input needs
	Choose     func(r topology.Record[K, V], n int) int
	KeepNoKey  bool // records without a key are written too
}

// Through writes from to a repartition topic and makes what is read back output i of the current call. The serdes are those of the
// node of from.
func Through[K, V any](c *Compile, i int, from Handle[K, V], r Repartition[K, V]) error {
	p, err := through(c, from, r)
	if err == nil {
		c.ports[Out{c.at, i}] = p
	}
	return err
}

// Partitioned returns an output with the records of from, each in its key's partition: from itself, or read back from a repartition
// topic when keys have changed. Steps that share from share the topic, and then its name must not depend on one of them.
func Partitioned[K, V any](c *Compile, from Handle[K, V], name string) (Out, error) {
	n := from.Node()
	if !n.KeyChanged {
		return from.out, nil
	}
	own := Out{c.at, -1 - len(c.shared)} // an output that no handle has
	if s, ok := c.shared[n]; ok && n.Kind == "group" {
		if n.name == "" {
			return Out{}, fmt.Errorf("its grouping is used by %s at %s too, and they share one repartition topic; give the grouping a name with Named", s.user.Op, s.user.pos)
		}
		c.ports[own] = s.port
		return own, nil
	}
	if n.Kind == "group" && n.name != "" {
		name = n.name
	}
	p, err := through(c, from, Repartition[K, V]{Name: name})
	if err != nil {
		return Out{}, err
	}
	c.ports[own] = p
	c.shared[n] = repartitioned{topic: name, port: p, user: c.at}
	return own, nil
}

func through[K, V any](c *Compile, from Handle[K, V], r Repartition[K, V]) (port, error) {
	name := r.Name + "-repartition"
	for _, t := range c.g.Topics {
		if t.Name == name {
			return port{}, fmt.Errorf("repartition topic %q is made at %s already; use another name", name, t.Pos)
		}
	}
	key, err := KeySerde[K](from.Node())
	if err != nil {
		return port{}, err
	}
	value, err := ValueSerde[V](from.Node())
	if err != nil {
		return port{}, err
	}
	c.g.Topics = append(c.g.Topics, &graph.Topic{Name: name, Partitions: r.Partitions, Pos: c.at.pos})
	t := Topic[K, V]{Name: name, Key: key, Value: value, Choose: r.Choose}
	in := from.out
	if !r.KeepNoKey {
		if in, err = dropNoKeys(c, from, r.Name); err != nil {
			return port{}, err
		}
	}
	if err := Sink(c, name+"-sink", in, t, nil); err != nil {
		return port{}, err
	}
	c.g.Nodes[len(c.g.Nodes)-1].Sink.Internal = true
	g := &graph.Node{Op: "source", Kind: graph.Source, Source: &graph.SourceSpec{
		Topics: []string{name}, Internal: true, Open: open([]Topic[K, V]{t}),
	}}
	if err := c.Add(name+"-source", g); err != nil {
		return port{}, err
	}
	p := &graph.Port{Fan: wire.Fan[K, V]}
	g.Ports = []*graph.Port{p}
	return port{g, p}, nil
}

// dropNoKeys emits the filter before a repartition topic: what follows needs a key, and a record without one would be spread
// over the partitions for nothing. Kafka Streams does not count these; we do, under a reason of their own.
func dropNoKeys[K, V any](c *Compile, from Handle[K, V], name string) (Out, error) {
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
	if err := c.Add(name+"-repartition-filter", g, from.out); err != nil {
		return Out{}, err
	}
	p := &graph.Port{Fan: wire.Fan[K, V]}
	g.Ports = []*graph.Port{p}
	own := Out{c.at, -1000 - len(c.g.Nodes)}
	c.ports[own] = port{g, p}
	return own, nil
}
