// Package graph is a topology without types: nodes, stores and topics, and for each node the function that wires it for a task.
// internal/plan makes it from the calls of the DSL; package topology shows it to users; tasks, the runtime and the test driver
// use only this. What is typed stays behind values of type any: outlets of package wire, asserted once, when a task is wired.
package graph

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// Graph is what Build made. Read-only.
type Graph struct {
	Nodes    []*Node // parents before children, in the order of the calls
	Stores   []*Store
	Topics   []*Topic // internal ones: repartition topics
	Subs     []*Sub
	Together [][]string // topics, or patterns of sources, whose partition counts must agree (co-partitioned)
	// Around returns the middleware around a node in a task, as Port.Around takes it; nil: none. Itself nil when there is none anywhere.
	Around func(n *Node, task TaskID) any
}

// Kind is what a node is to the runtime.
type Kind uint8

// The kinds.
const (
	Process Kind = iota
	Source
	Sink
)

// Node is a step of the topology.
type Node struct {
	Name string // unique
	Op   string // what the DSL calls it: "filter", "aggregate"
	Pos  string // the user's file:line
	Kind Kind
	Sub  int // index in Graph.Subs

	Parents []*Node
	Ports   []*Port  // one per output; most have one, sinks none
	Stores  []string // stores that it reads or writes

	Source *SourceSpec // of sources
	Sink   *SinkSpec   // of sinks
	Policy failure.Policy

	// Wire makes the node's inlet for one task, given one outlet per port (the fan of the port's children). Nil for sources,
	// which are opened per topic by Source.Open.
	Wire func(n *Node, env Env, outs []any) (inlet any, err error)
}

// Port is an output of a node: the children on it get the same records, in order, each with all that follows before the next
// (depth first, as in Kafka Streams).
type Port struct {
	Name     string // empty for the main output
	Children []*Node
	// Fan makes one outlet of the inlets of the children.
	Fan func(inlets []any) any
	// Around puts middleware around an inlet of this output's records, the inlet of n.
	Around func(n *Node, env Env, inlet, around any) any
}

// SourceSpec says what a source reads.
type SourceSpec struct {
	Topics   []string // names without the application's prefix for internal topics; sorted
	Pattern  string   // regular expression instead of Topics
	Internal bool     // Topics[0] is an internal topic of Graph.Topics
	Global   bool     // every instance reads all partitions of Topics[0], outside of tasks
	Offset   StartAt
	Policy   failure.Policy // of records that do not decode
	// Open makes the inlet for one queue: one topic, the task's partition. outs is as for Node.Wire.
	Open func(n *Node, env Env, topic string, outs []any) (Queue, error)
}

// StartAt says where a source begins when nothing is committed.
type StartAt struct {
	Kind  StartKind
	Since int64 // milliseconds before now, for StartSince
}

// StartKind is the kind of a StartAt.
type StartKind uint8

// The kinds of start.
const (
	StartEarliest StartKind = iota
	StartLatest
	StartNone // an error
	StartSince
)

// SinkSpec says what a sink writes.
type SinkSpec struct {
	Topic    string // empty when each record chooses
	Internal bool   // Topic is an internal topic of Graph.Topics
}

// Topic is an internal topic. Its name has the application's prefix put before it by the runtime: <application>-<Name>.
type Topic struct {
	Name       string // with suffix: "counts-repartition"
	Partitions int    // 0: as many as the largest source topic of the sub-topology that writes it
	Pos        string
}

// StoreKind is the kind of a store.
type StoreKind uint8

// The kinds of store.
const (
	// Timestamped rows have a time of their own, as the stores of tables have.
	Timestamped StoreKind = iota
	// Plain rows are written with the time of the record being processed, which only the changelog sees.
	Plain
	// Window rows have a key and the start of a window, and a time of their own.
	Window
	// Session rows have a key, a start and an end.
	Session
	// Versioned stores keep the versions of their rows.
	Versioned
)

// Store is a state store; each task that uses it has its own partition of it.
type Store struct {
	Name      string
	Pos       string
	Kind      StoreKind
	InMemory  bool
	Changelog bool              // kept in <application>-<Name>-changelog
	Config    map[string]string // extra configuration of the changelog topic
	Headers   []kafka.Header    // of the changelog's records that are no deletions: Kafka Streams marks the format of buffers so
	Sub       int               // index in Graph.Subs

	// KeepHeaders has the store keep the headers of records with its rows; they are on the changelog's records, too.
	KeepHeaders bool
	// Retention is how long rows of window, session and versioned stores are kept after the time they are for.
	Retention time.Duration
	// Size is that of the windows of a window store: from the start to the end.
	Size time.Duration
	// Segment is the length of time whose rows are dropped together; 0: Kafka Streams' choice for the retention.
	Segment time.Duration
	// Duplicates has a window store keep all that is put for one key and start.
	Duplicates bool
	// ByTime has a window or session store keep an index by time: emission on close needs it.
	ByTime bool

	// Global says that every instance has the whole store, kept by the global sub-topology Sub, and that the tasks of others read it.
	Global bool
	// Topic is the external topic that a store is kept from and restored from in place of a changelog: task p from partition p, a
	// global store from all of them. Empty for stores that are written by what their steps do.
	Topic string
	// Owner is the node that alone writes the store; all others read it. Empty: whoever uses the store may write.
	Owner string
	// Row makes the function that turns a record of Topic into what it does to the store; ok is false for records that are no rows.
	// Set where Topic is, but for global stores, which are restored through their step.
	Row func() (func(*kafka.Record) (c store.Change, ok bool, err error), error)
}

// Sub is a sub-topology: nodes connected by edges or shared stores. It runs as one task per partition.
type Sub struct {
	ID int
	// Global sub-topologies keep global stores: one source, whose topic every instance reads in full, and one step. They make no
	// tasks of the group's.
	Global bool
	Nodes  []*Node
	Stores []*Store
}

// Sources returns the sub-topology's sources.
func (s *Sub) Sources() []*Node {
	var out []*Node
	for _, n := range s.Nodes {
		if n.Kind == Source {
			out = append(out, n)
		}
	}
	return out
}

// Store returns the store of that name, nil when there is none.
func (g *Graph) Store(name string) *Store {
	for _, s := range g.Stores {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// TaskID names a task.
type TaskID struct {
	Sub       int
	Partition int32
}

// String returns "0_3": sub-topology 0, partition 3.
func (t TaskID) String() string { return fmt.Sprintf("%d_%d", t.Sub, t.Partition) }

// InternalTopic is the full name of an internal topic or a changelog of an application.
func InternalTopic(application, name string) string { return application + "-" + name }

// ChangelogTopic is the name of a store's changelog.
func ChangelogTopic(application, store string) string {
	return application + "-" + store + "-changelog"
}

// Feed makes s a store that only owner writes, from the topic that shape names.
func (s *Store) Feed(owner string, shape Store) {
	s.Owner, s.Topic, s.Global, s.Row, s.Changelog = owner, shape.Topic, shape.Global, shape.Row, false
}
