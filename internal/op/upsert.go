package op

import "github.com/millstream-go/millstream/internal/wire"

// Upsert keeps a table's changes in a store.
type Upsert[K, V any] struct {
	Rows *Rows[K, V]
	// Old says that changes go on with the store's old values.
	Old bool
	// Filtered says that changes are a filter's result: with Old, one from no row to no row is none.
	Filtered bool
}

// Change writes c and returns it with the old value that the store had, ok false when nothing has changed. Updates with an older time
// than the row's are applied like others: the latest to arrive counts, and so does its time.
func (u *Upsert[K, V]) Change(c wire.Change[K, V]) (_ wire.Change[K, V], ok bool, err error) {
	old, _, had, err := u.Rows.load(c.Key, u.Old)
	if err != nil {
		return c, false, err
	}
	if u.Old && u.Filtered && !had && c.Tombstone {
		return c, false, nil
	}
	c.Old, c.HasOld, c.Stale = old, had, false
	at := c.Time.UnixMilli()
	if c.Tombstone {
		return c, true, u.Rows.Delete(at)
	}
	return c, true, u.Rows.Save(c.Value, at)
}
