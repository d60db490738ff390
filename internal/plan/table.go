package plan

import (
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
)

// Table is what a table's node knows beside its changes: how its rows are read, and who wants their old values.
type Table struct {
	// Store is the store of the table's rows: empty for tables that never keep one.
	Store string
	// Keeps says that there is such a store: from the start, or since a step that follows asked for it.
	Keeps bool
	// WantOld says that changes carry old values.
	WantOld bool
	// Filtered says that the table is a filter's result: a row that was not there before and is not now is no change.
	Filtered bool
	// Unsent has the old values of a suppressed table be those before the newest change, even if they were never sent, rather than what
	// was sent last. Kafka Streams has them so; what is grouped by this table is as there.
	Unsent bool
	// AskOld asks for old values, and returns whether they come. A table that keeps no store makes one if force says so.
	AskOld func(force bool) bool
	// AskRows asks that rows can be read with Getter.
	AskRows func()
	// Getter makes the function that reads a row in a task: a func(graph.Env) (wire.Getter[K, V], error). Set when the table
	// is emitted.
	Getter any
	// Stores are what Getter reads.
	Stores []string
	// DeleteWhen is a func(K, V) bool of an aggregation; nil: rows stay. Aggregates says that it can be set.
	DeleteWhen any
	Aggregates bool
	// Versioned says that the rows keep versions, or are computed from rows that do: changes may be Stale, and AsOf is set.
	Versioned bool
	// AsOf makes the function that reads the version of a row that was valid at a time: a func(graph.Env) (wire.AsOf[K, V], error).
	AsOf any
	// History is how far back versions can be read.
	History time.Duration
	// Windowed says that keys are window.Key, and CloseAfter how long after its End a window may still change: the grace, for sessions
	// the gap and the grace. EndIncluded says that a record at that very time may still change it: windows whose end belongs to them.
	Windowed    bool
	CloseAfter  time.Duration
	EndIncluded bool
}

// Never is the CloseAfter of windows without end.
const Never = time.Duration(math.MaxInt64)

// TableOf returns the table that an output is.
func TableOf(o Out) *Table { return o.Node.Table }

// GetterOf returns how the rows of a table are read, once it has been emitted, and the stores that this needs; nil when nothing has
// asked for its rows.
func GetterOf[K, V any](o Out) (func(graph.Env) (wire.Getter[K, V], error), []string) {
	t := o.Node.Table
	getter, _ := t.Getter.(func(graph.Env) (wire.Getter[K, V], error))
	return getter, t.Stores
}

// AsOfOf returns how versions of a table's rows are read, once it has been emitted; nil when it keeps none.
func AsOfOf[K, V any](o Out) func(graph.Env) (wire.AsOf[K, V], error) {
	asOf, _ := o.Node.Table.AsOf.(func(graph.Env) (wire.AsOf[K, V], error))
	return asOf
}

// CloseAfter returns how far stream time has to be past the end of a window until the window changes no more, for a table whose keys
// are windows: that of the windowed aggregation it was made by, the longest where there are several. ok is false when there is none.
func CloseAfter(o Out) (after time.Duration, ok bool) {
	if o.Node == nil {
		return 0, false
	}
	if t := o.Node.Table; t != nil && t.Windowed {
		after = t.CloseAfter
		if t.EndIncluded && after != Never {
			after += time.Millisecond
		}
		return after, true
	}
	for _, in := range o.Node.inputs {
		if d, some := CloseAfter(in); some {
			after, ok = max(after, d), true
		}
	}
	return after, ok
}
