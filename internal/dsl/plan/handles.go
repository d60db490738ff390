package plan

// Handle is a typed output of a node. The types of the DSL have one.
type Handle[K, V any] struct{ out Out }

// The handles of the DSL. The types of packages stream and table are these under other names, and
// the packages of the DSL convert them: so users see no function that leads to a node.
//
// Their fields have different names, so that handles of one kind cannot be converted into another
// kind outside this module: with equal fields, table.KTable[string, int64](grouped) would compile.
type (
	Stream[K, V any]  struct{ stream Handle[K, V] }
	Grouped[K, V any] struct{ grouped Handle[K, V] }
	KTable[K, V any]  struct{ table Handle[K, V] }
	Global[K, V any]  struct{ global Handle[K, V] }
	Step              struct{ step *Node }
)

// NewStream makes the handle of a stream.
func NewStream[K, V any](h Handle[K, V]) Stream[K, V] { return Stream[K, V]{h} }

// NewGrouped makes the handle of a grouped stream.
func NewGrouped[K, V any](h Handle[K, V]) Grouped[K, V] { return Grouped[K, V]{h} }

// NewKTable makes the handle of a table.
func NewKTable[K, V any](h Handle[K, V]) KTable[K, V] { return KTable[K, V]{h} }

// NewGlobal makes the handle of a global table.
func NewGlobal[K, V any](h Handle[K, V]) Global[K, V] { return Global[K, V]{h} }

// NewStep makes the handle of a step that ends a stream.
func NewStep(n *Node) Step { return Step{n} }

// Handle returns the untyped part of the handle.
func (s Stream[K, V]) Handle() Handle[K, V] { return s.stream }

// Handle returns the untyped part of the handle.
func (g Grouped[K, V]) Handle() Handle[K, V] { return g.grouped }

// Handle returns the untyped part of the handle.
func (t KTable[K, V]) Handle() Handle[K, V] { return t.table }

// Handle returns the untyped part of the handle.
func (g Global[K, V]) Handle() Handle[K, V] { return g.global }

// Node returns the step.
func (s Step) Node() *Node { return s.step }

// Node returns the handle's node, nil for a zero handle.
func (h Handle[K, V]) Node() *Node { return h.out.Node }

// Out returns the handle's output.
func (h Handle[K, V]) Out() Out { return h.out }

// Port returns a handle of another output of the same node, with the types of that output.
func Port[K, V any](n *Node, port int) Handle[K, V] { return Handle[K, V]{Out{n, port}} }

// TableGroups is the handle of the groups of a table's rows.
type TableGroups[K, V any] struct{ groups Handle[K, V] }

// NewTableGroups makes the handle of the groups of a table's rows.
func NewTableGroups[K, V any](h Handle[K, V]) TableGroups[K, V] { return TableGroups[K, V]{h} }

// Handle returns the handle of the groups.
func (g TableGroups[K, V]) Handle() Handle[K, V] { return g.groups }

// Program is the builder in the hands of users: stream.Builder is a Program under another name.
type Program struct{ builder Builder }

// Builder returns what p collects; nil for a nil Program.
func (p *Program) Builder() *Builder {
	if p == nil {
		return nil
	}
	return &p.builder
}

// TopicHandle is a topic in the hands of users: stream.Topic is a TopicHandle under another name.
type TopicHandle[K, V any] struct{ topic Topic[K, V] }

// NewTopicHandle returns the handle of a topic.
func NewTopicHandle[K, V any](t Topic[K, V]) TopicHandle[K, V] { return TopicHandle[K, V]{t} }

// Topic returns the topic.
func (h TopicHandle[K, V]) Topic() Topic[K, V] { return h.topic }
