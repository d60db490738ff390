package buffer_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/buffer"
	"github.com/millstream-go/millstream/internal/storage/memtable"
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

// FuzzQueueRow has a row of any bytes in the store of a buffer, beside one of its own. What is no
// row is an error of OpenQueue; what is one comes in the order of time.
func FuzzQueueRow(f *testing.F) {
	v := (&buffer.Value{New: []byte("v"), Time: 5}).Append(nil, 0)
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x05k\x00\x00\x00\x01"), v, int64(9))
	f.Add([]byte("\x00\x80\x00\x00\x00\x00\x00\x00\x05k\x7f\xff\xff\xff"), v, int64(9))
	f.Add([]byte("short"), []byte{}, int64(0))
	f.Fuzz(func(t *testing.T, key, value []byte, limit int64) {
		if key == nil || len(key) > 1000 {
			return
		}
		rows := memtable.New(nil)
		defer func() { _ = rows.Close(false) }()
		require.NoError(t, rows.Put(key, append([]byte{}, value...), 1))
		q, err := buffer.OpenQueue("q", rows)
		if err != nil {
			return
		}
		require.NoError(t, q.Put([]byte("own"), buffer.Value{New: []byte("v"), Time: 7}))
		require.True(t, len(key) >= 13 && key[0] == 0 && key[1] < 0x80, "%x has no time at which it is due", key)
		n := 0
		require.NoError(t, q.ReleaseUntil(limit, func([]byte, *buffer.Value) error {
			n++
			return nil
		}))
		require.Equal(t, 2-n, q.Len())
		require.False(t, limit < 0 && n > 0, "sent before it is due")
		if n == 2 {
			require.Zero(t, q.Size())
		}
	})
}

// FuzzKeyedRow does so for a buffer of one row a key.
func FuzzKeyedRow(f *testing.F) {
	f.Add([]byte("k"), (&buffer.Value{New: []byte("v"), Time: 5}).Append(nil, 9))
	f.Add([]byte("own"), (&buffer.Value{Old: []byte("v"), Time: -5}).Append(nil, math.MinInt64))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if key == nil || len(key) > 1000 {
			return
		}
		rows := memtable.New(nil)
		defer func() { _ = rows.Close(false) }()
		require.NoError(t, rows.Put(key, append([]byte{}, value...), 1))
		b, err := buffer.OpenKeyed("k", rows)
		if err != nil {
			return
		}
		require.NoError(t, b.Put([]byte("own"), 9, buffer.Value{New: []byte("v"), Time: 7}))
		before := int64(math.MinInt64)
		for b.Len() > 0 {
			due, ok := b.First()
			require.True(t, ok)
			require.GreaterOrEqual(t, due, before)
			before = due
			_, _, err := b.Head()
			require.NoError(t, err)
			require.NoError(t, b.Remove())
		}
		require.Zero(t, b.Size())
	})
}
