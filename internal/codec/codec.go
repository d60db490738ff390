// Package codec encodes and decodes the typed keys and values of stores and topics, with buffers
// that are used again.
package codec

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/serde"
)

// Codec encodes and decodes the keys or the values of one store. It belongs to one goroutine.
type Codec[T any] struct {
	serde     serde.Serde[T]
	buf       []byte
	copyInput bool   // decoded values may alias the store's memory
	block     []byte // what is left of the memory for copies
	onError   retry.Func
	context   string // for errors
	store     string // empty: not of a store
	isKey     bool
}

// New returns the codec of a store's keys or values. A serde that differs from topic to topic is
// bound to the store's changelog topic. try applies the failure policy to what cannot be encoded;
// nil: Encode returns the error.
func New[T any](s serde.Serde[T], store string, isKey bool, try retry.Func) (*Codec[T], error) {
	out, err := ForTopic(s, store+"-changelog", isKey, try)
	if err == nil {
		out.context = fmt.Sprintf("store %q: encode the ", store) + partName(isKey)
		out.store, out.isKey = store, isKey
	}
	return out, err
}

// FormatName returns the name of a serde's format; empty when it has none. See serde.Named.
func FormatName(s any) string {
	if n, ok := s.(serde.Named); ok {
		return n.FormatName()
	}
	return ""
}

func partName(isKey bool) string {
	if isKey {
		return "key"
	}
	return "value"
}

// ForTopic is New for keys or values that are written to a topic, or hashed to choose a partition
// of it.
func ForTopic[T any](s serde.Serde[T], topic string, isKey bool, try retry.Func) (*Codec[T], error) {
	if s == nil {
		return nil, errors.New("its serde is nil")
	}
	if b, ok := s.(serde.Bound[T]); ok {
		var err error
		if s, err = b.Bind(topic, isKey); err != nil {
			return nil, fmt.Errorf("bind its serde: %w", err)
		}
	}
	// The buffer is never nil. An empty key would be nil otherwise, which is no key.
	return &Codec[T]{serde: s, buf: make([]byte, 0, 64), copyInput: mayAlias(reflect.TypeFor[T](), 0), onError: try,
		context: fmt.Sprintf("encode the %s for %q", partName(isKey), topic)}, nil
}

// Encode returns the bytes of v, which are valid until the next Encode. An error is the failure
// policy's decision (package retry).
func (s *Codec[T]) Encode(v T) ([]byte, error) {
	b, err := s.encode(s.buf[:0], v)
	if err != nil {
		if b, err = s.retryEncode(s.buf[:0], v, err); err != nil {
			return nil, err
		}
	}
	s.buf = b
	return b, nil
}

// EncodeNew returns the bytes of v in new memory.
func (s *Codec[T]) EncodeNew(v T) ([]byte, error) {
	b, err := s.encode(make([]byte, 0, 16), v)
	if err != nil {
		b, err = s.retryEncode(nil, v, err)
	}
	return b, err
}

// encode appends v to dst. Neither dst nor the result is nil.
func (s *Codec[T]) encode(dst []byte, v T) ([]byte, error) {
	b, err := s.serde.Append(dst, v)
	if b == nil && err == nil {
		return dst, nil
	}
	return b, err
}

// retryEncode applies the failure policy to a value that cannot be encoded. It is apart from Encode
// because its closure captures v: within Encode, v would be allocated on each call.
func (s *Codec[T]) retryEncode(dst []byte, v T, err error) (b []byte, _ error) {
	if dst == nil {
		dst = []byte{}
	}
	err = s.onError.Do(s.wrap(err), func() (err error) {
		if b, err = s.encode(dst, v); err != nil {
			return s.wrap(err)
		}
		return nil
	})
	return b, err
}

func (s *Codec[T]) wrap(err error) error {
	if s.onError == nil { // the caller says where
		return quote.Error(err)
	}
	return fmt.Errorf("%s: %w", s.context, quote.Error(err))
}

// Copies of up to largestInBlock bytes share blocks: an allocation for each would be one for each record
// of a join. A value that is kept for long keeps its block, as one of a source keeps its fetched batch.
const (
	blockSize      = 4 << 10
	largestInBlock = blockSize / 8
)

// copyOf returns a copy of b that nobody changes later, with no room behind it.
func (s *Codec[T]) copyOf(b []byte) []byte {
	n := len(b)
	if n == 0 || n > largestInBlock {
		return bytes.Clone(b)
	}
	if n > len(s.block) {
		s.block = make([]byte, blockSize)
	}
	out := s.block[:n:n]
	s.block = s.block[n:]
	copy(out, b)
	return out
}

// Decode returns the value of b. b may be memory of a store, valid until the next call on the
// store, but the value stays valid: serde.Bytes returns the bytes that it gets, so it gets a copy.
//
// The bytes of a store were written by Encode. If they do not decode, or the serde panics, the
// store is to blame and not a record. The error is a DecodeError then.
func (s *Codec[T]) Decode(b []byte) (v T, err error) {
	if s.copyInput {
		b = s.copyOf(b)
	}
	if s.store == "" {
		return s.serde.Decode(b)
	}
	defer func() {
		if r := recover(); r != nil {
			what := quote.Text(fmt.Sprint(r))
			err = &DecodeError{
				Store: s.store, Err: fmt.Errorf("decode the %s: panic: %s\n\n%s", partName(s.isKey), what, debug.Stack()),
			}
		}
	}()
	if v, err = s.serde.Decode(b); err != nil {
		err = &DecodeError{Store: s.store, Err: quote.Error(err)}
	}
	return v, err
}

// A DecodeError is the error of a row that its store cannot have written. In a file that is damage,
// and the store is restored. If the restored row does not decode either, the failure policy decides
// about the record that led to it.
type DecodeError struct {
	Store string
	Err   error
}

func (e *DecodeError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the row.
func (e *DecodeError) Unwrap() error { return e.Err }

// Undecodable wraps an error about a row of a store in a DecodeError; nil stays nil.
func Undecodable(store string, err error) error {
	if err == nil {
		return nil
	}
	return &DecodeError{Store: store, Err: err}
}

// mayAlias reports whether a decoded value of type t may contain the bytes that it was decoded
// from. Only serde.Bytes returns its input, so there must be a slice of bytes somewhere in t.
func mayAlias(t reflect.Type, depth int) bool {
	if depth > 8 { // a type that contains itself, or nearly: copy
		return true
	}
	switch t.Kind() {
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8 || mayAlias(t.Elem(), depth+1)
	case reflect.Array, reflect.Pointer, reflect.Chan:
		return mayAlias(t.Elem(), depth+1)
	case reflect.Map:
		return mayAlias(t.Key(), depth+1) || mayAlias(t.Elem(), depth+1)
	case reflect.Struct:
		if t.PkgPath() == "time" { // time.Time has a pointer, to a Location
			return false
		}
		for i := range t.NumField() {
			if mayAlias(t.Field(i).Type, depth+1) {
				return true
			}
		}
		return false
	case reflect.Interface, reflect.Func:
		return true
	}
	return false
}

// Equal reports whether the encodings of two values are the same.
func (s *Codec[T]) Equal(a, b T) (bool, error) {
	both, err := s.Encode(a)
	if err != nil {
		return false, err
	}
	n := len(both)
	if both, err = s.encode(both, b); err != nil {
		if both, err = s.retryEncode(both[:n:n], b, err); err != nil {
			return false, err
		}
	}
	s.buf = both
	return string(both[:n]) == string(both[n:]), nil
}
