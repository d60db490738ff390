package recordbatch_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch/batchtest"
)

func values(rs []kafka.Record) []string {
	out := []string{}
	for _, r := range rs {
		out = append(out, string(r.Value))
	}
	return out
}

func isolation(committed bool) kafka.Isolation {
	if committed {
		return kafka.ReadCommitted
	}
	return kafka.ReadUncommitted
}

func TestDecode_ReadsBatches(t *testing.T) {
	const txn, marker = batchtest.Transactional, batchtest.Transactional | batchtest.Control
	batch := batchtest.Batch
	tests := []struct {
		name      string
		committed bool
		pos       int64
		aborted   []recordbatch.AbortedTransaction
		bytes     []byte
		want      []string
		next      int64
		missing   int64
		partial   bool
	}{
		{name: "nothing", pos: 7, next: 7},
		{name: "a batch that began before the position", pos: 11, bytes: batch(10, 3, 0, -1, "a", "b", "c"), want: []string{"b", "c"}, next: 13},
		{name: "gaps of compaction inside, at the end and between", bytes: slices.Concat(batch(2, 5, 0, -1, "a", "b"), batch(20, 10, 0, -1, "c")),
			want: []string{"a", "b", "c"}, next: 30, missing: 2 + 3 + 13 + 9},
		{name: "a batch that compaction has left empty", pos: 5, bytes: batch(5, 10, 0, 1), next: 15, missing: 10},
		{name: "a batch below the position", pos: 50, bytes: slices.Concat(batch(5, 10, 0, 1, "x"), batch(50, 1, 0, 1, "y")), want: []string{"y"}, next: 51},
		{name: "nothing is missing where there are markers", pos: 3, committed: true,
			bytes: slices.Concat(batch(3, 2, txn, 1, "a", "b"), batch(5, 1, marker, 1, batchtest.Commit), batch(6, 1, marker, 2, batchtest.Abort)), want: []string{"a", "b"}, next: 7},
		{name: "a marker that compaction has left empty", pos: 3, bytes: slices.Concat(batch(3, 1, txn, 1, "a"), batch(4, 1, marker, 1)), want: []string{"a"}, next: 5, missing: 1},
		{name: "the end is missing", bytes: slices.Concat(batch(0, 1, 0, -1, "a"), batch(1, 1, 0, -1, "b")[:68]), want: []string{"a"}, next: 1, partial: true},
		{name: "less than a header", pos: 3, bytes: batch(3, 1, 0, -1, "b")[:9], next: 3, partial: true},
		{name: "aborted and not", committed: true, aborted: []recordbatch.AbortedTransaction{{ProducerID: 2, FirstOffset: 5}, {ProducerID: 1, FirstOffset: 0}}, bytes: slices.Concat(
			batch(0, 1, txn, 1, "aborted"), batch(1, 1, txn, 3, "good"), batch(2, 1, txn, 1, "aborted too"), batch(3, 1, marker, 1, batchtest.Abort),
			batch(4, 1, txn, 1, "a new one"), batch(5, 1, txn, 2, "aborted"), batch(6, 1, marker, 1, batchtest.Commit),
			batch(7, 1, 0, 2, "outside"), batch(8, 1, marker, 2, batchtest.Abort), batch(9, 1, txn, 2, "after")),
			want: []string{"good", "a new one", "outside", "after"}, next: 10},
		{name: "aborted, read uncommitted", aborted: []recordbatch.AbortedTransaction{{ProducerID: 1, FirstOffset: 0}},
			bytes: slices.Concat(batch(0, 1, txn, 1, "aborted"), batch(1, 1, marker, 1, batchtest.Abort)), want: []string{"aborted"}, next: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := recordbatch.NewDecoder(0, 0)
			defer d.Close()
			bs := recordbatch.NewBatches(tt.bytes, tt.pos, isolation(tt.committed), tt.aborted)
			b, err := d.Decode(bs, nil)
			require.NoError(t, err)
			assert.Equal(t, append([]string{}, tt.want...), values(b.Records))
			assert.Equal(t, tt.next, b.Next)
			assert.Equal(t, tt.missing, b.Missing)
			assert.Equal(t, tt.partial, bs.Partial())
			assert.False(t, bs.More())
		})
	}
}

