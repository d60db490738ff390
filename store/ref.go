package store

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/serde"
)

// Dep is what a processor uses besides its input: a store, by a reference of this package, or an output of package stream. The
// references and outputs that a processor opens are listed where it is made, so that Build knows them.
type Dep interface {
	// Dep returns the name of the store or output.
	Dep() string
}

// KeyValueRef names a key-value store and says what is in it, as a Topic does for a topic. It is a value, made once, often as a
// package variable: steps that use the same reference share the store; programs built from it have one each.
type KeyValueRef[K, V any] struct{ def *def[K, V] }

// def is shared by the copies of a reference. Its types make references of different types impossible to convert.
type def[K, V any] struct {
	spec storespec.Spec
	key  func() (serde.Serde[K], error)
	rows func() (values[V], error)
}

// NewKeyValue returns a reference to a key-value store of that name. The times of its rows are not kept.
//
//	totals := store.NewKeyValue("totals", serde.String, serde.Int64)
func NewKeyValue[K, V any](name string, key serde.Serde[K], value serde.Serde[V], opts ...Option) KeyValueRef[K, V] {
	return newRef(name, true, opts, key, func() (values[V], error) { return newPlain(name, value) })
}

// NewTimestamped returns a reference to a key-value store that keeps a time with each value, as tables do.
//
//	seen := store.NewTimestamped("last-seen", serde.String, serde.Int64)
func NewTimestamped[K, V any](name string, key serde.Serde[K], value serde.Serde[V], opts ...Option) KeyValueRef[K, Stamped[V]] {
	return newRef(name, false, opts, key, func() (values[Stamped[V]], error) { return newStamped(name, value) })
}

func newRef[K, V any](name string, plain bool, opts []Option, key serde.Serde[K], rows func() (values[V], error)) KeyValueRef[K, V] {
	d := &def[K, V]{key: func() (serde.Serde[K], error) { return key, nil }, rows: rows}
	d.spec = storespec.Spec{Name: name, Plain: plain}
	d.spec.Settings, d.spec.Err = storespec.Read(opts, storespec.InMemory, storespec.NoChangelog, storespec.TopicConfig, storespec.Headers)
	if key == nil {
		d.spec.Err = errors.Join(d.spec.Err, errors.New("the store has no serde for its keys"))
	}
	if _, err := rows(); err != nil {
		d.spec.Err = errors.Join(d.spec.Err, errors.New("the store has no serde for its values"))
	}
	return KeyValueRef[K, V]{d}
}

// StampedTableRef is TableRef for values with the times of their rows. For the packages of this module.
func StampedTableRef[K, V any](name string, table any, key func() (serde.Serde[K], error), value func() (serde.Serde[V], error)) KeyValueRef[K, Stamped[V]] {
	return KeyValueRef[K, Stamped[V]]{&def[K, Stamped[V]]{
		spec: storespec.Spec{Name: name, Table: table},
		key:  key,
		rows: func() (values[Stamped[V]], error) {
			s, err := value()
			if err != nil {
				return nil, err
			}
			return newStamped(name, s)
		},
	}}
}

// TableRef returns a reference to the store of a table, which table, a node, makes. For the packages of this module.
func TableRef[K, V any](name string, table any, key func() (serde.Serde[K], error), value func() (serde.Serde[V], error)) KeyValueRef[K, V] {
	return KeyValueRef[K, V]{&def[K, V]{
		spec: storespec.Spec{Name: name, Table: table},
		key:  key,
		rows: func() (values[V], error) {
			s, err := value()
			if err != nil {
				return nil, err
			}
			return newPlain(name, s)
		},
	}}
}

// In opens the store: in a processor's constructor with its context, in tests with the driver, in an App with the App. Each goroutine
// opens its own. When the store cannot be opened, since the table keeps none, say, every call on what In returns says so; a processor
// that opens a store which its step does not list ends the task.
func (r KeyValueRef[K, V]) In(o Opener) KeyValue[K, V] {
	s, err := r.open(o)
	if err != nil {
		return &keyValue[K, V]{err: err}
	}
	return s
}

func (r KeyValueRef[K, V]) open(o Opener) (*keyValue[K, V], error) {
	if r.def == nil {
		return nil, errors.New("store: the reference is zero; make it with store.NewKeyValue or take it from a table")
	}
	d := r.def
	if o == nil {
		return nil, fmt.Errorf("store %q: it is opened with nil, not with a context, a driver or an App", d.spec.Name)
	}
	h, err := o.OpenStore(d.spec.Name)
	if err != nil {
		return nil, err
	}
	s := &keyValue[K, V]{name: d.spec.Name, rows: h.Bytes, now: h.Time}
	if h.Bytes == nil {
		return nil, s.wrapOpen(errors.New("it is no key-value store"))
	}
	s.keeper, _ = h.Bytes.(HeaderKeeper)
	s.current = h.Headers
	key, err := d.key()
	if err != nil {
		return nil, s.wrapOpen(err)
	}
	if s.key, err = rowserde.New(key, d.spec.Name, true); err != nil {
		return nil, s.wrapOpen(err)
	}
	if s.value, err = d.rows(); err != nil {
		return nil, s.wrapOpen(err)
	}
	s.timed = !h.Plain
	if _, ok := s.value.(interface{ timed() }); ok && h.Plain {
		return nil, s.wrapOpen(errors.New("it keeps no times: refer to it with store.NewKeyValue"))
	}
	return s, nil
}

// Dep returns the store's name.
func (r KeyValueRef[K, V]) Dep() string {
	if r.def == nil {
		return ""
	}
	return r.def.spec.Name
}

// Spec returns what r says of its store, nil for a zero reference. For the packages of this module.
func (r KeyValueRef[K, V]) Spec() *storespec.Spec {
	if r.def == nil {
		return nil
	}
	return &r.def.spec
}
