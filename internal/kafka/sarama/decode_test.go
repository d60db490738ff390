package sarama

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

// batchOf writes a record batch of uncompressed records with the given values; width is how many offsets it takes.
func batchOf(first int64, width int, attrs int16, producer int64, values ...string) []byte {
	var recs []byte
	for i, v := range values {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: []byte{}, Value: []byte(v)}
		if attrs&attrControl != 0 {
			r.Key, r.Value = []byte(v), nil
		}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		recs = r.AppendTo(recs)
	}
	b := kmsg.RecordBatch{FirstOffset: first, Length: int32(49 + len(recs)), PartitionLeaderEpoch: 0, Magic: 2, Attributes: attrs,
		LastOffsetDelta: int32(width - 1), FirstTimestamp: 1000, MaxTimestamp: 2000, ProducerID: producer, NumRecords: int32(len(values)), Records: recs}
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[atCRC:], crc32.Checksum(out[atAttrs:], castagnoli))
	return out
}

func cat(bs ...[]byte) []byte {
	var out []byte
	for _, b := range bs {
		out = append(out, b...)
	}
	return out
}

func decodeAll(t *testing.T, committed bool, pos int64, f fetched) (*kafka.Batch, *decoder, error) {
	t.Helper()
	d := &decoder{committed: committed, pos: pos, inflate: &inflater{}, names: names{}}
	b, err := d.decode(&f)
	return b, d, err
}

func TestDecode(t *testing.T) {
	abort, commit := "\x00\x00\x00\x00", "\x00\x00\x00\x01"
	tests := []struct {
		name      string
		committed bool
		pos       int64
		f         fetched
		want      []string
		next      int64
		partial   bool
	}{
		{name: "nothing", pos: 7, next: 7},
		{name: "a batch that began before the position", pos: 11, f: fetched{records: batchOf(10, 3, 0, -1, "a", "b", "c")}, want: []string{"b", "c"}, next: 13},
		{name: "gaps of compaction inside, at the end and between", f: fetched{records: cat(batchOf(2, 5, 0, -1, "a", "b"), batchOf(20, 10, 0, -1, "c"))},
			want: []string{"a", "b", "c"}, next: 30},
		{name: "a batch that compaction has left empty", pos: 5, f: fetched{records: batchOf(5, 10, 0, 1)}, next: 15},
		{name: "a batch below the position", pos: 50, f: fetched{records: cat(batchOf(5, 10, 0, 1, "x"), batchOf(50, 1, 0, 1, "y"))}, want: []string{"y"}, next: 51},
		{name: "the end is missing", f: fetched{records: cat(batchOf(0, 1, 0, -1, "a"), batchOf(1, 1, 0, -1, "b")[:68])}, want: []string{"a"}, next: 1, partial: true},
		{name: "less than a header", pos: 3, f: fetched{records: batchOf(3, 1, 0, -1, "b")[:9]}, next: 3, partial: true},
		{name: "aborted and not", committed: true, f: fetched{aborted: []abortedTxn{{2, 5}, {1, 0}}, records: cat(
			batchOf(0, 1, attrTxn, 1, "void"), batchOf(1, 1, attrTxn, 3, "good"), batchOf(2, 1, attrTxn, 1, "void too"), batchOf(3, 1, attrTxn|attrControl, 1, abort),
			batchOf(4, 1, attrTxn, 1, "a new one"), batchOf(5, 1, attrTxn, 2, "void"), batchOf(6, 1, attrTxn|attrControl, 1, commit),
			batchOf(7, 1, 0, 2, "outside"), batchOf(8, 1, attrTxn|attrControl, 2, abort), batchOf(9, 1, attrTxn, 2, "after"))},
			want: []string{"good", "a new one", "outside", "after"}, next: 10},
		{name: "aborted, read uncommitted", f: fetched{aborted: []abortedTxn{{1, 0}}, records: cat(batchOf(0, 1, attrTxn, 1, "void"), batchOf(1, 1, attrTxn|attrControl, 1, abort))},
			want: []string{"void"}, next: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, d, err := decodeAll(t, tt.committed, tt.pos, tt.f)
			require.NoError(t, err)
			assert.Equal(t, append([]string{}, tt.want...), values(b.Records))
			assert.Equal(t, tt.next, b.Next)
			assert.Equal(t, tt.partial, d.partial)
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := batchOf(0, 1, 0, -1, "a")
	flipped := cat(batchOf(1, 1, 0, -1, "b"))
	flipped[len(flipped)-2] ^= 1
	old := batchOf(1, 1, 0, -1, "b")
	old[atMagic] = 1
	codec := batchOf(1, 1, 5, -1, "b")
	many := batchOf(1, 1, 0, -1, "b")
	binary.BigEndian.PutUint32(many[atCount:], 2)
	binary.BigEndian.PutUint32(many[atCRC:], crc32.Checksum(many[atAttrs:], castagnoli))
	for name, bad := range map[string][]byte{"a flipped bit": flipped, "an old format": old, "an unknown compression": codec, "fewer records than said": many,
		"no compressed data": batchOf(1, 1, 1, -1, "not gzip")} {
		t.Run(name, func(t *testing.T) {
			b, _, err := decodeAll(t, false, 0, fetched{records: cat(good, bad)})
			require.Error(t, err)
			assert.Equal(t, int64(1), b.Next, "what comes before is delivered")
			assert.Equal(t, "a", string(b.Records[0].Value))
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(batchOf(0, 2, 0, -1, "a", "b"), true)
	f.Add(cat(batchOf(0, 1, attrTxn, 1, "a"), batchOf(1, 1, attrTxn|attrControl, 1, "\x00\x00\x00\x00")), false)
	f.Fuzz(func(t *testing.T, b []byte, sum bool) {
		if size := batchSize(b); sum && len(b) >= atRecords && size >= atRecords && size <= len(b) { // get past the checksum
			binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttrs:size], castagnoli))
		}
		d := &decoder{committed: true, inflate: &inflater{}, names: names{}}
		got, _ := d.decode(&fetched{records: b, aborted: []abortedTxn{{1, 0}}})
		for _, r := range got.Records {
			assert.GreaterOrEqual(t, r.Offset, int64(0))
		}
		d.inflate.close()
	})
}

func FuzzParseFetch(f *testing.F) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = fetchVersion
	st := kmsg.NewFetchResponseTopic()
	st.Topic = "t"
	sp := kmsg.NewFetchResponseTopicPartition()
	sp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 1, FirstOffset: 2}}
	sp.RecordBatches = batchOf(0, 1, 0, -1, "a")
	st.Partitions = append(st.Partitions, sp, sp)
	resp.Topics = append(resp.Topics, st)
	f.Add(resp.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = parseFetch(b, func(_ string, p *fetched) { assert.LessOrEqual(t, len(p.records), len(b)) })
	})
}

