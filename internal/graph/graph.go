// Package graph is a topology without types: nodes, stores and topics, and for each node the
// function that wires it for a task.
//
// Package plan makes it from the calls of the DSL, package topology shows it to users, and tasks,
// the runtime and the test driver use nothing else. Typed values stay behind values of type any:
// they are outlets of package wire, asserted once, when a task is wired.
package graph

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// Graph is what Build makes. It is read-only.
type Graph struct {
	Nodes         []*Node // parents before children, in the order of the calls
	Stores        []*Store
	Topics        []*Topic // internal ones: repartition topics
	Subtopologies []*Subtopology
	CoPartitioned [][]string // topics, or patterns of sources, with equal partition counts
	// Middleware returns the middleware of a node in a task, for Port.WrapMiddleware; nil when the
	// node has none. The field is nil when the program has none.
	Middleware func(n *Node, task TaskID) any
}

// Kind is what a node is to the runtime.
type Kind uint8

// The kinds.
const (
	Processor Kind = iota
	Source
	Sink
)

// Node is a step of the topology.
type Node struct {
	Name        string // unique
	Op          string // what the DSL calls it: "filter", "aggregate"
	Pos         string // the user's file:line
	Kind        Kind
	Subtopology int // index in Graph.Subs

	Parents []*Node
	Ports   []*Port  // one per output; most have one, sinks none
	Stores  []string // stores that it reads or writes
	// TracksTime reports that the node has a stream time of its own (Env.OperatorTime), which is
	// saved with the committed offsets.
	TracksTime bool

	Source *SourceSpec // of sources
	Sink   *SinkSpec   // of sinks
	Policy failure.Policy

	// Wire makes the node's inlet for one task. outs has one outlet per port, which leads to all
	// children of the port. Wire is nil for sources, which are opened per topic by Source.Open.
	Wire func(n *Node, env Env, outs []any) (inlet any, err error)
}

// Port is an output of a node. All children get the same records. Each record goes to a child, and
// through everything that follows from it, before it goes to the next child (depth first, as in
// Kafka Streams).
type Port struct {
	Name     string // empty for the main output
	Children []*Node
	// Broadcast makes one outlet of the inlets of the children.
	Broadcast func(inlets []any) any
	// WrapMiddleware puts middleware around the inlet of n, which gets this output's records.
	WrapMiddleware func(n *Node, env Env, inlet, around any) any
}

// SourceSpec describes what a source reads.
type SourceSpec struct {
	Topics   []string // names without the application's prefix for internal topics; sorted
	Pattern  string   // regular expression instead of Topics
	Internal bool     // Topics[0] is an internal topic of Graph.Topics
	Global   bool     // every instance reads all partitions of Topics[0], outside of tasks
	Offset   StartAt
	Policy   failure.Policy // of records that do not decode
	// Open makes the inlet for one queue: one topic, and the task's partition. outs is as for
	// Node.Wire.
	Open func(n *Node, env Env, topic string, outs []any) (Queue, error)
}

// StartAt is where a source begins when nothing is committed.
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

// SinkSpec describes what a sink writes.
type SinkSpec struct {
	Topic    string // empty when each record chooses
	Internal bool   // Topic is an internal topic of Graph.Topics
}

// Topic is an internal topic. Its name in Kafka begins with the application's:
// <application>-<Name>.
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
	// Plain rows are written with the time of the record being processed, which only the changelog
	// sees.
	Plain
	// Window rows have a key and the start of a window, and a time of their own.
	Window
	// Session rows have a key, a start and an end.
	Session
	// Versioned stores keep the versions of their rows.
	Versioned
)

// String returns the kind as people know it, as "window".
func (k StoreKind) String() string {
	switch k {
	case Timestamped, Plain:
		return "key-value"
	case Window:
		return "window"
	case Session:
		return "session"
	case Versioned:
		return "versioned"
	}
	return fmt.Sprintf("StoreKind(%d)", uint8(k))
}

