package serde

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Func returns a serde of two functions, which must obey the contracts of Serde's methods. For a
// type that is only read or only written, the other function may be nil; using it then is an error.
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

// Slice returns the serde of lists of elements of e, in the format of Kafka's ListSerde: elements
// of the integer, float and UUID serdes of this package are written without lengths, all others
// with their length. The empty list has an encoding: a nil slice is written as an empty one, and an
// empty one is read as a slice that is not nil.
//
// Java's lists may contain nulls. A slice of T cannot, so Decode refuses them. Elements decoded by
// Bytes alias b.
//
// Slice of a Bound is a Bound. Slice of a nil serde is nil, so that Build can report it.
func Slice[T any](elem Serde[T]) Serde[[]T] {
	if elem == nil {
		return nil
	}
	s := sliceSerde[T]{elem, fixedSize(elem)}
	if b, ok := elem.(Bound[T]); ok {
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

// sliceSerde has the size of an element in bytes, or 0 if elements have different sizes.
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

// fixedSize returns the size of e's encodings if Kafka's ListSerde writes them without lengths, and
// 0 otherwise. Bool is not among Kafka's, though each value is one byte.
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

func (s sliceSerde[T]) Append(dst []byte, values []T) ([]byte, error) {
	start := len(dst)
	if s.size > 0 {
		dst = append(dst, constantSize, 0, 0, 0, 0) // no indexes of nulls
	} else {
		dst = append(dst, variableSize)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(values)))
	for i := range values {
		var err error
		if dst, err = s.appendElem(dst, values[i]); err != nil {
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
	list := listReader{rest: b}
	strategy, length, err := list.header()
	if err == nil && strategy == constantSize && s.size == 0 {
		err = errors.New("elements have no lengths, and this element's serde has no constant size")
	}
	if err != nil {
		return nil, fmt.Errorf("serde.Slice: %w", err)
	}
	// n is what somebody wrote: memory is taken for as many elements as the bytes can hold, so that a
	// wrong count costs none.
	values := make([]T, 0, min(length, len(list.rest)/max(1, s.perElem(strategy))+1))
	for i := range length {
		e, err := s.decodeElem(&list, strategy)
		if err != nil {
			return nil, fmt.Errorf("serde.Slice: element %d of %d: %w", i, length, err)
		}
		values = append(values, e)
	}
	if len(list.rest) > 0 {
		return nil, fmt.Errorf("serde.Slice: %s after the last of %s", plural(len(list.rest), "byte"),
			plural(length, "element"))
	}
	return values, nil
}

// perElem is the fewest bytes an element takes.
func (s sliceSerde[T]) perElem(strategy byte) int {
	if strategy == variableSize {
		return 4
	}
	return s.size
}

func (s sliceSerde[T]) decodeElem(list *listReader, strategy byte) (v T, err error) {
	size := s.size
	if strategy == variableSize {
		if size, err = list.int(); err != nil {
			return v, err
		}
	}
	if size == nullLength {
		return v, errors.New("null, which a slice cannot have")
	}
	b, err := list.next(size)
	if err != nil {
		return v, err
	}
	return s.elem.Decode(b)
}

// listReader reads a list from its front.
type listReader struct{ rest []byte }

func (r *listReader) header() (strategy byte, count int, err error) {
	first, err := r.next(1)
	if err != nil {
		return 0, 0, err
	}
	if strategy = first[0]; strategy > variableSize {
		return 0, 0, fmt.Errorf("strategy %d is neither 0 (elements of constant size) nor 1 (each with its length)", strategy)
	}
	// Only here are nulls listed in front: where each element has its length, a null one has the
	// length nullLength.
	if strategy == constantSize {
		nulls, err := r.int()
		if err != nil {
			return 0, 0, err
		}
		if nulls != 0 {
			return 0, 0, fmt.Errorf("%d elements are null, which a slice cannot have", nulls)
		}
	}
	if count, err = r.int(); err == nil && count < 0 {
		err = fmt.Errorf("number of elements %d", count)
	}
	return strategy, count, err
}

func (r *listReader) int() (int, error) {
	b, err := r.next(4)
	if err != nil {
		return 0, err
	}
	return int(int32(binary.BigEndian.Uint32(b))), nil
}

// next returns the next n bytes, never nil.
func (r *listReader) next(n int) ([]byte, error) {
	if n < 0 || n > len(r.rest) {
		return nil, fmt.Errorf("%d more bytes wanted, %d left", n, len(r.rest))
	}
	head := r.rest[:n:n]
	r.rest = r.rest[n:]
	return head, nil
}
