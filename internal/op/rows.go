// Package op has the algorithms of the stateful operators: typed, on stores, and without Kafka, graph or tasks. An operator of the
// DSL wires one of them for a task.
package op

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// RecordError says that a record cannot be stored: its policy decides. Any other error of this package is the store's, and fatal.
type RecordError struct{ Err error }

func (e *RecordError) Error() string { return e.Err.Error() }

// Unwrap returns why the record cannot be stored.
func (e *RecordError) Unwrap() error { return e.Err }

// Rows are the rows of a table in its store. Its buffers are used again, so each operator opens its own. Owned by the task's
// goroutine.
type Rows[K, V any] struct {
	name  string
	store store.Bytes
	keep  func(store.Headers) // nil: the store keeps none
	key   *rowserde.Side[K]
	value *rowserde.Side[V]

	at  []byte // the encoded key that Load was given
	raw []byte // the value that it found, until the next call on the store
}

// Open returns the rows of a store.
func Open[K, V any](name string, b store.Bytes, key serde.Serde[K], value serde.Serde[V]) (*Rows[K, V], error) {
	r := &Rows[K, V]{name: name, store: b, keep: store.Keep(b)}
	var err error
	if r.key, err = rowserde.New(key, name, true); err != nil {
		return nil, fmt.Errorf("store %q: keys: %w", name, err)
	}
	if r.value, err = rowserde.New(value, name, false); err != nil {
		return nil, fmt.Errorf("store %q: values: %w", name, err)
	}
	return r, nil
}

// Keep says which headers the rows get that are saved from now on, if the store keeps any.
func (r *Rows[K, V]) Keep(h store.Headers) {
	if r.keep != nil {
		r.keep(h)
	}
}

// Get returns the row of k: a wire.Getter.
func (r *Rows[K, V]) Get(k K) (v V, at int64, ok bool, err error) { return r.Load(k) }

// load is Load, or only says which key is meant when what its row holds does not matter: a write needs no read.
func (r *Rows[K, V]) load(k K, read bool) (v V, at int64, ok bool, err error) {
	if read {
		return r.Load(k)
	}
	if r.at, err = r.key.Encode(k); err != nil {
		err = r.record("encode the key", err)
	}
	return v, 0, false, err
}

// Load returns the row of k, which Again, Save and Delete then mean, until the next Load.
func (r *Rows[K, V]) Load(k K) (v V, at int64, ok bool, err error) {
	if r.at, err = r.key.Encode(k); err != nil {
		return v, 0, false, r.record("encode the key", err)
	}
	if r.raw, at, ok, err = r.store.Get(r.at); err != nil {
		return v, 0, false, r.wrap("get", err)
	}
	if !ok {
		return v, 0, false, nil
	}
	v, err = r.Again()
	return v, at, true, err
}

// Again decodes the value that Load found a second time, for an owner of its own. It must be called before anything else is done
// with the store.
func (r *Rows[K, V]) Again() (V, error) {
	v, err := r.value.Decode(r.raw)
	if err != nil {
		return v, r.wrap("decode the value", err)
	}
	return v, nil
}

// Save writes the row of the key that was loaded.
func (r *Rows[K, V]) Save(v V, at int64) error {
	b, err := r.value.Encode(v)
	if err != nil {
		return r.record("encode the value", err)
	}
	if err := r.store.Put(r.at, b, at); err != nil {
		return r.record("put", err)
	}
	return nil
}

// Delete deletes the row of the key that was loaded.
func (r *Rows[K, V]) Delete(at int64) error {
	if err := r.store.Delete(r.at, at); err != nil {
		return r.record("delete", err)
	}
	return nil
}

func (r *Rows[K, V]) wrap(what string, err error) error {
	return fmt.Errorf("store %q, key %q: %s: %w", r.name, r.at, what, err)
}

func (r *Rows[K, V]) record(what string, err error) error { return &RecordError{r.wrap(what, err)} }
