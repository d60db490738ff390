// Package wire is how records go from step to step inside a task: nested typed calls on one goroutine, no boxing, no
// allocation. The types of an edge are asserted once, when a task is wired.
package wire

import (
	"github.com/millstream-go/millstream/topology"
)

// Outlet is the typed end of an edge of records: it takes a record through everything that follows. Failures of user functions
// are dealt with at their own step (graph.Env.Fail); an error that comes back through an Outlet ends the task.
type Outlet[K, V any] func(topology.Record[K, V]) error

// Change is an update of a row of a table. The embedded record is the row's new state: Tombstone says that the row is gone. Its
// key is always there: tables have no rows without keys.
type Change[K, V any] struct {
	topology.Record[K, V]
	Old    V
	HasOld bool // Old was there. Set only where a step that follows asked for old values (Node in internal/plan).
	Stale  bool // of a table that keeps versions: the row has a later version, so that this is not its new state
}

// TableOutlet is the typed end of an edge of changes.
type TableOutlet[K, V any] func(Change[K, V]) error

// Getter reads the row of a table: from its store, or computed from the nearest store before it. Time is in milliseconds.
type Getter[K, V any] func(k K) (v V, time int64, ok bool, err error)

// AsOf reads the version of a row that was valid at a time, in milliseconds; from is when that version began.
type AsOf[K, V any] func(k K, at int64) (v V, from int64, ok bool, err error)

// Fan returns the function that makes one Outlet of several, for graph.Port. None: a drain; one: itself.
func Fan[K, V any](inlets []any) any {
	outs := make([]Outlet[K, V], len(inlets))
	for i, x := range inlets {
		outs[i] = x.(Outlet[K, V])
	}
	switch len(outs) {
	case 0:
		return Outlet[K, V](func(topology.Record[K, V]) error { return nil })
	case 1:
		return outs[0]
	}
	return Outlet[K, V](func(r topology.Record[K, V]) error {
		for _, out := range outs {
			if err := out(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// FanTable is Fan for changes.
func FanTable[K, V any](inlets []any) any {
	outs := make([]TableOutlet[K, V], len(inlets))
	for i, x := range inlets {
		outs[i] = x.(TableOutlet[K, V])
	}
	switch len(outs) {
	case 0:
		return TableOutlet[K, V](func(Change[K, V]) error { return nil })
	case 1:
		return outs[0]
	}
	return TableOutlet[K, V](func(c Change[K, V]) error {
		for _, out := range outs {
			if err := out(c); err != nil {
				return err
			}
		}
		return nil
	})
}
