package store

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/timerange"
	"github.com/millstream-go/millstream/serde"
)

// WindowRef names a window store and its types, as KeyValueRef does for a key-value store.
type WindowRef[K, V any] struct{ segmentedRef[K, V] }

// SessionRef names a session store and its types, as KeyValueRef does for a key-value store.
type SessionRef[K, V any] struct{ segmentedRef[K, V] }

// VersionedRef names a versioned store and its types, as KeyValueRef does for a key-value store.
type VersionedRef[K, V any] struct{ segmentedRef[K, V] }

// segmentedRef is a reference to a window, session or versioned store.
type segmentedRef[K, V any] struct {
	storeRef
	serdes *serdes[K, V]
}

// NewWindow returns a reference to a window store of that name: a row has a key and the start of a
// window of the given size. Rows are kept until the newest start that was put is retention after
// their own; retention must be at least size. Options: InMemory, NoChangelog, TopicConfig,
// Duplicates, KeepHeaders.
//
//	clicks := store.NewWindow("clicks", serde.String, serde.Int64, time.Minute, time.Hour)
func NewWindow[K, V any](
	name string, key serde.Serde[K], value serde.Serde[V], size, retention time.Duration, opts ...Option,
) WindowRef[K, V] {
	s, ref := newSegmented(spec.WindowStore, name, key, value, retention, opts, spec.OptionDuplicates)
	s.Size = size
	if s.Table == nil && (size < time.Millisecond || size%time.Millisecond != 0 || size > retention) {
		addError(s, fmt.Errorf("the size of its windows is %v; it must be a whole number of milliseconds, at least 1ms "+
			"and no longer than the retention, %v", size, retention))
	}
	return WindowRef[K, V]{ref}
}

// NewSession returns a reference to a session store of that name: a row has a key, a start and an
// end. Rows are kept until the newest end that was put is retention after their own. Options:
// InMemory, NoChangelog, TopicConfig, KeepHeaders.
func NewSession[K, V any](
	name string, key serde.Serde[K], value serde.Serde[V], retention time.Duration, opts ...Option,
) SessionRef[K, V] {
	_, ref := newSegmented(spec.SessionStore, name, key, value, retention, opts)
	return SessionRef[K, V]{ref}
}

// NewVersioned returns a reference to a versioned store of that name: each put is a version of its
// row that begins at a time. Versions can be read and written as far back as history before the
// newest time that was put. Options: InMemory, NoChangelog, TopicConfig, KeepHeaders.
func NewVersioned[K, V any](
	name string, key serde.Serde[K], value serde.Serde[V], history time.Duration, opts ...Option,
) VersionedRef[K, V] {
	_, ref := newSegmented(spec.VersionedStore, name, key, value, history, opts)
	return VersionedRef[K, V]{ref}
}

func newSegmented[K, V any](
	kind spec.StoreKind, name string, key serde.Serde[K], value serde.Serde[V], retention time.Duration,
	opts []Option, more ...string,
) (*spec.Store, segmentedRef[K, V]) {
	s, serdes := newSpec(kind, name, key, value, opts, more...)
	s.Retention = retention
	valid := retention >= time.Millisecond && retention%time.Millisecond == 0 && retention <= spec.Forever
	if s.Table == nil && !valid {
		addError(s, fmt.Errorf("its rows are kept for %v; it must be a whole number of milliseconds, at least 1ms and at "+
			"most 200 years", retention))
	}
	return s, segmentedRef[K, V]{spec.NewStoreRef(s), &serdes}
}

// In opens the store, as KeyValueRef.In does.
func (r WindowRef[K, V]) In(o Opener) Window[K, V] {
	s := &windowStore[K, V]{segmented: r.open(o)}
	s.rows = s.handle.Windows
	if s.err == nil && s.rows == nil {
		s.err = s.wrapOpen(errors.New("it is not a window store"))
	}
	return s
}

// In opens the store, as KeyValueRef.In does.
func (r SessionRef[K, V]) In(o Opener) Session[K, V] {
	s := &sessionStore[K, V]{segmented: r.open(o)}
	s.rows = s.handle.Sessions
	if s.err == nil && s.rows == nil {
		s.err = s.wrapOpen(errors.New("it is not a session store"))
	}
	return s
}

