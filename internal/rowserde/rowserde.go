// Package rowserde encodes and decodes the keys and values of stores, typed, with buffers that are used again.
package rowserde

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/millstream-go/millstream/serde"
)

// Side is the keys or the values of one store. Owned by one goroutine.
type Side[T any] struct {
	serde serde.Serde[T]
	buf   []byte
	copy  bool // decoded values may alias the store's memory
}

// New returns the keys or values of a store. A serde that is another one for each topic is bound to the store's changelog.
func New[T any](s serde.Serde[T], store string, isKey bool) (*Side[T], error) {
	return ForTopic(s, store+"-changelog", isKey)
}

// ForTopic is New for what is written to a topic, or hashed as if it were.
func ForTopic[T any](s serde.Serde[T], topic string, isKey bool) (*Side[T], error) {
	if s == nil {
		return nil, errors.New("its serde is nil")
	}
	if b, ok := s.(serde.Bound[T]); ok {
		var err error
		if s, err = b.Bind(topic, isKey); err != nil {
			return nil, fmt.Errorf("bind its serde: %w", err)
		}
	}
	// The buffer is never nil: an empty key is a key, and a nil one would be none.
	return &Side[T]{serde: s, buf: make([]byte, 0, 64), copy: mayAlias(reflect.TypeFor[T](), 0)}, nil
}

// Encode returns the bytes of v, which live until the next Encode.
func (s *Side[T]) Encode(v T) ([]byte, error) {
	b, err := s.serde.Append(s.buf[:0], v)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return s.buf[:0], nil
	}
	s.buf = b
	return b, nil
}

// Fresh returns the bytes of v in memory of their own.
func (s *Side[T]) Fresh(v T) ([]byte, error) {
	b, err := s.serde.Append(make([]byte, 0, 16), v)
	if b == nil && err == nil {
		b = []byte{}
	}
	return b, err
}

// Decode returns the value of b, which belongs to a store and lives until the next call on it. The value lives on: serde.Bytes
// keeps what it is given, so it gets a copy.
func (s *Side[T]) Decode(b []byte) (T, error) {
	if s.copy {
		b = bytes.Clone(b)
	}
	return s.serde.Decode(b)
}

// mayAlias is whether a value of type t can hold the bytes it was decoded from. Only serde.Bytes keeps them, so there must be a
// slice of bytes somewhere in t.
func mayAlias(t reflect.Type, depth int) bool {
	if depth > 8 {
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
		if t.PkgPath() == "time" {
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

// Equal says whether two values are one: whether their bytes are.
func (s *Side[T]) Equal(a, b T) (bool, error) {
	buf, err := s.serde.Append(s.buf[:0], a)
	if err != nil {
		return false, err
	}
	n := len(buf)
	if buf, err = s.serde.Append(buf, b); err != nil {
		return false, err
	}
	s.buf = buf
	return string(buf[:n]) == string(buf[n:]), nil
}
