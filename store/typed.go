package store

import (
	"fmt"
	"iter"
	"time"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/serde"
)

// keyValue is a store as a reference opens it. Its buffers are used again: Get and Put do not allocate beyond what the
// serdes' Decode does.
type keyValue[K, V any] struct {
	name  string
	rows  Bytes
	now   func() int64
	key   *rowserde.Side[K]
	value values[V]
	timed bool

	keeper  HeaderKeeper // nil: it keeps none
	current func() Headers
	err     error // why it could not be opened
}

// values is how the values of a store are written: as they are, or with the time of the row.
type values[V any] interface {
	encode(v V, now func() int64) (b []byte, at int64, err error)
	decode(b []byte, at int64, h Headers) (V, error)
	headers(v V) Headers
}

type plain[V any] struct{ side *rowserde.Side[V] }

func newPlain[V any](store string, s serde.Serde[V]) (values[V], error) {
	side, err := rowserde.New(s, store, false)
	return plain[V]{side}, err
}

func (p plain[V]) encode(v V, now func() int64) ([]byte, int64, error) {
	b, err := p.side.Encode(v)
	return b, now(), err
}

func (p plain[V]) decode(b []byte, _ int64, _ Headers) (V, error) { return p.side.Decode(b) }
func (p plain[V]) headers(V) Headers                              { return nil }

type stamped[V any] struct{ side *rowserde.Side[V] }

func newStamped[V any](store string, s serde.Serde[V]) (values[Stamped[V]], error) {
	side, err := rowserde.New(s, store, false)
	return stamped[V]{side}, err
}

func (p stamped[V]) timed() {}

func (p stamped[V]) encode(v Stamped[V], now func() int64) ([]byte, int64, error) {
	b, err := p.side.Encode(v.Value)
	if v.Time.IsZero() {
		return b, now(), err
	}
	return b, v.Time.UnixMilli(), err
}

func (p stamped[V]) decode(b []byte, at int64, h Headers) (Stamped[V], error) {
	v, err := p.side.Decode(b)
	return Stamped[V]{Value: v, Time: moment(at), Headers: h}, err
}

func (p stamped[V]) headers(v Stamped[V]) Headers { return v.Headers }

