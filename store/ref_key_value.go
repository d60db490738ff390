package store

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
)

// KeyValueRef names a key-value store and its types, as a Topic does for a topic. It is a value,
// made once, often as a package variable. Steps that use the same reference share the store;
// programs that are built from it have one each.
type KeyValueRef[K, V any] struct {
	storeRef
	def *keyValueDef[K, V]
}

// keyValueDef is shared by the copies of a reference. Because of its types Go does not convert a
// reference of some types to one of others.
type keyValueDef[K, V any] struct {
	key  func() (serde.Serde[K], error)
	rows func() (values[V], error)
}

// NewKeyValue returns a reference to a key-value store of that name. The store keeps no times of
// its rows. Options: InMemory, NoChangelog, TopicConfig, KeepHeaders.
//
//	totals := store.NewKeyValue("totals", serde.String, serde.Int64)
func NewKeyValue[K, V any](name string, key serde.Serde[K], value serde.Serde[V], opts ...Option) KeyValueRef[K, V] {
	return newKeyValue(name, true, key, value, opts, newPlain[V])
}

// NewTimestamped returns a reference to a key-value store that keeps a time with each value, as
// tables do. Options: InMemory, NoChangelog, TopicConfig, KeepHeaders.
//
//	seen := store.NewTimestamped("last-seen", serde.String, serde.Int64)
func NewTimestamped[K, V any](
	name string, key serde.Serde[K], value serde.Serde[V], opts ...Option,
) KeyValueRef[K, Timestamped[V]] {
	return newKeyValue(name, false, key, value, opts, newTimestamped[V])
}

// newKeyValue makes a reference to rows of type R, whose values of type V are written by value.
func newKeyValue[K, V, R any](
	name string, plain bool, key serde.Serde[K], value serde.Serde[V], opts []Option,
	rows func(store string, value serde.Serde[V]) (values[R], error),
) KeyValueRef[K, R] {
	s, serdes := newSpec(spec.KeyValueStore, name, key, value, opts)
	s.Plain = plain && s.Table == nil // the stores of tables keep times
	def := &keyValueDef[K, R]{key: serdes.key, rows: func() (values[R], error) {
		v, err := serdes.value()
		if err != nil {
			return nil, err
		}
		return rows(name, v)
	}}
	if s.Table == nil && value != nil { // a serde that differs from topic to topic may refuse the store's
		if _, err := def.rows(); err != nil {
			addError(s, fmt.Errorf("the serde of its values: %w", err))
		}
	}
	return KeyValueRef[K, R]{spec.NewStoreRef(s), def}
}

// In opens the store: in a processor's constructor with its context, in a test with the driver, in
// a service with the App. Each goroutine opens its own. When the store cannot be opened, because
// the table keeps none, for example, each call on the result returns the error. A processor that
// opens a store which its step does not list ends the task.
func (r KeyValueRef[K, V]) In(o Opener) KeyValue[K, V] {
	s, err := r.open(o)
	if err != nil {
		return &keyValue[K, V]{err: err}
	}
	return s
}

func (r KeyValueRef[K, V]) open(o Opener) (*keyValue[K, V], error) {
	if r.def == nil {
		return nil, errors.New("store: the reference is zero; make it with store.NewKeyValue or get it from a table")
	}
	name := r.DependencyName()
	if o == nil {
		return nil, errNilOpener(name)
	}
	handle, err := o.OpenStore(name)
	if err != nil {
		return nil, err
	}
	s := &keyValue[K, V]{storeErrors: storeErrors(name), rows: handle.Bytes, now: handle.Time}
	if handle.Bytes == nil {
		return nil, s.wrapOpen(errors.New("it is not a key-value store"))
	}
	s.headerStore, _ = handle.Bytes.(storage.HeaderStore)
	s.recordHeaders = handle.Headers
	key, err := r.def.key()
	if err != nil {
		return nil, s.wrapOpen(err)
	}
	if s.key, err = codec.New(key, name, true, nil); err != nil {
		return nil, s.wrapOpen(err)
	}
	if s.value, err = r.def.rows(); err != nil {
		return nil, s.wrapOpen(err)
	}
	// A reference with times to a store without them would write times that are lost. The other way
	// round is fine: a plain reference reads the values of a table.
	s.timed = !handle.Plain
	if _, ok := s.value.(interface{ timed() }); ok && handle.Plain {
		return nil, s.wrapOpen(errors.New("it has no times: refer to it with store.NewKeyValue"))
	}
	return s, nil
}
