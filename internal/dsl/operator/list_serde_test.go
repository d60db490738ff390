package operator

import (
	"bytes"
	"testing"
)

// FuzzListSerde: whatever stands where a list should be ends in an error, or in as many elements as
// it says, and grows by one.
func FuzzListSerde(f *testing.F) {
	one, err := appendToList(bytes.Clone(emptyList), 1, []byte("v"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one)
	f.Add(emptyList)
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, n, err := listElements(b)
		if err != nil {
			return
		}
		var size int
		for range n {
			var first []byte
			if first, rest, err = nextElement(rest); err != nil {
				return
			}
			size += len(first)
		}
		if size > len(b) {
			t.Fatalf("%x has elements of %d bytes", b, size)
		}
		if len(rest) > 0 {
			return
		}
		more, err := appendToList(bytes.Clone(b), 2, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, m, err := listElements(more); err != nil || m != n+1 {
			t.Fatalf("%x has %d elements, not %d: %v", more, m, n+1, err)
		}
	})
}
