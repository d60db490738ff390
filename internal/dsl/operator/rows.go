// Package operator has the algorithms of the stateful operators. They are typed, work on stores,
// and know neither Kafka nor graph nor tasks: the operators of the DSL wire one of them for each
// task.
package operator

import (
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
)

// Rows reads and writes the rows of a table in its key-value store.
//
// Its buffers are reused from call to call. Two operators that share a store must therefore not
// share a Rows: each opens its own. Owned by the task's goroutine.
type Rows[K, V any] struct {
	storeRows[K, V]
	store storage.Bytes

	raw []byte // the value that Load found; valid until the next call on the store
}

// Open returns the rows of a store.
//
// try decides about records that cannot be stored, and its verdict is what reads and writes return
// for them. Any other error of this package is the store's, and fatal.
func Open[K, V any](
	name string, b storage.Bytes, key serde.Serde[K], value serde.Serde[V], try retry.Func,
) (*Rows[K, V], error) {
	rows, err := openStoreRows(name, b, key, value, try)
	return &Rows[K, V]{storeRows: rows, store: b}, err
}

// Get returns the row of k. It is a wire.Getter.
func (r *Rows[K, V]) Get(k K) (v V, at int64, ok bool, err error) { return r.Load(k) }

// loadIf is Load when read is true. Otherwise it only remembers the key: a write that does not need
// the old row is spared a read.
func (r *Rows[K, V]) loadIf(k K, read bool) (v V, at int64, ok bool, err error) {
	if read {
		return r.Load(k)
	}
	return v, 0, false, r.setKey(k)
}

// Load returns the row of key. DecodeAgain, Save and Delete refer to this row until the next Load.
func (r *Rows[K, V]) Load(key K) (value V, at int64, ok bool, err error) {
	if err := r.setKey(key); err != nil {
		return value, 0, false, err
	}
	if r.raw, at, ok, err = r.store.Get(r.keyBytes); err != nil {
		return value, 0, false, r.wrap("get", err)
	}
	if !ok {
		return value, 0, false, nil
	}
	value, err = r.DecodeAgain()
	return value, at, true, err
}

// DecodeAgain decodes the value that Load found a second time, so that the caller has a copy that a
// user's function cannot change. It must be called before any other call on the store: the bytes
// are the store's.
func (r *Rows[K, V]) DecodeAgain() (V, error) {
	v, err := r.value.Decode(r.raw)
	if err != nil {
		return v, r.wrap("decode the value", err)
	}
	return v, nil
}

// Save writes the row of the loaded key.
func (r *Rows[K, V]) Save(v V, at int64) error {
	b, err := r.value.Encode(v)
	if err != nil {
		return err
	}
	if err := r.store.Put(r.keyBytes, b, at); err != nil {
		return onRowError(r.try, r.wrap, "put", err, func() error { return r.store.Put(r.keyBytes, b, at) })
	}
	return nil
}

// Delete deletes the row of the loaded key.
func (r *Rows[K, V]) Delete(at int64) error {
	if err := r.store.Delete(r.keyBytes, at); err != nil {
		return onRowError(r.try, r.wrap, "delete", err, func() error { return r.store.Delete(r.keyBytes, at) })
	}
	return nil
}
