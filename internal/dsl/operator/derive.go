package operator

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// Derive computes a table from another one, row by row: filters and mapped values.
type Derive[K, V, V2 any] struct {
	// Row computes a row from one of the other table; ok false: there is none. exists reports
	// whether the other table has the row.
	Row func(k K, v V, exists bool) (v2 V2, ok bool)
	// Old has changes carry old values. The incoming changes must carry them, too.
	Old bool
	// Filter, together with Old, suppresses changes from "no row" to "no row".
	Filter bool
}

// row is Row with the zero value where there is no row. A join that reads the row of a filter
// passes the value to the user's function, which must not see a row that the filter has rejected.
func (d *Derive[K, V, V2]) row(k K, v V, row bool) (v2 V2, ok bool) {
	if v2, ok = d.Row(k, v, row); !ok {
		var none V2
		return none, false
	}
	return v2, true
}

// Change returns the change that follows from the change. none reports that it changes nothing, for
// steps that have no rows to compare with.
func (d *Derive[K, V, V2]) Change(change wire.Change[K, V]) (out wire.Change[K, V2], none bool) {
	v, row := d.row(change.Key, change.Value, !change.Tombstone)
	if d.Old {
		out.Old, out.HasOld = d.row(change.Key, change.Old, change.HasOld)
		none = d.Filter && !row && !out.HasOld
	}
	out.Record, out.Stale = topology.WithValue(change.Record, v), change.Stale
	if !row {
		out.Record = out.Record.Deleted()
	}
	return out, none
}

// AsOf returns how versions of rows are read: computed from those of the other table, without a
// store.
func (d *Derive[K, V, V2]) AsOf(of wire.AsOf[K, V]) wire.AsOf[K, V2] {
	return func(key K, at int64) (v2 V2, from int64, ok bool, err error) {
		v, from, ok, err := of(key, at)
		if err != nil {
			return v2, 0, false, err
		}
		v2, ok = d.row(key, v, ok)
		return v2, from, ok, nil
	}
}

// Getter returns how rows are read: computed from those of the other table, without a store.
func (d *Derive[K, V, V2]) Getter(of wire.Getter[K, V]) wire.Getter[K, V2] {
	return func(key K) (v2 V2, at int64, ok bool, err error) {
		v, at, ok, err := of(key)
		if err != nil {
			return v2, 0, false, err
		}
		v2, ok = d.row(key, v, ok)
		return v2, at, ok, nil
	}
}
