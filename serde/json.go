package serde

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

var errJSONNull = errors.New("serde.JSON: null is not a value: the absence of one is said by the record (a tombstone), never by the text null")

// JSON returns the serde of T in JSON, by encoding/json, without white space and without escaping <, > and & as other languages'
// libraries neither do.
//
// The literal null is refused both ways: a nil pointer, map or slice is an error of Append, the text null one of Decode. A
// tombstone is said by the record, and its bytes are absent, not null. Inside a value null is as in encoding/json.
func JSON[T any]() Serde[T] {
	s := &jsonSerde[T]{}
	s.encoders.New = func() any {
		e := &jsonEncoder[T]{}
		e.enc = json.NewEncoder(&e.out)
		e.enc.SetEscapeHTML(false)
		return e
	}
	return s
}

// jsonSerde keeps encoders, since json.Marshal would copy the text once more and move each value to the heap.
type jsonSerde[T any] struct{ encoders sync.Pool }

// jsonEncoder is used by one goroutine at a time. The value is encoded by its address, so that MarshalJSON is found on T and
// *T alike, as UnmarshalJSON is.
type jsonEncoder[T any] struct {
	out   appender
	value T
	enc   *json.Encoder
}

// appender is a Writer that appends.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func (s *jsonSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	e := s.encoders.Get().(*jsonEncoder[T])
	e.out.b, e.value = dst, v
	err := e.enc.Encode(&e.value)
	out := e.out.b
	var zero T
	e.out.b, e.value = nil, zero
	s.encoders.Put(e)
	if err != nil {
		return dst, fmt.Errorf("serde.JSON: %w", err)
	}
	out = out[:len(out)-1] // Encode ends with a newline
	if isNull(out[len(dst):]) {
		return dst, errJSONNull
	}
	return out, nil
}

func (s *jsonSerde[T]) Decode(b []byte) (v T, err error) {
	if isNull(b) {
		return v, errJSONNull
	}
	if err := json.Unmarshal(b, &v); err != nil {
		var zero T
		return zero, fmt.Errorf("serde.JSON: %w", err)
	}
	return v, nil
}

// isNull looks for the literal between white space. The length is compared first: no large value is searched twice.
func isNull(b []byte) bool {
	return string(bytes.Trim(b, " \t\r\n")) == "null"
}

// Codec turns values of any type into bytes and back: the fallback of a Registry. It must be safe for concurrent use.
type Codec interface {
	// Marshal returns the encoding of v. The caller owns it.
	Marshal(v any) ([]byte, error)
	// Unmarshal stores in *ptr the value that b encodes. It must neither keep nor change b.
	Unmarshal(b []byte, ptr any) error
}

type jsonCodec struct{}

// JSONCodec is the Codec of encoding/json, with the rules of JSON: no escaping of HTML, no literal null.
var JSONCodec jsonCodec

func (jsonCodec) Marshal(v any) ([]byte, error) { return anyJSON.Append(nil, v) }

func (jsonCodec) Unmarshal(b []byte, ptr any) error {
	if isNull(b) {
		return errJSONNull
	}
	if err := json.Unmarshal(b, ptr); err != nil {
		return fmt.Errorf("serde.JSON: %w", err)
	}
	return nil
}

var anyJSON = JSON[any]()

type codecSerde[T any] struct{ codec Codec }

// fromCodec returns a serde on c. JSON is recognized, since the typed serde is cheaper.
func fromCodec[T any](c Codec) Serde[T] {
	if c == Codec(JSONCodec) {
		return JSON[T]()
	}
	return codecSerde[T]{c}
}

func (s codecSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	b, err := s.codec.Marshal(v)
	if err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

func (s codecSerde[T]) Decode(b []byte) (v T, err error) {
	if err := s.codec.Unmarshal(b, &v); err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}
