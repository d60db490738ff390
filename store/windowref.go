package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/serde"
)

// WindowRef names a window store and says what is in it, as KeyValueRef does for a key-value store.
type WindowRef[K, V any] struct{ def *laidDef[K, V] }

// SessionRef names a session store and says what is in it, as KeyValueRef does for a key-value store.
type SessionRef[K, V any] struct{ def *laidDef[K, V] }

// VersionedRef names a versioned store and says what is in it, as KeyValueRef does for a key-value store.
type VersionedRef[K, V any] struct{ def *laidDef[K, V] }

// laidDef is shared by the copies of a reference.
type laidDef[K, V any] struct {
	spec  storespec.Spec
	key   func() (serde.Serde[K], error)
	value func() (serde.Serde[V], error)
}

// NewWindow returns a reference to a window store of that name: rows have a key and the start of a window of the given size. Rows are
// kept until retention has passed, by the newest start that was put, since their window began; it must be at least size. Options:
// InMemory, NoChangelog, TopicConfig, Duplicates, KeepHeaders.
//
//	clicks := store.NewWindow("clicks", serde.String, serde.Int64, time.Minute, time.Hour)
func NewWindow[K, V any](name string, key serde.Serde[K], value serde.Serde[V], size, retention time.Duration, opts ...Option) WindowRef[K, V] {
	d := newLaid(name, storespec.Window, key, value, retention, opts, storespec.Duplicates)
	d.spec.Size = size
	if size < time.Millisecond || size%time.Millisecond != 0 || size > retention {
		d.fail(fmt.Errorf("the size of its windows is %v; it must be a whole number of milliseconds, at least 1ms and no longer than the retention, %v", size, retention))
	}
	return WindowRef[K, V]{d}
}

// NewSession returns a reference to a session store of that name: rows have a key, a start and an end. They are kept until retention has
// passed, by the newest end that was put, since their session ended. Options: InMemory, NoChangelog, TopicConfig,
// KeepHeaders.
func NewSession[K, V any](name string, key serde.Serde[K], value serde.Serde[V], retention time.Duration, opts ...Option) SessionRef[K, V] {
	return SessionRef[K, V]{newLaid(name, storespec.Session, key, value, retention, opts)}
}

// NewVersioned returns a reference to a versioned store of that name: each put is a version of its row that begins at a time. Versions
// can be read, and written, as far back from the newest time that was put as history says. Options: InMemory, NoChangelog, TopicConfig,
// KeepHeaders.
func NewVersioned[K, V any](name string, key serde.Serde[K], value serde.Serde[V], history time.Duration, opts ...Option) VersionedRef[K, V] {
	return VersionedRef[K, V]{newLaid(name, storespec.Versioned, key, value, history, opts)}
}

func newLaid[K, V any](name string, l storespec.Layout, key serde.Serde[K], value serde.Serde[V], retention time.Duration, opts []Option, more ...string) *laidDef[K, V] {
	d := &laidDef[K, V]{
		key:   func() (serde.Serde[K], error) { return key, nil },
		value: func() (serde.Serde[V], error) { return value, nil },
	}
	d.spec = storespec.Spec{Name: name, Layout: l, Retention: retention}
	d.spec.Settings, d.spec.Err = storespec.Read(opts, append(more, storespec.InMemory, storespec.NoChangelog, storespec.TopicConfig, storespec.Headers)...)
	if key == nil {
		d.fail(errors.New("the store has no serde for its keys"))
	}
	if value == nil {
		d.fail(errors.New("the store has no serde for its values"))
	}
	if retention < time.Millisecond || retention%time.Millisecond != 0 {
		d.fail(fmt.Errorf("its rows are kept for %v; it must be a whole number of milliseconds, at least 1ms", retention))
	}
	return d
}

func (d *laidDef[K, V]) fail(err error) { d.spec.Err = errors.Join(d.spec.Err, err) }

// WindowTableRef returns a reference to the window store of a table, which table, a node, makes. For the packages of this module, like
// SessionTableRef and VersionedTableRef.
func WindowTableRef[K, V any](name string, table any, key func() (serde.Serde[K], error), value func() (serde.Serde[V], error)) WindowRef[K, V] {
	return WindowRef[K, V]{tableLaid(name, storespec.Window, table, key, value)}
}

// SessionTableRef is WindowTableRef for session stores.
func SessionTableRef[K, V any](name string, table any, key func() (serde.Serde[K], error), value func() (serde.Serde[V], error)) SessionRef[K, V] {
	return SessionRef[K, V]{tableLaid(name, storespec.Session, table, key, value)}
}

// VersionedTableRef is WindowTableRef for versioned stores.
func VersionedTableRef[K, V any](name string, table any, key func() (serde.Serde[K], error), value func() (serde.Serde[V], error)) VersionedRef[K, V] {
	return VersionedRef[K, V]{tableLaid(name, storespec.Versioned, table, key, value)}
}

func tableLaid[K, V any](name string, l storespec.Layout, table any, key func() (serde.Serde[K], error), value func() (serde.Serde[V], error)) *laidDef[K, V] {
	return &laidDef[K, V]{spec: storespec.Spec{Name: name, Layout: l, Table: table}, key: key, value: value}
}

