// Package wire moves records from step to step inside a task: nested typed calls on one goroutine,
// without boxing or allocation. The types of an edge are asserted once, when a task is wired.
package wire

import (
	"github.com/millstream-go/millstream/topology"
)

// Outlet is the typed end of an edge of records: it takes a record through everything that follows.
// Failures of user functions are handled at their own step (graph.Env.HandleFailure). An error that
// an Outlet returns ends the task.
type Outlet[K, V any] func(topology.Record[K, V]) error

// Change is an update of a row of a table. The embedded record is the row's new state; Tombstone
// means that the row was deleted. The key always exists: tables have no rows without keys.
type Change[K, V any] struct {
	topology.Record[K, V]
	Old    V
	HasOld bool // Old exists. Set only where a step downstream requires old values (plan.Table).
	Stale  bool // of a table with versions: a later version exists, so this is not the row's new state
}

// TableOutlet is the typed end of an edge of changes.
type TableOutlet[K, V any] func(Change[K, V]) error

// Getter reads the row of a table: from its store, or computed from the nearest store upstream.
// time is in milliseconds.
type Getter[K, V any] func(k K) (v V, time int64, ok bool, err error)

// AsOf reads the version of a row that was valid at a time, in milliseconds; from is when that
// version began.
type AsOf[K, V any] func(k K, at int64) (v V, from int64, ok bool, err error)

// Broadcast makes one Outlet of several, for graph.Port. Of none it makes a drain, and of one that
// one itself.
func Broadcast[K, V any](inlets []any) any {
	outs := make([]Outlet[K, V], len(inlets))
	for i, inlet := range inlets {
		outs[i] = inlet.(Outlet[K, V])
	}
	switch len(outs) {
	case 0:
		return Outlet[K, V](func(topology.Record[K, V]) error { return nil })
	case 1:
		return outs[0]
	}
	return Outlet[K, V](func(record topology.Record[K, V]) error {
		for _, out := range outs {
			if err := out(record); err != nil {
				return err
			}
		}
		return nil
	})
}

// BroadcastTable is Broadcast for changes.
func BroadcastTable[K, V any](inlets []any) any {
	outs := make([]TableOutlet[K, V], len(inlets))
	for i, inlet := range inlets {
		outs[i] = inlet.(TableOutlet[K, V])
	}
	switch len(outs) {
	case 0:
		return TableOutlet[K, V](func(Change[K, V]) error { return nil })
	case 1:
		return outs[0]
	}
	return TableOutlet[K, V](func(change Change[K, V]) error {
		for _, out := range outs {
			if err := out(change); err != nil {
				return err
			}
		}
		return nil
	})
}