// In opens the store, as KeyValueRef.In does.
func (r VersionedRef[K, V]) In(o Opener) Versioned[K, V] {
	s := &versionedStore[K, V]{segmented: r.open(o)}
	s.rows = s.handle.Versions
	if s.err == nil && s.rows == nil {
		s.err = s.wrapOpen(errors.New("it is not a versioned store"))
	}
	return s
}

// segmented is what windowStore, sessionStore and versionedStore have in common. It uses its
// buffers again.
type segmented[K, V any] struct {
	storeErrors
	handle storage.Handle
	key    *codec.Codec[K]
	value  *codec.Codec[V]
	err    error // why the store could not be opened
}

// open opens the store. An error is in the result, for each call on the store to return.
func (r segmentedRef[K, V]) open(o Opener) (s segmented[K, V]) {
	if r.serdes == nil {
		s.err = errors.New("store: the reference is zero; make it with a function of package store or get it from a table")
		return s
	}
	name := r.DependencyName()
	if o == nil {
		s.err = errNilOpener(name)
		return s
	}
	s.storeErrors = storeErrors(name)
	if s.handle, s.err = o.OpenStore(name); s.err != nil {
		return s
	}
	if s.key, s.value, s.err = r.serdes.codecs(name); s.err != nil {
		s.err = s.wrapOpen(s.err)
	}
	return s
}

func (d *serdes[K, V]) codecs(store string) (keys *codec.Codec[K], values *codec.Codec[V], err error) {
	key, err := d.key()
	if err != nil {
		return nil, nil, err
	}
	if keys, err = codec.New(key, store, true, nil); err != nil {
		return nil, nil, err
	}
	value, err := d.value()
	if err != nil {
		return nil, nil, err
	}
	values, err = codec.New(value, store, false, nil)
	return keys, values, err
}

func (s *segmented[K, V]) encode(key K) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	k, err := s.key.Encode(key)
	if err != nil {
		return nil, s.wrapKey(err)
	}
	return k, nil
}

// encodeRow encodes a row that is about to be put, and checks its times. Where the store keeps
// headers, the row gets those of the record being processed.
func (s *segmented[K, V]) encodeRow(key K, v V, times ...time.Time) (k, b []byte, err error) {
	if k, err = s.encode(key); err != nil {
		return nil, nil, err
	}
	if b, err = s.value.Encode(v); err != nil {
		return nil, nil, s.wrap("encode the value", k, err)
	}
	if err := s.checkTimes(k, times...); err != nil {
		return nil, nil, err
	}
	if s.handle.Headers != nil {
		if setHeaders := storage.HeaderSetter(s.handle.Segmented()); setHeaders != nil {
			setHeaders(s.handle.Headers())
		}
	}
	return k, b, nil
}

// putResult returns the error of a put. It counts a row that was not written because it had
// expired.
func (s *segmented[K, V]) putResult(k []byte, written bool, err error) error {
	if err != nil {
		return s.wrap("put", k, err)
	}
	s.countExpired(written)
	return nil
}

// decodeRow returns what a get of the row of key k found.
func (s *segmented[K, V]) decodeRow(k, b []byte, ok bool, err error) (v V, _ bool, _ error) {
	if err != nil {
		return v, false, s.wrap("get", k, err)
	}
	if !ok {
		return v, false, nil
	}
	v, err = s.decode(k, b)
	return v, err == nil, err
}

func (s *segmented[K, V]) decode(k, b []byte) (V, error) {
	v, err := s.value.Decode(b)
	if err != nil {
		err = s.wrap("decode the value", k, err)
	}
	return v, err
}

// checkTimes returns an error about times that rows cannot have.
func (s *segmented[K, V]) checkTimes(key []byte, times ...time.Time) error {
	for _, t := range times {
		if err := timerange.Check(t); err != nil {
			return s.wrap("put", key, err)
		}
	}
	return nil
}

// writeTime returns the time that rows are written with.
func (s *segmented[K, V]) writeTime() int64 { return s.handle.Time() }

// countExpired counts a row that was put and not written, because it had expired.
func (s *segmented[K, V]) countExpired(written bool) {
	if !written && s.handle.OnExpired != nil {
		s.handle.OnExpired()
	}
}

// ceilMillis returns the first millisecond that is t or after it: the lower end of a range of
// times. The zero Time is no bound.
func ceilMillis(t time.Time) int64 {
	if t.IsZero() {
		return math.MinInt64
	}
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}

// floorMillis returns the last millisecond that is t or before it: the upper end of a range of
// times. The zero Time is no bound.
func floorMillis(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return t.UnixMilli()
}