func TestParseFetch(t *testing.T) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = fetchVersion
	for _, name := range []string{"a", "b"} {
		st := kmsg.NewFetchResponseTopic()
		st.Topic = name
		for p := range int32(2) {
			sp := kmsg.NewFetchResponseTopicPartition()
			sp.Partition, sp.ErrorCode, sp.HighWatermark, sp.LastStableOffset, sp.LogStartOffset = p, int16(p), 10, 9, 8
			sp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 1, FirstOffset: 2}}
			sp.RecordBatches = []byte(name)
			sp.CurrentLeader.LeaderID, sp.PreferredReadReplica = 3, 4 // the first is a tagged field
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	got := map[kafka.TopicPartition]fetched{}
	require.NoError(t, parseFetch(resp.AppendTo(nil), func(topic string, f *fetched) {
		got[kafka.TopicPartition{Topic: topic, Partition: f.index}] = *f
	}))
	require.Len(t, got, 4)
	f := got[kafka.TopicPartition{Topic: "b", Partition: 1}]
	assert.Equal(t, fetched{index: 1, code: 1, high: 10, stable: 9, start: 8, aborted: []abortedTxn{{1, 2}}, replica: 4, records: []byte("b")}, f)
	resp.ErrorCode = 7
	require.ErrorIs(t, parseFetch(resp.AppendTo(nil), func(string, *fetched) {}), kafka.ErrUnavailable)
}

// One corrupt batch ends its partition, after it was asked for thrice, and no other.
func TestCorruptBatch(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		require.NoError(t, w.k.MoveTopicPartition("t", 1, 0))
		w.write(ctx, tp(0), "a", "b")
		w.write(ctx, tp(1), "c")
		bad := batchOf(0, 1, 0, -1, "a")
		bad[atRecords+2] ^= 1
		w.k.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.k.KeepControl()
			req := r.(*kmsg.FetchRequest)
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			for _, rt := range req.Topics {
				st := kmsg.NewFetchResponseTopic()
				st.Topic = rt.Topic
				for _, rp := range rt.Partitions {
					sp := kmsg.NewFetchResponseTopicPartition()
					sp.Partition, sp.HighWatermark = rp.Partition, 2
					sp.RecordBatches = bad
					if rp.Partition == 1 {
						sp.RecordBatches = batchOf(rp.FetchOffset, 1, 0, -1, "good")
					}
					st.Partitions = append(st.Partitions, sp)
				}
				resp.Topics = append(resp.Topics, st)
			}
			return resp, nil, true
		})
		f, err := w.c.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(0), 0, s)
		f.Add(tp(1), 0, s)
		s.until(ctx, t, func() bool { return s.failed[tp(0)] != nil && len(s.records[tp(1)]) > 5 })
		require.ErrorIs(t, s.failed[tp(0)], errCorrupt)
		assert.Empty(t, s.failed[tp(1)])
	})
}

func TestLogAppendTime(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		require.NoError(t, w.k.CreateTopic("l", 1, map[string]string{"message.timestamp.type": "LogAppendTime"}))
		l := kafka.TopicPartition{Topic: "l"}
		w.write(ctx, l, "a", "b")
		raw := batchOf(0, 2, attrAppended, -1, "a", "b")
		b, _, err := decodeAll(t, false, 0, fetched{records: raw})
		require.NoError(t, err)
		for _, r := range b.Records {
			assert.Equal(t, int64(2000), r.Time)
		}
		assert.Len(t, w.log(ctx, l), 2)
	}, kfake.NumBrokers(3))
}
