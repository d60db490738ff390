package operator

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/window"
)

// SessionRows reads and writes the rows of a table of sessions in its store. Its buffers are
// reused, so each operator opens its own. Owned by the task's goroutine.
type SessionRows[K, A any] struct {
	storeRows[K, A]
	store storage.SessionBytes
}

// OpenSessions returns the rows of a session store. try is as for Open.
func OpenSessions[K, A any](
	name string, b storage.SessionBytes, key serde.Serde[K], value serde.Serde[A], try retry.Func,
) (*SessionRows[K, A], error) {
	rows, err := openStoreRows(name, b, key, value, try)
	return &SessionRows[K, A]{rows, b}, err
}

// Settled tells the store that everything it had when ObservedTime was at has settled, so rows that
// expire by that time may be dropped.
func (s *SessionRows[K, A]) Settled(at int64) error { return s.store.Observe(at) }

// ObservedTime returns the greatest time that was put into the store.
func (s *SessionRows[K, A]) ObservedTime() int64 { return s.store.ObservedTime() }

// Get returns the row of windowed. It is a wire.Getter. The row's time is the session's end.
func (s *SessionRows[K, A]) Get(windowed window.Key[K]) (agg A, at int64, ok bool, err error) {
	if err := s.setKey(windowed.Key); err != nil {
		return agg, 0, false, err
	}
	start, end := windowed.Start.UnixMilli(), windowed.End.UnixMilli()
	raw, ok, err := s.store.Get(s.keyBytes, start, end)
	if err != nil {
		return agg, 0, false, s.wrap("get", start, end, err)
	}
	if !ok {
		return agg, 0, false, nil
	}
	agg, err = s.decode(raw, start, end)
	return agg, end, true, err
}

func (s *SessionRows[K, A]) decode(raw []byte, start, end int64) (A, error) {
	a, err := s.value.Decode(raw)
	if err != nil {
		return a, s.wrap("decode the value", start, end, err)
	}
	return a, nil
}

func (s *SessionRows[K, A]) save(start, end int64, agg A, at int64) (stored bool, err error) {
	b, err := s.value.Encode(agg)
	if err != nil {
		return false, err
	}
	if stored, err = s.store.Put(s.keyBytes, start, end, b, at); err != nil {
		return s.putAgain(start, end, b, at, err)
	}
	return stored, nil
}

func (s *SessionRows[K, A]) putAgain(start, end int64, b []byte, at int64, err error) (stored bool, _ error) {
	err = onRowError(s.try, s.wrapFor(start, end), "put", err, func() (err error) {
		stored, err = s.store.Put(s.keyBytes, start, end, b, at)
		return err
	})
	return stored, err
}

func (s *SessionRows[K, A]) remove(start, end, at int64) error {
	if err := s.store.Delete(s.keyBytes, start, end, at); err != nil {
		return onRowError(
			s.try, s.wrapFor(start, end), "delete", err, func() error { return s.store.Delete(s.keyBytes, start, end, at) },
		)
	}
	return nil
}

func (s *SessionRows[K, A]) wrapFor(start, end int64) func(string, error) error {
	return func(what string, err error) error { return s.wrap(what, start, end, err) }
}

func (s *SessionRows[K, A]) wrap(what string, start, end int64, err error) error {
	return fmt.Errorf(
		"store %q, key %s, session from %d to %d: %s: %w", s.name, quote.Key(s.keyBytes), start, end, what, err,
	)
}
