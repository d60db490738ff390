package operator

import (
	"math"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
)

// VersionRows reads and writes the rows of a table whose store keeps versions. Its buffers are
// reused, so each operator opens its own. Owned by the task's goroutine.
type VersionRows[K, V any] struct {
	storeRows[K, V]
	store storage.VersionedBytes
}

// OpenVersions returns the rows of a versioned store. try is as for Open.
func OpenVersions[K, V any](
	name string, b storage.VersionedBytes, key serde.Serde[K], value serde.Serde[V], try retry.Func,
) (*VersionRows[K, V], error) {
	rows, err := openStoreRows(name, b, key, value, try)
	return &VersionRows[K, V]{rows, b}, err
}

// Get returns the latest version of the row of k. It is a wire.Getter.
func (r *VersionRows[K, V]) Get(k K) (v V, at int64, ok bool, err error) {
	if err := r.setKey(k); err != nil {
		return v, 0, false, err
	}
	return r.decodeVersion(r.store.Get(r.keyBytes))
}

// AsOf returns the version of the row of k that was valid at a time. It is a wire.AsOf.
func (r *VersionRows[K, V]) AsOf(k K, at int64) (v V, from int64, ok bool, err error) {
	if err := r.setKey(k); err != nil {
		return v, 0, false, err
	}
	return r.decodeVersion(r.store.AsOf(r.keyBytes, at))
}

func (r *VersionRows[K, V]) decodeVersion(
	version storage.Version, ok bool, err error,
) (v V, from int64, _ bool, _ error) {
	if err != nil {
		return v, 0, false, r.wrap("get", err)
	}
	if !ok {
		return v, 0, false, nil
	}
	if v, err = r.value.Decode(version.Value); err != nil {
		return v, 0, false, r.wrap("decode the value", err)
	}
	return v, version.From, true, nil
}

// put writes a version of the row of the key encoded last; a nil value deletes. latest reports that
// no later version exists.
func (r *VersionRows[K, V]) put(value []byte, at int64) (latest, stored bool, err error) {
	to, stored, err := r.store.Put(r.keyBytes, value, at)
	if err != nil {
		to, stored, err = r.putAgain(value, at, err)
	}
	return to == math.MaxInt64, stored, err
}

func (r *VersionRows[K, V]) putAgain(value []byte, at int64, err error) (to int64, stored bool, _ error) {
	err = onRowError(r.try, r.wrap, "put", err, func() (err error) {
		to, stored, err = r.store.Put(r.keyBytes, value, at)
		return err
	})
	return to, stored, err
}

// UpsertVersions stores a table's changes as versions of its rows.
type UpsertVersions[K, V any] struct {
	Rows *VersionRows[K, V]
	// Old has changes go on with the latest version there was.
	Old bool
	// Filtered marks the changes as a filter's result. Together with Old, a change from "no row" to
	// "no row" is none.
	Filtered bool
}

// Unchanged reports whether c, as Change returned it, changes nothing.
func (u *UpsertVersions[K, V]) Unchanged(c wire.Change[K, V]) bool {
	return u.Old && u.Filtered && !c.HasOld && c.Tombstone
}

// Change writes the change and returns it with the store's old value, and with Stale set if the row
// has a later version. stored is false, and nothing has changed, when the change is older than the
// store's history, or Unchanged.
func (u *UpsertVersions[K, V]) Change(change wire.Change[K, V]) (_ wire.Change[K, V], stored bool, err error) {
	// Without old values the row is not read: the store decides from the time alone whether the
	// version is the latest.
	if u.Old {
		change.Old, _, change.HasOld, err = u.Rows.Get(change.Key)
	} else {
		err = u.Rows.setKey(change.Key)
	}
	if err != nil {
		return change, false, err
	}
	if u.Unchanged(change) {
		return change, false, nil
	}
	var b []byte
	if !change.Tombstone {
		if b, err = u.Rows.value.Encode(change.Value); err != nil {
			return change, false, err
		}
	}
	latest, stored, err := u.Rows.put(b, change.Time.UnixMilli())
	// An update older than the latest version is stored, so that reads of the past find it, but it
	// is not the row's new state.
	change.Stale = !latest
	return change, stored, err
}
