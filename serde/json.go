package serde

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
)

var errJSONNull = errors.New("serde.JSON: the text null is not a value; a record without a value is a tombstone")

// JSON returns the serde of T in JSON, by encoding/json, without white space and without escaping
// <, > and & as other languages' libraries neither do.
//
// The literal null is refused both ways: a nil pointer, map or slice is an error of Append, the
// text null one of Decode. A tombstone is said by the record, and its bytes are absent, not null.
// Inside a value null is as in encoding/json.
//
// A number that Decode puts into a value of type any, at any depth, is a json.Number: the text of
// the number, which Append writes again as it was. encoding/json by itself makes it a float64,
// which cannot hold every whole number beyond 2^53. Use the methods Int64 and Float64 of
// json.Number, or give the field a type. A type with an UnmarshalJSON of its own decodes its
// numbers itself.
//
// Text that is not UTF-8 is refused both ways, in keys and values: in strings, in names of maps and
// in what a MarshalJSON or MarshalText returned. So are escapes of half a surrogate pair, such as
// "\ud800". encoding/json by itself writes and reads U+FFFD in their place, and then two keys
// become one. Use String or Bytes for text in another encoding, or Func with encoding/json to
// accept that replacement. Where a MarshalJSON of the program itself writes the escape \ufffd,
// Append cannot tell it from a replaced byte, and refuses it; in a json.RawMessage the escape is
// accepted.
//
// Decode finds a field by its exact name, else by its name in another case, as encoding/json does:
// {"ID": 1} sets a field with the tag "id", and of {"id": 1, "ID": 2} the last one counts. Names
// that no field has are ignored.
func JSON[T any]() Serde[T] {
	s := &jsonSerde[T]{exact: mayHoldAny(reflect.TypeFor[T](), map[reflect.Type]bool{})}
	s.encoders.New = func() any {
		e := &jsonEncoder[T]{}
		e.enc = json.NewEncoder(&e.out)
		e.enc.SetEscapeHTML(false)
		return e
	}
	return s
}

// jsonSerde keeps encoders, since json.Marshal would copy the text once more and move each value to
// the heap.
type jsonSerde[T any] struct {
	encoders sync.Pool
	exact    bool // T may hold numbers in values of type any
}

// jsonEncoder is used by one goroutine at a time. The value is encoded by its address, so that
// MarshalJSON is found on T and *T alike, as UnmarshalJSON is.
type jsonEncoder[T any] struct {
	out   appender
	value T
	enc   *json.Encoder
}

// appender is a Writer that appends.
type appender struct{ bytes []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.bytes = append(a.bytes, p...)
	return len(p), nil
}

func (s *jsonSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	encoder := s.encoders.Get().(*jsonEncoder[T])
	encoder.out.bytes, encoder.value = dst, v
	err := encoder.enc.Encode(&encoder.value)
	out := encoder.out.bytes
	if err == nil {
		out = out[:len(out)-1] // Encode ends with a newline
		err = checkEncoded(out[len(dst):], &encoder.value)
	}
	var zero T
	encoder.out.bytes, encoder.value = nil, zero
	s.encoders.Put(encoder)
	if err != nil {
		return dst, fmt.Errorf("serde.JSON: %w", err)
	}
	if isNull(out[len(dst):]) {
		return dst, errJSONNull
	}
	return out, nil
}

func (s *jsonSerde[T]) Decode(b []byte) (v T, err error) {
	if err := unmarshal(b, &v, s.exact); err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// unmarshal stores in *v the value that b encodes. With exact, numbers in values of type any are
// json.Numbers.
func unmarshal(b []byte, v any, exact bool) error {
	if isNull(b) {
		return errJSONNull
	}
	err := checkText(b)
	switch {
	case err != nil:
	case exact:
		err = unmarshalExact(b, v)
	default:
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("serde.JSON: %w", err)
	}
	return nil
}

// isNull looks for the literal between white space. The length is compared first: no large value is
// searched twice.
func isNull(b []byte) bool {
	return string(bytes.Trim(b, " \t\r\n")) == "null"
}

// decoders are used again, since one costs more than the decoding of a short text.
var decoders = sync.Pool{New: func() any {
	d := &jsonDecoder{}
	d.dec = json.NewDecoder(&d.src)
	d.dec.UseNumber()
	return d
}}

type jsonDecoder struct {
	src bytes.Reader
	dec *json.Decoder
}

// maxPooled is the longest text after which a decoder is used again: it keeps a buffer of that size.
const maxPooled = 64 << 10

// unmarshalExact is json.Unmarshal with UseNumber, which only a Decoder has.
func unmarshalExact(b []byte, v any) error {
	pooled := decoders.Get().(*jsonDecoder)
	pooled.src.Reset(b)
	err := pooled.dec.Decode(v)
	if err == nil {
		// A Decoder reads one value of a stream. What follows it has to be white space.
		if _, end := pooled.dec.Token(); end == io.EOF {
			if pooled.src.Reset(nil); len(b) <= maxPooled {
				decoders.Put(pooled)
			}
			return nil
		}
		err = errors.New("there is more than one value")
	}
	// The decoder is not used again: its errors stay, and so does what it has read of b. Its error is
	// about a stream ("EOF"), and that of Unmarshal about the text.
	if text := json.Unmarshal(b, v); text != nil {
		return text
	}
	return err
}

// mayHoldAny reports whether encoding/json may store a number in an interface when it decodes a t.
func mayHoldAny(t reflect.Type, seen map[reflect.Type]bool) bool {
	// A type that contains itself: the call that came to it first answers for it.
	if seen[t] {
		return false
	}
	seen[t] = true
	if t.Kind() == reflect.Interface {
		return true
	}
	// The type decodes itself. What encoding/json does with its fields does not matter.
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return mayHoldAny(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if mayHoldAny(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

// Codec turns values of any type into bytes and back: the fallback of a Registry. It must be safe
// for concurrent use.
type Codec interface {
	// Marshal returns the encoding of v. The caller owns it.
	Marshal(v any) ([]byte, error)
	// Unmarshal stores in *ptr the value that b encodes. It must neither keep nor change b.
	Unmarshal(b []byte, ptr any) error
}

type jsonCodec struct{}

// JSONCodec is the Codec of encoding/json, with the rules of JSON: exact numbers, no escaping of
// HTML, no literal null, UTF-8 only.
var JSONCodec jsonCodec

func (jsonCodec) Marshal(v any) ([]byte, error) { return anyJSON.Append(nil, v) }

func (jsonCodec) Unmarshal(b []byte, ptr any) error { return unmarshal(b, ptr, true) }

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
