package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
)

// InternalTopic is a topic between two steps of the library. The types that are read may differ
// from those that are written: the bytes are the same.
type InternalTopic[K, V, K2, V2 any] struct {
	Name         string // without the application's prefix
	Sink, Source string // the names of their steps
	Write        Topic[K, V]
	Read         Topic[K2, V2]
}

// ThroughInternalTopic makes an internal topic for the current call, written with the records of
// outs, and returns what is read back.
func ThroughInternalTopic[K, V, K2, V2 any](
	compiler *Compiler, internal InternalTopic[K, V, K2, V2], outs ...Out,
) (Out, error) {
	if err := CheckName(internal.Name); err != nil {
		return Out{}, err
	}
	if other := compiler.topicNamed(internal.Name); other != nil {
		return Out{}, fmt.Errorf("internal topic %q is already made at %s; use another name", internal.Name, other.Pos)
	}
	internal.Write.Name, internal.Read.Name = internal.Name, internal.Name
	internal.Write.inherited = newInherited(internal.Write, 0)
	_, output, err := addInternalTopic(
		compiler, &graph.Topic{Name: internal.Name, Pos: compiler.current.pos}, internal, outs...,
	)
	if err != nil {
		return Out{}, err
	}
	return compiler.innerOutput(output), nil
}

// addInternalTopic adds the sink and the source of an internal topic, and returns the sink and what
// is read back. internal.Write says what its partitions are chosen by.
func addInternalTopic[K, V, K2, V2 any](
	compiler *Compiler, topic *graph.Topic, internal InternalTopic[K, V, K2, V2], outs ...Out,
) (sink *graph.Node, output outputPort, err error) {
	sink = newSink(internal.Write, nil)
	sink.Sink.Internal = true
	if err := compiler.AddNode(internal.Sink, sink, outs...); err != nil {
		return nil, outputPort{}, err
	}
	// The source is no child of the sink: the topic ends the sub-topology, and another one begins
	// behind it.
	source := &graph.Node{Op: "source", Kind: graph.Source, Source: &graph.SourceSpec{
		Topics: []string{topic.Name}, Internal: true, Open: openQueue([]Topic[K2, V2]{internal.Read}),
	}}
	if err := compiler.AddNode(internal.Source, source); err != nil {
		return nil, outputPort{}, err
	}
	compiler.registerInternal(source, internal.Write.inherited)
	compiler.graph.Topics = append(compiler.graph.Topics, topic)
	return sink, addPort[K2, V2](source, ""), nil
}

// topicNamed returns the internal topic of that name, nil when there is none.
func (c *Compiler) topicNamed(name string) *graph.Topic {
	if i := slices.IndexFunc(c.graph.Topics, func(t *graph.Topic) bool { return t.Name == name }); i >= 0 {
		return c.graph.Topics[i]
	}
	return nil
}

// Regrouped returns the changes that a table sends to the groups of its rows, read back from the
// grouping's repartition topic. Steps that share a grouping share its topic, whose name then must
// not depend on one of them.
func Regrouped[K, V any](compiler *Compiler, from Handle[K, V], name string) (Out, error) {
	n := from.Node()
	if s, ok := compiler.sharedTopics[n]; ok {
		return s.share(n)
	}
	// A named grouping names the topic itself, whichever aggregation comes first.
	if n.name != "" {
		name = n.name
	}
	key, err := KeySerde[K](n)
	value, err2 := ValueSerde[V](n)
	if err := errors.Join(err, err2); err != nil {
		return Out{}, err
	}
	t := Topic[K, kswire.Change[V]]{Key: key, Value: kswire.ChangeSerde(value)}
	name += "-repartition"
	out, err := ThroughInternalTopic(compiler, InternalTopic[K, kswire.Change[V], K, kswire.Change[V]]{
		Name: name, Sink: name + "-sink", Source: name + "-source", Write: t, Read: t,
	}, from.out)
	if err != nil {
		return Out{}, err
	}
	compiler.sharedTopics[n] = repartitioned{out: out, user: compiler.current}
	return out, nil
}

// EqualKeys returns a function that reports whether two keys are equal, that is, whether their
// bytes are.
func EqualKeys[K any](key serde.Serde[K]) func(a, b K) (bool, error) {

	var buf []byte
	return func(a, b K) (bool, error) {
		var err error
		if buf, err = key.Append(buf[:0], a); err != nil {
			return false, fmt.Errorf("encode a key: %w", err)
		}
		n := len(buf)
		if buf, err = key.Append(buf, b); err != nil {
			return false, fmt.Errorf("encode a key: %w", err)
		}
		return string(buf[:n]) == string(buf[n:]), nil
	}
}