// In opens the store, as KeyValueRef.In does.
func (r WindowRef[K, V]) In(o Opener) Window[K, V] {
	s := &windows[K, V]{}
	s.open(o, r.def)
	if s.err == nil && s.handle.Windows == nil {
		s.err = s.wrapOpen(errors.New("it is no window store"))
	}
	s.rows = s.handle.Windows
	return s
}

// In opens the store, as KeyValueRef.In does.
func (r SessionRef[K, V]) In(o Opener) Session[K, V] {
	s := &sessions[K, V]{}
	s.open(o, r.def)
	if s.err == nil && s.handle.Sessions == nil {
		s.err = s.wrapOpen(errors.New("it is no session store"))
	}
	s.rows = s.handle.Sessions
	return s
}

// In opens the store, as KeyValueRef.In does.
func (r VersionedRef[K, V]) In(o Opener) Versioned[K, V] {
	s := &versions[K, V]{}
	s.open(o, r.def)
	if s.err == nil && s.handle.Versions == nil {
		s.err = s.wrapOpen(errors.New("it is no versioned store"))
	}
	s.rows = s.handle.Versions
	return s
}

// Dep returns the store's name.
func (r WindowRef[K, V]) Dep() string { return r.def.name() }

// Dep returns the store's name.
func (r SessionRef[K, V]) Dep() string { return r.def.name() }

// Dep returns the store's name.
func (r VersionedRef[K, V]) Dep() string { return r.def.name() }

// Spec returns what r says of its store, nil for a zero reference. For the packages of this module.
func (r WindowRef[K, V]) Spec() *storespec.Spec { return r.def.specOf() }

// Spec returns what r says of its store, nil for a zero reference. For the packages of this module.
func (r SessionRef[K, V]) Spec() *storespec.Spec { return r.def.specOf() }

// Spec returns what r says of its store, nil for a zero reference. For the packages of this module.
func (r VersionedRef[K, V]) Spec() *storespec.Spec { return r.def.specOf() }

func (d *laidDef[K, V]) name() string {
	if d == nil {
		return ""
	}
	return d.spec.Name
}

func (d *laidDef[K, V]) specOf() *storespec.Spec {
	if d == nil {
		return nil
	}
	return &d.spec
}

// laid is what the stores of this package have in common that are no key-value stores. Its buffers are used again.
type laid[K, V any] struct {
	name   string
	handle Handle
	key    *rowserde.Side[K]
	value  *rowserde.Side[V]
	err    error // why it could not be opened
}

func (s *laid[K, V]) open(o Opener, d *laidDef[K, V]) {
	switch {
	case d == nil:
		s.err = errors.New("store: the reference is zero; make it with a function of package store or take it from a table")
		return
	case o == nil:
		s.err = fmt.Errorf("store %q: it is opened with nil, not with a context, a driver or an App", d.spec.Name)
		return
	}
	s.name = d.spec.Name
	if s.handle, s.err = o.OpenStore(s.name); s.err != nil {
		return
	}
	if s.err = s.serdes(d); s.err != nil {
		s.err = s.wrapOpen(s.err)
	}
}

func (s *laid[K, V]) serdes(d *laidDef[K, V]) error {
	key, err := d.key()
	if err != nil {
		return err
	}
	if s.key, err = rowserde.New(key, s.name, true); err != nil {
		return err
	}
	value, err := d.value()
	if err != nil {
		return err
	}
	s.value, err = rowserde.New(value, s.name, false)
	return err
}

func (s *laid[K, V]) wrapOpen(err error) error { return fmt.Errorf("store %q: %w", s.name, err) }

func (s *laid[K, V]) wrap(what string, key []byte, err error) error {
	return fmt.Errorf("store %q, key %q: %s: %w", s.name, key, what, err)
}

func (s *laid[K, V]) encode(key K) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	k, err := s.key.Encode(key)
	if err != nil {
		return nil, fmt.Errorf("store %q: encode the key: %w", s.name, err)
	}
	return k, nil
}

// both encodes a key and a value.
func (s *laid[K, V]) both(key K, v V) (k, b []byte, err error) {
	if k, err = s.encode(key); err != nil {
		return nil, nil, err
	}
	if b, err = s.value.Encode(v); err != nil {
		err = s.wrap("encode the value", k, err)
	}
	if s.handle.Headers != nil {
		if keep := Keep(s.handle.rows()); keep != nil {
			keep(s.handle.Headers())
		}
	}
	return k, b, err
}

func (s *laid[K, V]) decode(k, b []byte) (V, error) {
	v, err := s.value.Decode(b)
	if err != nil {
		err = s.wrap("decode the value", k, err)
	}
	return v, err
}

// now is the time that rows are written with.
func (s *laid[K, V]) now() int64 { return s.handle.Time() }

// kept counts a row that was not, since it is older than what the store keeps.
func (s *laid[K, V]) kept(ok bool) {
	if !ok && s.handle.Expired != nil {
		s.handle.Expired()
	}
}

// from returns the first millisecond that is t or after it.
func from(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}
