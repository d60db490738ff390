package op

import (
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// VersionRows are the rows of a table whose store keeps versions of them. Its buffers are used again, so each operator opens its own.
// Owned by the task's goroutine.
type VersionRows[K, V any] struct {
	name  string
	store store.VersionedBytes
	keep  func(store.Headers) // nil: the store keeps none
	key   *rowserde.Side[K]
	value *rowserde.Side[V]
	at    []byte // the key that was encoded last
}

// Keep says which headers the versions get that are saved from now on, if the store keeps any.
func (r *VersionRows[K, V]) Keep(h store.Headers) {
	if r.keep != nil {
		r.keep(h)
	}
}

// OpenVersions returns the rows of a versioned store.
func OpenVersions[K, V any](name string, b store.VersionedBytes, key serde.Serde[K], value serde.Serde[V]) (*VersionRows[K, V], error) {
	r := &VersionRows[K, V]{name: name, store: b, keep: store.Keep(b)}
	var err error
	r.key, r.value, err = sides(name, key, value)
	return r, err
}

// Get returns the latest version of the row of k: a wire.Getter.
func (r *VersionRows[K, V]) Get(k K) (v V, at int64, ok bool, err error) {
	if err := r.of(k); err != nil {
		return v, 0, false, err
	}
	return r.row(r.store.Get(r.at))
}

// AsOf returns the version of the row of k that was valid at a time: a wire.AsOf.
func (r *VersionRows[K, V]) AsOf(k K, at int64) (v V, from int64, ok bool, err error) {
	if err := r.of(k); err != nil {
		return v, 0, false, err
	}
	return r.row(r.store.AsOf(r.at, at))
}

func (r *VersionRows[K, V]) of(k K) (err error) {
	if r.at, err = r.key.Encode(k); err != nil {
		return &RecordError{r.wrap("encode the key", err)}
	}
	return nil
}

func (r *VersionRows[K, V]) row(x store.Version, ok bool, err error) (v V, from int64, _ bool, _ error) {
	if err != nil {
		return v, 0, false, r.wrap("get", err)
	}
	if !ok {
		return v, 0, false, nil
	}
	if v, err = r.value.Decode(x.Value); err != nil {
		return v, 0, false, r.wrap("decode the value", err)
	}
	return v, x.From, true, nil
}

// put writes a version of the row of the key that was encoded last; a nil value deletes.
func (r *VersionRows[K, V]) put(value []byte, at int64) (latest, kept bool, err error) {
	to, kept, err := r.store.Put(r.at, value, at)
	if err != nil {
		return false, false, &RecordError{r.wrap("put", err)}
	}
	return to == math.MaxInt64, kept, nil
}

func (r *VersionRows[K, V]) wrap(what string, err error) error {
	return fmt.Errorf("store %q, key %q: %s: %w", r.name, r.at, what, err)
}

// UpsertVersions keeps a table's changes as versions of its rows.
type UpsertVersions[K, V any] struct {
	Rows *VersionRows[K, V]
	// Old says that changes go on with the latest version there was.
	Old bool
}

// Change writes c and returns it with the old value that the store had, and Stale if the row has a later version. kept is false, and
// nothing has changed, when c is older than the store's history.
func (u *UpsertVersions[K, V]) Change(c wire.Change[K, V]) (_ wire.Change[K, V], kept bool, err error) {
	if u.Old {
		c.Old, _, c.HasOld, err = u.Rows.Get(c.Key)
	} else {
		err = u.Rows.of(c.Key)
	}
	if err != nil {
		return c, false, err
	}
	var b []byte
	if !c.Tombstone {
		if b, err = u.Rows.value.Encode(c.Value); err != nil {
			return c, false, &RecordError{u.Rows.wrap("encode the value", err)}
		}
	}
	latest, kept, err := u.Rows.put(b, c.Time.UnixMilli())
	c.Stale = !latest
	return c, kept, err
}
