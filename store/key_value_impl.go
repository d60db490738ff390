package store

import (
	"iter"
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/timerange"
	"github.com/millstream-go/millstream/serde"
)

// keyValue is a store as a reference opens it. It uses its buffers again: Get and Put allocate
// nothing but what the serdes' Decode allocates.
type keyValue[K, V any] struct {
	storeErrors
	rows  storage.Bytes
	now   func() int64 // the time of the record being processed
	key   *codec.Codec[K]
	value values[V]
	timed bool // rows have times

	headerStore   storage.HeaderStore    // nil: the store keeps no headers
	recordHeaders func() storage.Headers // of the record being processed; nil outside of tasks
	err           error                  // why the store could not be opened
}

// values writes the values of a store: as they are (plain), or with times and headers that the user
// may set (timestamped).
type values[V any] interface {
	encode(v V, now func() int64) (b []byte, at int64, err error)
	decode(b []byte, at int64, h Headers) (V, error)
	headers(v V) Headers
}

type plain[V any] struct{ codec *codec.Codec[V] }

func newPlain[V any](store string, s serde.Serde[V]) (values[V], error) {
	valueCodec, err := codec.New(s, store, false, nil)
	return plain[V]{valueCodec}, err
}

func (p plain[V]) encode(v V, now func() int64) ([]byte, int64, error) {
	b, err := p.codec.Encode(v)
	return b, now(), err
}

func (p plain[V]) decode(b []byte, _ int64, _ Headers) (V, error) { return p.codec.Decode(b) }
func (p plain[V]) headers(V) Headers                              { return nil }

type timestamped[V any] struct{ codec *codec.Codec[V] }

func newTimestamped[V any](store string, s serde.Serde[V]) (values[Timestamped[V]], error) {
	valueCodec, err := codec.New(s, store, false, nil)
	return timestamped[V]{valueCodec}, err
}

func (p timestamped[V]) timed() {}

func (p timestamped[V]) encode(v Timestamped[V], now func() int64) ([]byte, int64, error) {
	b, err := p.codec.Encode(v.Value)
	if v.Time.IsZero() {
		return b, now(), err
	}
	if err == nil {
		err = timerange.Check(v.Time)
	}
	return b, v.Time.UnixMilli(), err
}

func (p timestamped[V]) decode(b []byte, at int64, h Headers) (Timestamped[V], error) {
	v, err := p.codec.Decode(b)
	return Timestamped[V]{Value: v, Time: rowTime(at), Headers: h}, err
}

func (p timestamped[V]) headers(v Timestamped[V]) Headers { return v.Headers }

// rowTime returns the time of a row. Rows that Kafka Streams restored from old changelogs may have
// none.
func rowTime(ms int64) time.Time {
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
	if s.headerStore != nil {
		if h, err = s.headerStore.LastHeaders(); err != nil {
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
	if s.headerStore != nil {
		s.headerStore.SetHeaders(s.headers(v))
	}
	if err := s.rows.Put(k, b, at); err != nil {
		return s.wrap("put", k, err)
	}
	return nil
}

// headers returns the headers that a row gets: those of its value, or those of the record being
// processed where values have none.
func (s *keyValue[K, V]) headers(v V) Headers {
	if _, isTimestamped := s.value.(interface{ timed() }); isTimestamped || s.recordHeaders == nil {
		return s.value.headers(v)
	}
	return s.recordHeaders()
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
	n, err := s.rows.Len()
	if err != nil {
		return 0, s.wrap("count", nil, err)
	}
	return n, nil
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
		return errorSeq[Row[K, V]](s.err)
	}
	r, err := keyRange(s.key, bounds, backward)
	if err != nil {
		return errorSeq[Row[K, V]](s.wrapOpen(err))
	}
	return s.scan(r)
}

// scan decodes rows as they are visited. It does not decode those that the loop does not come to.
func (s *keyValue[K, V]) scan(r storage.Range) iter.Seq2[Row[K, V], error] {
	return func(yield func(Row[K, V], error) bool) {
		for e, err := range s.rows.Scan(r) {
			row, err := s.row(e, err)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *keyValue[K, V]) row(e storage.Entry, err error) (Row[K, V], error) {
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
		row.Time = rowTime(e.Time)
	}
	return row, nil
}

func (s *keyValue[K, V]) encodeKey(key K) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	k, err := s.key.Encode(key)
	if err != nil {
		return nil, s.wrapKey(err)
	}
	return k, nil
}
