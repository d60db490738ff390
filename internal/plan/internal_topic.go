package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/serde"
)

// InternalTopic is a topic by which one step of the library's tells another one something. What is written and what is read back may
// be other types of the same bytes.
type InternalTopic[K, V, K2, V2 any] struct {
	Name         string // without the application's prefix
	Sink, Source string // the names of their steps
	Write        Topic[K, V]
	Read         Topic[K2, V2]
}

// Cross makes an internal topic for the current call, written with what comes from outs, and returns what is read back.
func Cross[K, V, K2, V2 any](c *Compile, t InternalTopic[K, V, K2, V2], outs ...Out) (Out, error) {
	if err := CheckName(t.Name); err != nil {
		return Out{}, err
	}
	if i := slices.IndexFunc(c.g.Topics, func(x *graph.Topic) bool { return x.Name == t.Name }); i >= 0 {
		return Out{}, fmt.Errorf("internal topic %q is made at %s already; use another name", t.Name, c.g.Topics[i].Pos)
	}
	t.Write.Name, t.Read.Name = t.Name, t.Name
	sink := newSink(t.Write, nil)
	sink.Sink.Internal = true
	if err := c.Add(t.Sink, sink, outs...); err != nil {
		return Out{}, err
	}
	source := &graph.Node{Op: "source", Kind: graph.Source, Source: &graph.SourceSpec{
		Topics: []string{t.Name}, Internal: true, Open: open([]Topic[K2, V2]{t.Read}),
	}}
	if err := c.Add(t.Source, source); err != nil {
		return Out{}, err
	}
	c.g.Topics = append(c.g.Topics, &graph.Topic{Name: t.Name, Pos: c.at.pos})
	return c.inner(addPort[K2, V2](source, "")), nil
}

// Regrouped returns the changes that a table sends to the groups of its rows, read back from the grouping's repartition topic. Steps
// that share a grouping share the topic, and then its name must not depend on one of them.
func Regrouped[K, V any](c *Compile, from Handle[K, V], name string) (Out, error) {
	n := from.Node()
	if s, ok := c.shared[n]; ok {
		if n.name == "" {
			return Out{}, fmt.Errorf("its grouping is used by %s at %s too, and they share one repartition topic; give the grouping a name with Named", s.user.Op, s.user.pos)
		}
		return s.out, nil
	}
	if n.name != "" {
		name = n.name
	}
	key, err := KeySerde[K](n)
	value, err2 := ValueSerde[V](n)
	if err := errors.Join(err, err2); err != nil {
		return Out{}, err
	}
	t := Topic[K, interchange.Change[V]]{Key: key, Value: interchange.ChangeSerde(value)}
	name += "-repartition"
	out, err := Cross(c, InternalTopic[K, interchange.Change[V], K, interchange.Change[V]]{
		Name: name, Sink: name + "-sink", Source: name + "-source", Write: t, Read: t,
	}, from.out)
	if err != nil {
		return Out{}, err
	}
	c.shared[n] = repartitioned{out: out, user: c.at}
	return out, nil
}

// TableGroups is the handle of the groups of a table's rows.
type TableGroups[K, V any] struct{ groups Handle[K, V] }

// NewTableGroups makes the handle of the groups of a table's rows.
func NewTableGroups[K, V any](h Handle[K, V]) TableGroups[K, V] { return TableGroups[K, V]{h} }

// Handle returns what the handle holds.
func (g TableGroups[K, V]) Handle() Handle[K, V] { return g.groups }

// Equal says whether two keys are one: whether their bytes are.
func Equal[K any](key serde.Serde[K]) func(a, b K) (bool, error) {

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
