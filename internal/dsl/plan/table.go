package plan

import (
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// Table is what a table's node knows beside its changes: how rows are read, and who wants old
// values.
type Table struct {
	// Store is the name of the store of the table's rows; empty for tables that never have one.
	Store string
	// HasStore reports that the store exists: from the start, or because a step downstream requires
	// it.
	HasStore bool
	// OldValues has changes carry old values.
	OldValues bool
	// Filtered marks the result of a filter: a change from "no row" to "no row" is none.
	Filtered bool
	// UnfilteredOutput adds a second output to a filter, which includes changes from "no row" to
	// "no row". A step that stores the result uses it, and sees from its own rows what is no
	// change: the rows of the table before the filter may differ from them, as the value that an
	// aggregation starts with does. Nil for other tables.
	UnfilteredOutput func() Out
	// UnsentOutput adds a second output to a suppressed table. Its old values are those before the
	// newest change, even if they were never emitted, rather than the ones emitted last. What is
	// grouped by the table uses it, as in Kafka Streams; other steps do not. Nil for other tables.
	// UnsentRequired reports that the output was asked for.
	UnsentOutput   func() Out
	UnsentRequired bool
	// RequireOldValues asks for old values and reports whether they come. With force a table
	// without a store gets one.
	RequireOldValues func(force bool) bool
	// RequireRows asks that rows can be read with Getter.
	RequireRows func()
	// Getter makes the function that reads a row in a task: a func(graph.Env) (wire.Getter[K, V],
	// error). It is set by AddToGraph.
	Getter any
	// Stores are what Getter reads.
	Stores []string
	// DeleteWhen is a func(K, V) bool of an aggregation; nil: rows stay. CanDeleteWhen reports that
	// it may be set.
	DeleteWhen    any
	CanDeleteWhen bool
	// Versioned marks rows that keep versions, or follow from rows that do: changes may be Stale,
	// and AsOf is set.
	Versioned bool
	// AsOf makes the function that reads the version of a row that was valid at a time: a
	// func(graph.Env) (wire.AsOf[K, V], error).
	AsOf any
	// History is how far back versions can be read.
	History time.Duration
	// Windowed reports that keys are window.Key. CloseAfter is how long after its end a window may
	// still change: the grace period, for sessions the gap and the grace period. EndInclusive
	// reports that a record at exactly that time may still change it.
	Windowed     bool
	CloseAfter   time.Duration
	EndInclusive bool
}

// Never is the CloseAfter of windows without end.
const Never = time.Duration(math.MaxInt64)

// TableOf returns the table that an output is.
func TableOf(o Out) *Table { return o.Node.Table }

// GetterOf returns how the rows of a table are read, and the stores that this needs. It is valid
// once the table was added to the graph, and nil when nothing has required its rows.
func GetterOf[K, V any](o Out) (func(graph.Env) (wire.Getter[K, V], error), []string) {
	t := o.Node.Table
	getter, _ := t.Getter.(func(graph.Env) (wire.Getter[K, V], error))
	return getter, t.Stores
}

// VersionsOf returns how versions of a table's rows are read. It is valid once the table was added
// to the graph, and nil when there are none.
func VersionsOf[K, V any](o Out) func(graph.Env) (wire.AsOf[K, V], error) {
	asOf, _ := o.Node.Table.AsOf.(func(graph.Env) (wire.AsOf[K, V], error))
	return asOf
}

// CloseAfter returns how far stream time must be past the end of a window until the window changes
// no more, for a table with windowed keys: that of the windowed aggregation it follows from, the
// longest if there are several. ok is false when there is none.
func CloseAfter(out Out) (after time.Duration, ok bool) {
	if out.Node == nil {
		return 0, false
	}
	if t := out.Node.Table; t != nil && t.Windowed {
		after = t.CloseAfter
		if t.EndInclusive && after != Never {
			after += time.Millisecond
		}
		return after, true
	}
	for _, in := range out.Node.inputs {
		if d, some := CloseAfter(in); some {
			after, ok = max(after, d), true
		}
	}
	return after, ok
}
