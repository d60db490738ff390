package recordbatch_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

var compressions = []recordbatch.Compression{recordbatch.None, recordbatch.Gzip, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd}

func randomRecords(rnd *rand.Rand, n int) []kafka.ProduceRecord {
	field := func() []byte {
		if rnd.IntN(4) == 0 {
			return nil
		}
		return bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(300))
	}
	out := make([]kafka.ProduceRecord, n)
	for i := range out {
		out[i] = kafka.ProduceRecord{Key: field(), Value: field(), Time: rnd.Int64N(1<<62) - 1}
		for range max(0, rnd.IntN(6)-3) {
			out[i].Headers = append(out[i].Headers, kafka.Header{Name: string(field()), Value: field()})
		}
	}
	return out
}

func records(rs []kafka.ProduceRecord) (out recordbatch.Records) {
	for i := range rs {
		out = out.Append(&rs[i])
	}
	return out
}

// parts divides records at random.
func parts(rnd *rand.Rand, rs []kafka.ProduceRecord) (out []recordbatch.Records) {
	for len(rs) > 0 {
		n := 1 + rnd.IntN(len(rs))
		out = append(out, records(rs[:n]))
		rs = rs[n:]
	}
	return out
}

// decoded returns the records of a batch as they were produced.
func decoded(t *testing.T, wire []byte) []kafka.ProduceRecord {
	t.Helper()
	d := recordbatch.NewDecoder(0, 0)
	defer d.Close()
	b, err := d.Decode(recordbatch.NewBatches(wire, 0, kafka.ReadUncommitted, nil), nil)
	require.NoError(t, err)
	require.Nil(t, b.Unreadable)
	var out []kafka.ProduceRecord
	for i, r := range b.Records {
		assert.Equal(t, int64(i), r.Offset)
		out = append(out, kafka.ProduceRecord{Key: r.Key, Value: r.Value, Headers: r.Headers, Time: r.Time})
	}
	return out
}

func TestEncode_IsWhatKafkaReads(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, c := range compressions {
		e := recordbatch.Encoder{Compression: c}
		var to []byte
		for range 50 {
			want := randomRecords(rnd, 1+rnd.IntN(200))
			h := recordbatch.Header{ProducerID: rnd.Int64(), ProducerEpoch: int16(rnd.IntN(100)), Sequence: int32(rnd.Uint32() >> 1), Records: len(want)}
			ps := parts(rnd, want)
			prefix := to[:rnd.IntN(len(to)+1)]
			wire, err := e.Append(prefix, h, ps)
			require.NoError(t, err)
			to, wire = wire, wire[len(prefix):]

			var head kmsg.RecordBatch
			require.NoError(t, head.ReadFrom(wire))
			assert.Equal(t, []any{h.ProducerID, h.ProducerEpoch, h.Sequence, int32(len(want) - 1), int32(len(want)), int32(-1), int16(c)},
				[]any{head.ProducerID, head.ProducerEpoch, head.FirstSequence, head.LastOffsetDelta, head.NumRecords, head.PartitionLeaderEpoch, head.Attributes})
			assert.Equal(t, want[0].Time, head.FirstTimestamp)
			latest := slices.MaxFunc(want, func(a, b kafka.ProduceRecord) int { return int(max(-1, min(1, a.Time-b.Time))) })
			assert.Equal(t, latest.Time, head.MaxTimestamp)
			assert.Equal(t, want, decoded(t, wire))
			size := 0
			for i := range want {
				size += recordbatch.MaxRecordSize(&want[i])
			}
			if c == recordbatch.None {
				assert.LessOrEqual(t, len(wire), recordbatch.HeaderBytes+size)
			}
			again, err := e.Append(nil, h, ps)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(wire, again), "the same records give the same bytes")
		}
	}
}

func TestRecords_Split(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	all := func(rs recordbatch.Records) (out []kafka.ProduceRecord) {
		for len(rs) > 0 {
			out = append(out, rs.First())
			_, rs = rs.Split(1)
		}
		return out
	}
	for range 100 {
		want := randomRecords(rnd, 2+rnd.IntN(50))
		rs := records(want)
		require.Equal(t, want, all(rs))
		n := rnd.IntN(len(want) + 1)
		first, others := rs.Split(n)
		assert.Equal(t, want, append(all(first), all(others)...))
		assert.Len(t, all(first), n)
		assert.Equal(t, rs.MaxSize(len(want)), first.MaxSize(n)+others.MaxSize(len(want)-n))
	}
}

// FuzzRoundTrip: whatever a record holds comes back as it was, with each compression; null and
// empty stay apart.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "name", []byte("header"), int64(1000), int64(-5), uint8(0))
	f.Add([]byte{}, []byte{}, "", []byte{}, int64(-1), int64(1<<62), uint8(0xff))
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte, first, second int64, null uint8) {
		field := func(b []byte, bit uint8) []byte {
			if null&bit != 0 {
				return nil
			}
			return append([]byte{}, b...)
		}
		want := []kafka.ProduceRecord{
			{Key: field(key, 1), Value: field(value, 2), Time: first},
			{Key: field(value, 4), Value: field(key, 8), Time: second, Headers: []kafka.Header{{Name: name, Value: field(header, 16)}, {Name: name, Value: field(key, 32)}}},
		}
		for _, c := range compressions {
			e := recordbatch.Encoder{Compression: c}
			wire, err := e.Append(nil, recordbatch.Header{Records: len(want)}, []recordbatch.Records{records(want[:1]), records(want[1:])})
			require.NoError(t, err)
			require.Equal(t, len(wire), recordbatch.Size(wire))
			require.Equal(t, want, decoded(t, wire))
		}
	})
}

func TestEncode_NoAllocationPerRecord(t *testing.T) {
	r := kafka.ProduceRecord{Key: []byte("12345678"), Value: make([]byte, 100), Headers: []kafka.Header{{Name: "n", Value: []byte("v")}}, Time: 1}
	var rs recordbatch.Records
	var e recordbatch.Encoder
	var to []byte
	fillAndEncode := func() {
		rs = rs[:0]
		for range 1000 {
			rs = rs.Append(&r)
		}
		var err error
		to, err = e.Append(to[:0], recordbatch.Header{Records: 1000}, []recordbatch.Records{rs})
		require.NoError(t, err)
	}
	fillAndEncode()
	assert.Less(t, testing.AllocsPerRun(10, fillAndEncode), 5.0)
}
