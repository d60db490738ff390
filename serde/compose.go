package serde

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Func returns a serde of two functions, which keep the contracts of Serde's methods. One that is only read or only written may
// leave the other function nil; using it then is an error.
func Func[T any](append func(dst []byte, v T) ([]byte, error), decode func(b []byte) (T, error)) Serde[T] {
	return funcSerde[T]{append, decode}
}

type funcSerde[T any] struct {
	append func([]byte, T) ([]byte, error)
	decode func([]byte) (T, error)
}

func (s funcSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	if s.append == nil {
		return dst, errors.New("serde.Func: made without a function to append, so it can only read")
	}
	return s.append(dst, v)
}

func (s funcSerde[T]) Decode(b []byte) (v T, err error) {
	if s.decode == nil {
		return v, errors.New("serde.Func: made without a function to decode, so it can only write")
	}
	return s.decode(b)
}

// Slice returns the serde of lists of what e encodes, in the format of Kafka's ListSerde: elements of the integer, float and UUID
// serdes of this package stand without lengths, others with one each. A list of no elements has an encoding of its own: a nil
// slice is written as an empty one, and an empty one comes back not nil.
//
// Java's lists may hold nulls; a slice of T cannot, so Decode refuses those. Elements decoded by Bytes alias b.
//
// The list of a Bound is a Bound, and Slice of a nil serde is nil, so that Build can report it.
func Slice[T any](e Serde[T]) Serde[[]T] {
	if e == nil {
		return nil
	}
	s := sliceSerde[T]{e, fixedSize(e)}
	if b, ok := e.(Bound[T]); ok {
		return boundSlice[T]{s, b}
	}
	return s
}

type boundSlice[T any] struct {
	sliceSerde[T]
	bound Bound[T]
}

func (s boundSlice[T]) Bind(topic string, isKey bool) (Serde[[]T], error) {
	e, err := s.bound.Bind(topic, isKey)
	if err != nil {
		return nil, err
	}
	return Slice(e), nil
}

// sliceSerde holds the element's size in bytes, or 0 when it varies.
type sliceSerde[T any] struct {
	elem Serde[T]
	size int
}

// The first byte of a list says how its elements stand.
const (
	constantSize = 0
	variableSize = 1
)

// nullLength stands in place of the length of a null element.
const nullLength = -1

// fixedSize returns the size of e's encodings if Kafka's ListSerde takes them as of constant size, else 0. Bool is not on
// Kafka's list, though each takes one byte.
func fixedSize(e any) int {
	switch e.(type) {
	case int16Serde:
		return 2
	case int32Serde, float32Serde:
		return 4
	case int64Serde, float64Serde:
		return 8
	case uuidSerde:
		return uuidLen
	}
	return 0
}

func (s sliceSerde[T]) Append(dst []byte, v []T) ([]byte, error) {
	start := len(dst)
	if s.size > 0 {
		dst = append(dst, constantSize, 0, 0, 0, 0) // no indexes of nulls
	} else {
		dst = append(dst, variableSize)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
	for i := range v {
		var err error
		if dst, err = s.appendElem(dst, v[i]); err != nil {
			return dst[:min(start, len(dst))], fmt.Errorf("serde.Slice: element %d: %w", i, err)
		}
	}
	return dst, nil
}

func (s sliceSerde[T]) appendElem(dst []byte, v T) ([]byte, error) {
	if s.size > 0 {
		return s.elem.Append(dst, v)
	}
	at := len(dst)
	dst, err := s.elem.Append(append(dst, 0, 0, 0, 0), v)
	if err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst, nil
}

func (s sliceSerde[T]) Decode(b []byte) ([]T, error) {
	r := listReader{b: b}
	strategy, n, err := r.head()
	if err == nil && strategy == constantSize && s.size == 0 {
		err = errors.New("elements have no lengths, and this element's serde has no constant size")
	}
	if err != nil {
		return nil, fmt.Errorf("serde.Slice: %w", err)
	}
	// n is what somebody wrote: memory is taken for as many elements as the bytes can hold, so that a wrong count costs none.
	v := make([]T, 0, min(n, len(r.b)/max(1, s.perElem(strategy))+1))
	for i := range n {
		e, err := s.decodeElem(&r, strategy)
		if err != nil {
			return nil, fmt.Errorf("serde.Slice: element %d of %d: %w", i, n, err)
		}
		v = append(v, e)
	}
	if len(r.b) > 0 {
		return nil, fmt.Errorf("serde.Slice: %s after the last of %s", count(len(r.b), "byte"), count(n, "element"))
	}
	return v, nil
}

// perElem is the fewest bytes an element takes.
func (s sliceSerde[T]) perElem(strategy byte) int {
	if strategy == variableSize {
		return 4
	}
	return s.size
}

func (s sliceSerde[T]) decodeElem(r *listReader, strategy byte) (v T, err error) {
	size := s.size
	if strategy == variableSize {
		if size, err = r.int(); err != nil {
			return v, err
		}
	}
	if size == nullLength {
		return v, errors.New("null, which a slice cannot hold")
	}
	b, err := r.take(size)
	if err != nil {
		return v, err
	}
	return s.elem.Decode(b)
}

// listReader takes a list apart from its front.
type listReader struct{ b []byte }

func (r *listReader) head() (strategy byte, n int, err error) {
	first, err := r.take(1)
	if err != nil {
		return 0, 0, err
	}
	if strategy = first[0]; strategy > variableSize {
		return 0, 0, fmt.Errorf("strategy %d is neither 0 (elements of constant size) nor 1 (each with its length)", strategy)
	}
	if strategy == constantSize {
		nulls, err := r.int()
		if err != nil {
			return 0, 0, err
		}
		if nulls != 0 {
			return 0, 0, fmt.Errorf("%d elements are null, which a slice cannot hold", nulls)
		}
	}
	if n, err = r.int(); err == nil && n < 0 {
		err = fmt.Errorf("number of elements %d", n)
	}
	return strategy, n, err
}

func (r *listReader) int() (int, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return int(int32(binary.BigEndian.Uint32(b))), nil
}

// take returns the next n bytes, never nil.
func (r *listReader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.b) {
		return nil, fmt.Errorf("%d more bytes wanted, %d left", n, len(r.b))
	}
	head := r.b[:n:n]
	r.b = r.b[n:]
	return head, nil
}