// A corrupt batch is an error, one that cannot be read comes alone; either way what is before it
// comes first.
func TestDecode_RefusesBrokenBatches(t *testing.T) {
	good := batchtest.Batch(0, 1, 0, -1, "a")
	flipped := batchtest.Batch(1, 1, 0, -1, "b")
	flipped[len(flipped)-2] ^= 1
	old := batchtest.Batch(1, 1, 0, -1, "b")
	old[batchtest.MagicAt] = 1
	codec := batchtest.Batch(1, 1, 5, -1, "b")
	many := batchtest.Batch(1, 1, 0, -1, "b")
	binary.BigEndian.PutUint32(many[batchtest.CountAt:], 2)
	negative := batchtest.Batch(1, 1, 0, -1, "b")
	binary.BigEndian.PutUint32(negative[batchtest.CountAt:], 0xffffffff)
	for name, tt := range map[string]struct {
		bad  []byte
		want string
		is   error // nil: the batch is unreadable
	}{
		"a flipped bit":                {flipped, "the checksum is wrong", recordbatch.ErrCorrupt},
		"an old format":                {old, "before 0.11", recordbatch.ErrOldFormat},
		"zeros":                        {make([]byte, 100), "corrupt batch", recordbatch.ErrCorrupt},
		"an unknown compression":       {codec, "compression 5 is not known", nil},
		"fewer records than said":      {batchtest.Seal(many), "a record ends beyond it", nil},
		"a negative number of records": {batchtest.Seal(negative), "its number of records is negative", nil},
		"no compressed data":           {batchtest.Batch(1, 1, 1, -1, "not gzip"), "gzip", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := recordbatch.NewDecoder(0, 0)
			defer d.Close()
			bs := recordbatch.NewBatches(slices.Concat(good, tt.bad), 0, kafka.ReadUncommitted, nil)
			b, err := d.Decode(bs, nil)
			assert.Equal(t, int64(1), b.Next, "what comes before is delivered")
			assert.Equal(t, []string{"a"}, values(b.Records))
			assert.Nil(t, b.Unreadable)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
				require.ErrorContains(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			require.True(t, bs.More())
			b, err = d.Decode(bs, nil)
			require.NoError(t, err)
			require.ErrorContains(t, b.Unreadable, tt.want)
			assert.Equal(t, []kafka.Record{{Offset: 1, Time: 2000}}, b.Records)
			assert.Equal(t, int64(2), b.Next)
			assert.False(t, bs.More())
		})
	}
}

func TestDecode_LogAppendTime(t *testing.T) {
	d := recordbatch.NewDecoder(0, 0)
	defer d.Close()
	b, err := d.Decode(recordbatch.NewBatches(batchtest.Batch(0, 2, batchtest.LogAppendTime, -1, "a", "b"), 0, kafka.ReadUncommitted, nil), nil)
	require.NoError(t, err)
	require.Len(t, b.Records, 2)
	for _, r := range b.Records {
		assert.Equal(t, int64(2000), r.Time)
	}
}

// Batches that are decoded in several pieces give the records that they give in one, aborted ones
// left out.
func TestDecode_PiecesOfTransactions(t *testing.T) {
	const txn, marker = batchtest.Transactional, batchtest.Transactional | batchtest.Control
	batch := batchtest.Batch
	wire := slices.Concat(batch(0, 1, txn, 1, "aborted"), batch(1, 1, 0, -1, "plain"), batch(2, 1, txn, 1, "aborted"), batch(3, 1, marker, 1, batchtest.Abort),
		batch(4, 1, 0, -1, "plain"), batch(5, 1, txn, 1, "committed"), batch(6, 1, txn, 1, "committed"), batch(7, 1, marker, 1, batchtest.Commit))
	for _, pieceBytes := range []int{1, 100, 200, 0} {
		d := recordbatch.NewDecoder(pieceBytes, 1<<20)
		bs := recordbatch.NewBatches(wire, 0, kafka.ReadCommitted, []recordbatch.AbortedTransaction{{ProducerID: 1, FirstOffset: 0}})
		got, next := []string{}, int64(0)
		for bs.More() {
			b, err := d.Decode(bs, nil)
			require.NoError(t, err)
			got, next = append(got, values(b.Records)...), b.Next
		}
		assert.Equal(t, []string{"plain", "plain", "committed", "committed"}, got, pieceBytes)
		assert.Equal(t, int64(8), next)
		d.Close()
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(batchtest.Batch(0, 2, 0, -1, "a", "b"), true)
	f.Add(slices.Concat(batchtest.Batch(0, 1, batchtest.Transactional, 1, "a"), batchtest.Batch(1, 1, batchtest.Transactional|batchtest.Control, 1, batchtest.Abort)), false)
	for _, c := range batchtest.Compressors {
		f.Add(batchtest.Pack(3, c.Number, 4, c.Compress(batchtest.Records(4, []byte("value")))), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if size := recordbatch.Size(b); seal && len(b) >= batchtest.RecordsAt && size >= batchtest.RecordsAt && size <= len(b) {
			batchtest.Seal(b[:size]) // get past the checksum
		}
		d := recordbatch.NewDecoder(1<<16, 1<<18)
		defer d.Close()
		bs := recordbatch.NewBatches(b, 0, kafka.ReadCommitted, []recordbatch.AbortedTransaction{{ProducerID: 1, FirstOffset: 0}})
		for bs.More() {
			got, err := d.Decode(bs, nil)
			if err != nil || bs.Partial() {
				break
			}
			for _, r := range got.Records {
				assert.GreaterOrEqual(t, r.Offset, int64(0))
			}
		}
	})
}
