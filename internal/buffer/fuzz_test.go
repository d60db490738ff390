package buffer_test

import (
	"bytes"
	"testing"

	"github.com/millstream-go/millstream/internal/buffer"
	"github.com/millstream-go/millstream/topology"
)

// FuzzValue: whatever stands in a changelog is refused, or read and written again as what it was.
func FuzzValue(f *testing.F) {
	v := buffer.Value{
		Prior: []byte("p"), Old: []byte("p"), New: []byte{}, Time: 5,
		Source:  topology.Source{Topic: "t", Partition: 1, Offset: 7},
		Headers: topology.Headers{{Name: "h", Value: []byte("x")}, {Name: "", Value: nil}},
	}
	f.Add(v.Append(nil, 9))
	f.Add((&buffer.Value{Old: []byte("o")}).Append(nil, -1))
	f.Fuzz(func(t *testing.T, b []byte) {
		given := bytes.Clone(b)
		var v buffer.Value
		due, err := v.Parse(b)
		if !bytes.Equal(given, b) {
			t.Fatalf("Parse changed %x to %x", given, b)
		}
		if err != nil {
			return
		}
		again := v.Append(nil, due)
		var w buffer.Value
		if d, err := w.Parse(again); err != nil || d != due {
			t.Fatalf("%x was read, and %x is not: %d, %v", b, again, d, err)
		}
		if third := w.Append(nil, due); !bytes.Equal(again, third) {
			t.Fatalf("%x turned into %x", again, third)
		}
	})
}