// moment is the time of a row; rows that Kafka Streams restored from old changelogs may have none.
func moment(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (s *keyValue[K, V]) Get(key K) (v V, ok bool, err error) {
	k, err := s.encodeKey(key)
	if err != nil {
		return v, false, err
	}
	return s.get(k)
}

func (s *keyValue[K, V]) get(k []byte) (v V, ok bool, err error) {
	b, at, ok, err := s.rows.Get(k)
	if err != nil {
		return v, false, s.wrap("get", k, err)
	}
	if !ok {
		return v, false, nil
	}
	var h Headers
	if s.keeper != nil {
		if h, err = s.keeper.Kept(); err != nil {
			return v, false, s.wrap("get", k, err)
		}
	}
	if v, err = s.value.decode(b, at, h); err != nil {
		return v, false, s.wrap("decode the value", k, err)
	}
	return v, true, nil
}

func (s *keyValue[K, V]) Put(key K, v V) error {
	k, err := s.encodeKey(key)
	if err != nil {
		return err
	}
	return s.put(k, v)
}

func (s *keyValue[K, V]) put(k []byte, v V) error {
	b, at, err := s.value.encode(v, s.now)
	if err != nil {
		return s.wrap("encode the value", k, err)
	}
	if s.keeper != nil {
		s.keeper.Keep(s.headers(v))
	}
	if err := s.rows.Put(k, b, at); err != nil {
		return s.wrap("put", k, err)
	}
	return nil
}

// headers are those that a row gets: its value's, or where values have none those of the record being processed.
func (s *keyValue[K, V]) headers(v V) Headers {
	if _, own := s.value.(interface{ timed() }); own || s.current == nil {
		return s.value.headers(v)
	}
	return s.current()
}

func (s *keyValue[K, V]) PutIfAbsent(key K, v V) (old V, present bool, err error) {
	k, err := s.encodeKey(key)
	if err != nil {
		return old, false, err
	}
	if old, present, err = s.get(k); present || err != nil {
		return old, present, err
	}
	return old, false, s.put(k, v)
}

func (s *keyValue[K, V]) Delete(key K) error {
	k, err := s.encodeKey(key)
	if err != nil {
		return err
	}
	if err := s.rows.Delete(k, s.now()); err != nil {
		return s.wrap("delete", k, err)
	}
	return nil
}

func (s *keyValue[K, V]) Len() (int64, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.rows.Len()
}

func (s *keyValue[K, V]) All() iter.Seq2[Row[K, V], error] { return s.Range() }

func (s *keyValue[K, V]) Range(bounds ...Bound[K]) iter.Seq2[Row[K, V], error] {
	return s.bounded(bounds, false)
}

func (s *keyValue[K, V]) Backward(bounds ...Bound[K]) iter.Seq2[Row[K, V], error] {
	return s.bounded(bounds, true)
}

func (s *keyValue[K, V]) bounded(bounds []Bound[K], backward bool) iter.Seq2[Row[K, V], error] {
	if s.err != nil {
		return s.failing(s.err)
	}
	r := Range{Backward: backward}
	for _, b := range bounds {
		// In memory of its own: the scan outlives other calls, which use the buffer.
		k, err := s.key.Fresh(b.key)
		switch {
		case err != nil:
			return s.failing(s.wrap("encode a bound", nil, err))
		case b.end == lower && r.From == nil:
			r.From, r.FromAfter = k, b.excluded
		case b.end == upper && r.To == nil:
			r.To, r.ToBefore = k, b.excluded
		case b.end == noEnd:
			return s.failing(s.wrap("scan", k, fmt.Errorf("a bound is zero; make it with From, Above, To or Below")))
		default:
			return s.failing(s.wrap("scan", k, fmt.Errorf("the range has two bounds at one end")))
		}
	}
	return s.scan(r)
}

// scan decodes rows as they are visited: those that the loop does not come to are not decoded.
func (s *keyValue[K, V]) scan(r Range) iter.Seq2[Row[K, V], error] {
	return func(yield func(Row[K, V], error) bool) {
		for e, err := range s.rows.Scan(r) {
			row, err := s.row(e, err)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *keyValue[K, V]) row(e Entry, err error) (Row[K, V], error) {
	if err != nil {
		return Row[K, V]{}, s.wrap("scan", e.Key, err)
	}
	k, err := s.key.Decode(e.Key)
	if err != nil {
		return Row[K, V]{}, s.wrap("decode the key", e.Key, err)
	}
	v, err := s.value.decode(e.Value, e.Time, e.Headers)
	if err != nil {
		return Row[K, V]{}, s.wrap("decode the value", e.Key, err)
	}
	row := Row[K, V]{Key: k, Value: v, Headers: e.Headers}
	if s.timed {
		row.Time = moment(e.Time)
	}
	return row, nil
}

func (s *keyValue[K, V]) failing(err error) iter.Seq2[Row[K, V], error] {
	return func(yield func(Row[K, V], error) bool) { yield(Row[K, V]{}, err) }
}

func (s *keyValue[K, V]) encodeKey(key K) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	k, err := s.key.Encode(key)
	if err != nil {
		return nil, fmt.Errorf("store %q: encode the key: %w", s.name, err)
	}
	return k, nil
}

func (s *keyValue[K, V]) wrap(what string, key []byte, err error) error {
	return fmt.Errorf("store %q, key %q: %s: %w", s.name, key, what, err)
}

func (s *keyValue[K, V]) wrapOpen(err error) error {
	return fmt.Errorf("store %q: %w", s.name, err)
}