// Store is a state store. Each task that uses it has its own partition of it.
type Store struct {
	Name      string
	Pos       string
	Kind      StoreKind
	InMemory  bool
	Changelog bool              // its changelog is <application>-<Name>-changelog
	Config    map[string]string // extra configuration of the changelog topic
	// Headers are those of the changelog's records that are no tombstones. Kafka Streams marks the
	// format of buffers so.
	Headers     []kafka.Header
	Subtopology int // index in Graph.Subs

	// Format describes the rows where Kind does not: "sliding window", "buffer". KeyFormat and
	// ValueFormat are the names of their serdes' formats, empty where a serde has none. See Type.
	Format, KeyFormat, ValueFormat string

	// KeepHeaders has the store store the headers of records with its rows. The changelog's records
	// carry them, too.
	KeepHeaders bool
	// Retention is how long rows of window, session and versioned stores stay after the time they
	// are for.
	Retention time.Duration
	// Size is that of the windows of a window store, from start to end.
	Size time.Duration
	// Segment is the length of time whose rows are dropped together; 0: Kafka Streams' choice for
	// the retention.
	Segment time.Duration
	// Duplicates has a window store keep all values that are put for one key and start.
	Duplicates bool
	// ByTime has a window or session store maintain an index by time, which emission on close
	// needs.
	ByTime bool

	// Global reports that every instance has the whole store. The global sub-topology writes it,
	// and tasks of others read it.
	Global bool
	// SourceTopic is the external topic that the store is filled and restored from in place of a
	// changelog: task p from partition p, a global store from all partitions. Empty for most
	// stores.
	SourceTopic string
	// Writer is the name of the only node that writes the store; all others read it. Empty: every
	// user of the store may write it.
	Writer string
	// RowDecoder makes the function that turns a record of SourceTopic into a change of the store;
	// ok is false for records that are no rows. It is set where SourceTopic is, except for global
	// stores, which are restored through their step.
	RowDecoder func() (func(*kafka.Record) (c storage.Change, ok bool, err error), error)
}

// Subtopology is a set of nodes connected by edges or shared stores. It runs as one task per
// partition.
type Subtopology struct {
	ID int
	// Global sub-topologies maintain global stores. They have one source, whose topic every
	// instance reads in full, and one step. No task of the group runs them.
	Global bool
	Nodes  []*Node
	Stores []*Store
}

// Sources returns the sub-topology's sources.
func (s *Subtopology) Sources() []*Node {
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

// TaskID identifies a task.
type TaskID struct {
	Subtopology int
	Partition   int32
}

// String returns "0_3": sub-topology 0, partition 3.
func (t TaskID) String() string { return fmt.Sprintf("%d_%d", t.Subtopology, t.Partition) }

// Compare orders tasks by sub-topology, then by partition.
func (t TaskID) Compare(other TaskID) int {
	return cmp.Or(cmp.Compare(t.Subtopology, other.Subtopology), cmp.Compare(t.Partition, other.Partition))
}

// InternalTopic is the full name of an internal topic or a changelog of an application.
func InternalTopic(application, name string) string { return application + "-" + name }

// ChangelogTopic is the name of a store's changelog.
func ChangelogTopic(application, store string) string {
	return InternalTopic(application, ChangelogName(store))
}

// ChangelogName is that name without the application's prefix.
func ChangelogName(store string) string { return store + "-changelog" }

// IsInternalTopic reports whether topic, a full name, is a repartition topic or a changelog of g in
// an application.
func (g *Graph) IsInternalTopic(application, topic string) bool {
	return slices.ContainsFunc(g.Topics, func(t *Topic) bool { return topic == InternalTopic(application, t.Name) }) ||
		slices.ContainsFunc(g.Stores,
			func(s *Store) bool { return s.Changelog && topic == ChangelogTopic(application, s.Name) })
}

// RestoreFrom makes s a store that only writer writes, restored from the topic that shape names.
func (s *Store) RestoreFrom(writer string, shape Store) {
	s.Writer, s.SourceTopic, s.Global, s.RowDecoder, s.Changelog = writer, shape.SourceTopic, shape.Global,
		shape.RowDecoder, false
}
