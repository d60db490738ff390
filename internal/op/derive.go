package op

import (
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Derive makes a table of another, row by row: filters and mapped values.
type Derive[K, V, V2 any] struct {
	// Row returns the row that follows from one, ok false when there is none. row false: the other table has no row.
	Row func(k K, v V, row bool) (v2 V2, ok bool)
	// Old says that changes carry old values, as those that come in do.
	Old bool
	// Filter says that with Old a change from no row to no row is none, and is not sent.
	Filter bool
}

// Change returns the change that follows from c, ok false when there is none.
func (d *Derive[K, V, V2]) Change(c wire.Change[K, V]) (out wire.Change[K, V2], ok bool) {
	v, row := d.Row(c.Key, c.Value, !c.Tombstone)
	if d.Old {
		out.Old, out.HasOld = d.Row(c.Key, c.Old, c.HasOld)
		if d.Filter && !row && !out.HasOld {
			return out, false
		}
	}
	out.Record, out.Stale = topology.WithValue(c.Record, v), c.Stale
	if !row {
		out.Record = out.Record.Deleted()
	}
	return out, true
}

// AsOf returns how versions of rows are read without a store of their own.
func (d *Derive[K, V, V2]) AsOf(of wire.AsOf[K, V]) wire.AsOf[K, V2] {
	return func(k K, at int64) (v2 V2, from int64, ok bool, err error) {
		v, from, ok, err := of(k, at)
		if err != nil {
			return v2, 0, false, err
		}
		v2, ok = d.Row(k, v, ok)
		return v2, from, ok, nil
	}
}

// Getter returns how rows are read without a store of their own: made again from those of the other table.
func (d *Derive[K, V, V2]) Getter(of wire.Getter[K, V]) wire.Getter[K, V2] {
	return func(k K) (v2 V2, at int64, ok bool, err error) {
		v, at, ok, err := of(k)
		if err != nil {
			return v2, 0, false, err
		}
		v2, ok = d.Row(k, v, ok)
		return v2, at, ok, nil
	}
}
