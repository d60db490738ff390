package operator

import "github.com/millstream-go/millstream/internal/dsl/wire"

// Upsert stores a table's changes.
type Upsert[K, V any] struct {
	Rows *Rows[K, V]
	// Old has changes go on with the store's old values.
	Old bool
	// Filtered marks the changes as a filter's result. Together with Old, a change from "no row" to
	// "no row" is none.
	Filtered bool
}

// Change writes the change and returns it with the store's old value; ok is false when nothing has
// changed. An update older than the row is applied like any other: the last to arrive wins, and its
// time is the row's.
func (u *Upsert[K, V]) Change(change wire.Change[K, V]) (_ wire.Change[K, V], ok bool, err error) {
	old, _, existed, err := u.Rows.loadIf(change.Key, u.Old)
	if err != nil {
		return change, false, err
	}
	if u.Old && u.Filtered && !existed && change.Tombstone {
		return change, false, nil
	}
	change.Old, change.HasOld, change.Stale = old, existed, false
	at := change.Time.UnixMilli()
	if change.Tombstone {
		return change, true, u.Rows.Delete(at)
	}
	return change, true, u.Rows.Save(change.Value, at)
}
