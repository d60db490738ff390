package op

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/window"
)

// SessionRows are the rows of a table of sessions in its store. What WindowRows says holds here too.
type SessionRows[K, A any] struct {
	name  string
	store store.SessionBytes
	keep  func(store.Headers) // nil: the store keeps none
	key   *rowserde.Side[K]
	value *rowserde.Side[A]

	at []byte // the encoded key that of was given
}

// OpenSessions returns the rows of a session store.
func OpenSessions[K, A any](name string, b store.SessionBytes, key serde.Serde[K], value serde.Serde[A]) (*SessionRows[K, A], error) {
	s := &SessionRows[K, A]{name: name, store: b, keep: store.Keep(b)}
	var err error
	s.key, s.value, err = sides(name, key, value)
	return s, err
}

// Keep says which headers the rows get that are saved from now on, if the store keeps any.
func (s *SessionRows[K, A]) Keep(h store.Headers) {
	if s.keep != nil {
		s.keep(h)
	}
}

// Settled tells the store that what it had when ObservedTime was at has settled.
func (s *SessionRows[K, A]) Settled(at int64) error { return s.store.Observe(at) }

// ObservedTime is the store's.
func (s *SessionRows[K, A]) ObservedTime() int64 { return s.store.ObservedTime() }

// Get returns the row of k: a wire.Getter. Its time is the session's end.
func (s *SessionRows[K, A]) Get(k window.Key[K]) (a A, at int64, ok bool, err error) {
	if err := s.of(k.Key); err != nil {
		return a, 0, false, err
	}
	start, end := k.Start.UnixMilli(), k.End.UnixMilli()
	raw, ok, err := s.store.Get(s.at, start, end)
	if err != nil {
		return a, 0, false, s.wrap("get", start, end, err)
	}
	if !ok {
		return a, 0, false, nil
	}
	a, err = s.decode(raw, start, end)
	return a, end, true, err
}

func (s *SessionRows[K, A]) of(k K) (err error) {
	if s.at, err = s.key.Encode(k); err != nil {
		return &RecordError{fmt.Errorf("store %q: encode the key: %w", s.name, err)}
	}
	return nil
}

func (s *SessionRows[K, A]) decode(raw []byte, start, end int64) (A, error) {
	a, err := s.value.Decode(raw)
	if err != nil {
		return a, s.wrap("decode the value", start, end, err)
	}
	return a, nil
}

func (s *SessionRows[K, A]) save(start, end int64, a A, at int64) (kept bool, err error) {
	b, err := s.value.Encode(a)
	if err != nil {
		return false, &RecordError{s.wrap("encode the value", start, end, err)}
	}
	if kept, err = s.store.Put(s.at, start, end, b, at); err != nil {
		return false, &RecordError{s.wrap("put", start, end, err)}
	}
	return kept, nil
}

func (s *SessionRows[K, A]) remove(start, end, at int64) error {
	if err := s.store.Delete(s.at, start, end, at); err != nil {
		return &RecordError{s.wrap("delete", start, end, err)}
	}
	return nil
}

func (s *SessionRows[K, A]) wrap(what string, start, end int64, err error) error {
	return fmt.Errorf("store %q, key %q, session from %d to %d: %s: %w", s.name, s.at, start, end, what, err)
}
