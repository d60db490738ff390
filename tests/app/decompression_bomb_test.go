package app_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// bomb returns a record batch of a few kilobytes whose only record has a value of n zeros.
func bomb(t *testing.T, n int) []byte {
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	head := []byte{0, 0, 0, 1} // attributes, both deltas, no key
	head = binary.AppendVarint(head, int64(n))
	_, err = w.Write(append(binary.AppendVarint(nil, int64(len(head)+n+1)), head...))
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	for left := n; left > 0; left -= len(zeros) {
		_, err = w.Write(zeros[:min(left, len(zeros))])
		require.NoError(t, err)
	}
	_, err = w.Write([]byte{0}) // no headers
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b := kmsg.RecordBatch{Length: int32(49 + packed.Len()), PartitionLeaderEpoch: -1, Magic: 2, Attributes: 4, FirstTimestamp: 1000, MaxTimestamp: 1000,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: packed.Bytes()}
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

// produceRaw appends a record batch as it is.
func produceRaw(t *testing.T, b *broker.Broker, topic string, batch []byte) {
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.Dialer(b.Dialer()), kgo.MaxVersions(kversion.V3_0_0()))
	require.NoError(t, err)
	defer c.Close()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batch}}}}
	resp, err := req.RequestWith(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
}

// A stranger who may write to a topic cannot end its readers with a batch that inflates to gigabytes: the policy for what does not decode
// is asked about it, and memory is not taken. In real time, since zstd's encoders of the process must not belong to a bubble.
func TestDecompressionBomb_GoesToDecodePolicy(t *testing.T) {
	const zeros = 512 << 20
	for name, tt := range map[string]struct {
		policy failure.Policy
		stops  bool
	}{
		"stop":        {failure.Stop(), true},
		"skip":        {failure.Skip(), false},
		"dead letter": {failure.DeadLetter("dead"), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := broker.Start(t, broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("dead", 1))
			write(t, b, "in", 0, 3)
			packed := bomb(t, zeros)
			produceRaw(t, b, "in", packed)
			write(t, b, "in", 3, 3)
			cfg := config(t, b)
			cfg.OnDecodeError = tt.policy
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			app, err := millstream.New(upper(t), cfg)
			require.NoError(t, err)
			err = app.RunToEnd(t.Context())
			runtime.ReadMemStats(&after)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(zeros/4))
			if tt.stops {
				require.ErrorContains(t, err, "in[0]")
				require.ErrorContains(t, err, fmt.Sprintf("the record batch of offsets 3 to 3 (1 records in %d bytes, compression zstd) cannot be read", len(packed)))
				require.ErrorContains(t, err, "more than 134217728 bytes of memory")
				require.ErrorContains(t, err, "OnDecodeError")
				// What came before the batch is committed if a commit was due meanwhile; the batch is not.
				assert.LessOrEqual(t, committed(t, b, "app", "in"), int64(3))
				return
			}
			require.NoError(t, err)
			assert.Len(t, committedRecords(t, b, "out"), 6)
			assert.EqualValues(t, 7, committed(t, b, "app", "in"))
			assert.EqualValues(t, 1, app.Stats().Dropped["record does not decode"], "%v", app.Stats().Dropped)
			if name == "dead letter" {
				letter := await(t, b, "dead", 1)[0]
				assert.Nil(t, letter.Value)
				assert.Contains(t, headers(letter), "cannot be read")
			}
		})
	}
}
