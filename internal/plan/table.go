package plan

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
)

// Table is what a table's node knows beside its changes: how its rows are read, and who wants their old values.
type Table struct {
	// Store is the store of the table's rows, empty when it keeps none.
	Store string
	// Getter makes the function that reads a row in a task: a func(graph.Env) (wire.Getter[K, V], error).
	Getter any
	// Stores are what Getter reads.
	Stores []string
	// WantOld says that a step that follows needs the old values of changes. Set in Demand.
	WantOld bool
	// Materialize says that a step that follows needs the rows in a store. Set in Demand.
	Materialize bool
}

// GetterOf returns how the rows of a table are read.
func GetterOf[K, V any](h Handle[K, V]) (func(graph.Env) (wire.Getter[K, V], error), []string) {
	t := h.Node().Table
	return t.Getter.(func(graph.Env) (wire.Getter[K, V], error)), t.Stores
}
