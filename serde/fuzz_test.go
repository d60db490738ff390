package serde_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/millstream-go/millstream/serde"
)

// fuzz checks that Decode does not panic and leaves b alone, and that what it accepts survives: the
// value's encoding decodes, to a value with the same encoding. With exact, the encoding is b
// itself.
func fuzz[T any](f *testing.F, s serde.Serde[T], exact bool, seeds ...T) {
	for _, v := range seeds {
		b, err := s.Append(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		given := bytes.Clone(b)
		v, err := s.Decode(b)
		if !bytes.Equal(given, b) {
			t.Fatalf("Decode changed %x to %x", given, b)
		}
		if err != nil {
			return
		}
		again := encode(t, s, v)
		if exact && !bytes.Equal(b, again) {
			t.Fatalf("%x decodes to %v, which encodes to %x", b, v, again)
		}
		v, err = s.Decode(again)
		if err != nil {
			t.Fatalf("%x does not decode: %v", again, err)
		}
		if third := encode(t, s, v); !bytes.Equal(again, third) {
			t.Fatalf("%x turned into %x", again, third)
		}
	})
}

func encode[T any](t *testing.T, s serde.Serde[T], v T) []byte {
	b, err := s.Append([]byte{}, v)
	if err != nil {
		t.Fatalf("%v was decoded and does not encode: %v", v, err)
	}
	return b
}

func FuzzString(f *testing.F)  { fuzz(f, serde.String, true, "text") }
func FuzzBool(f *testing.F)    { fuzz(f, serde.Bool, true, true, false) }
func FuzzInt16(f *testing.F)   { fuzz(f, serde.Int16, true, -1) }
func FuzzInt32(f *testing.F)   { fuzz(f, serde.Int32, true, -1) }
func FuzzInt64(f *testing.F)   { fuzz(f, serde.Int64, true, -1) }
func FuzzFloat32(f *testing.F) { fuzz(f, serde.Float32, true, 1.5) }
func FuzzFloat64(f *testing.F) { fuzz(f, serde.Float64, false, 1.5) }   // a NaN becomes Java's
func FuzzUUID(f *testing.F)    { fuzz(f, serde.UUID, false, someUUID) } // upper case becomes lower
func FuzzNone(f *testing.F)    { fuzz(f, serde.None, true, serde.Void{}) }
func FuzzTime(f *testing.F)    { fuzz(f, serde.Time, true) }

func FuzzSliceOfConstantSize(f *testing.F) {
	fuzz(f, serde.Slice(serde.Int16), false, []int16{1, 2}, nil) // either strategy is read, one is written
}

func FuzzSliceOfVariableSize(f *testing.F) {
	fuzz(f, serde.Slice(serde.Slice(serde.String)), true, [][]string{{"a", ""}, {}}, nil)
}

func FuzzJSON(f *testing.F) {
	fuzz[any](f, serde.JSON[any](), false, map[string]any{"a": []any{1.5, "<x>", true, nil}}, "text")
}

// Text that Decode accepts can be written again, escapes and all.
func FuzzJSONText(f *testing.F) {
	f.Add([]byte(`{"a\ufffd":["\ud83d\ude00","\\ud800",1e400]}`))
	fuzz(f, serde.JSON[map[string]json.RawMessage](), false, map[string]json.RawMessage{"ü": json.RawMessage(`"\ufffd"`)})
}
