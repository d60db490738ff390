package plan

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// Grouping is the kind of the nodes of stream.GroupBy and GroupByKey. Steps that share a grouping
// share its repartition topic.
const Grouping = "group"

// Merging is the kind of the nodes of stream.Merge.
const Merging = "merge"

// repartitioned is where a node's records were read back, and by which step first.
type repartitioned struct {
	out  Out
	user *Node
}

// share returns where the records of a grouping were read back, for a further step that uses the
// grouping.
func (r repartitioned) share(grouping *Node) (Out, error) {
	// The first user of an unnamed grouping gave the topic its name. If a second one shared it,
	// removing the first from the program would rename the topic, and records in the old one would
	// be lost.
	if grouping.name == "" {
		return Out{}, fmt.Errorf("its grouping is used by %s at %s too, and they share one repartition topic; give "+
			"the grouping a name with Named", r.user.Op, r.user.pos)
	}
	return r.out, nil
}

// Repartition describes how a repartition topic is written.
type Repartition[K, V any] struct {
	Name            string // of the topic, without "-repartition"
	Partitions      int    // 0: as many as its input needs
	ChoosePartition func(r topology.Record[K, V], n int) int
	IncludeNoKey    bool // records without a key are written, too
}

// Through writes from to a repartition topic and makes the records read back output i of the
// current call. The topic has the call's serdes. Records without a key are written if a left or
// outer join downstream has results for them, as in Kafka Streams.
func Through[K, V any](c *Compiler, i int, from Out, r Repartition[K, V]) error {
	r.IncludeNoKey = c.wantsNoKey[c.current]
	edge, err := addRepartition(c, from, c.current, r)
	if err == nil {
		c.ports[Out{c.current, i}] = edge.output
	}
	return err
}

// Partitioned returns an output with the records of from, each in its key's partition: from itself,
// or a repartition topic when keys have changed. Steps that share a grouping share its topic, whose
// name then must not depend on one of them.
func Partitioned[K, V any](c *Compiler, from Handle[K, V], name string) (Out, error) {
	return PartitionedBy(c, from, Repartition[K, V]{Name: name})
}

// PartitionedBy is Partitioned for steps that choose more of the topic than its name.
func PartitionedBy[K, V any](compiler *Compiler, from Handle[K, V], repartition Repartition[K, V]) (Out, error) {
	n := from.Node()
	// Each topic has a key in one partition. A stream of several topics has it in one task only if
	// they have equally many partitions.
	if !n.KeyChanged {
		compiler.CoPartition(from.out)
		return from.out, nil
	}
	grouping := n.Kind == Grouping
	if s, ok := compiler.sharedTopics[n]; ok && grouping {
		return s.share(n)
	}
	if grouping && n.name != "" {
		repartition.Name = n.name
	}
	edge, err := addRepartition(compiler, from.out, n, repartition)
	if err != nil {
		return Out{}, err
	}
	compiler.repartitions = append(compiler.repartitions, edge)
	out := compiler.innerOutput(edge.output)
	compiler.sharedTopics[n] = repartitioned{out: out, user: compiler.current}
	return out, nil
}

// addRepartition adds the sink and the source of a repartition topic. of is the node whose serdes
// it is written with.
func addRepartition[K, V any](
	compiler *Compiler, from Out, of *Node, repartition Repartition[K, V],
) (*repartitionEdge, error) {
	name := repartition.Name + "-repartition"
	if other := compiler.topicNamed(name); other != nil {
		return nil, fmt.Errorf("repartition topic %q is already made at %s; use another name", name, other.Pos)
	}
	key, err := KeySerde[K](of)
	value, err2 := ValueSerde[V](of)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	edge := &repartitionEdge{
		from: from, input: compiler.ports[from], topic: &graph.Topic{
			Name: name, Partitions: repartition.Partitions, Pos: compiler.current.pos,
		},
	}
	// The filter has a node of its own: merging (mergeRepartitions) may have to move it behind the
	// topic.
	if !repartition.IncludeNoKey {
		if from, err = dropNoKeys[K, V](compiler, from, repartition.Name); err != nil {
			return nil, err
		}
		edge.filter = compiler.ports[from].node
	}
	t := Topic[K, V]{
		Name: name, Key: key, Value: value,
		ChoosePartition: repartition.ChoosePartition, Partitioning: NewPartitioning(repartition.ChoosePartition),
	}
	t.inherited = newInherited(t, repartition.Partitions)
	edge.inherited = t.inherited
	edge.sink, edge.output, err = addInternalTopic(compiler, edge.topic, InternalTopic[K, V, K, V]{
		Sink: name + "-sink", Source: name + "-source", Write: t, Read: t,
	}, from)
	return edge, err
}

// dropNoKeys adds the filter before a repartition topic. The steps downstream need a key, and a
// record without one would be spread over the partitions for nothing. Kafka Streams does not count
// such records; this library does, under a reason of their own.
func dropNoKeys[K, V any](compiler *Compiler, from Out, name string) (Out, error) {
	g := &graph.Node{Op: "repartition-filter", Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
		site, out := wire.NewSite(node, env), outs[0].(wire.Outlet[K, V])
		return wire.Outlet[K, V](func(record topology.Record[K, V]) error {
			site.Enter()
			if record.NoKey {
				env.Drop(node, graph.NoRepartition)
				return nil
			}
			return out(record)
		}), nil
	}}
	if err := compiler.AddNode(name+"-repartition-filter", g, from); err != nil {
		return Out{}, err
	}
	return compiler.innerOutput(addPort[K, V](g, "")), nil
}
