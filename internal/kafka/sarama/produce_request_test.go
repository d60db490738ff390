package sarama

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

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

// fill makes a batch of several chunks, as a lane does.
func fill(rnd *rand.Rand, part *producePartition, recs []kafka.ProduceRecord) *batch {
	b := &batch{partition: part, identity: &identity{rnd.Int64(), int16(rnd.IntN(100))}, sequence: int32(rnd.Uint32() >> 1)}
	for len(recs) > 0 {
		ck, n := &chunk{}, 1+rnd.IntN(len(recs))
		for i := range recs[:n] {
			ck.add(&recs[i], recordbatch.MaxRecordSize(&recs[i]))
		}
		b.add(ck.all())
		recs = recs[n:]
	}
	return b
}

// sentBy returns the records of a batch one by one.
func sentBy(b *batch) (out []kafka.ProduceRecord) {
	b.eachRecord(func(one span) { out = append(out, one.records().First()) })
	return out
}

func TestProduce_RequestIsWhatKafkaReads(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, codec := range []recordbatch.Compression{recordbatch.None, recordbatch.Gzip, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd} {
		s := &sender{producer: &producer{client: &Client{cfg: Config{RequestTimeout: 20 * time.Second}}, compression: codec}, encoder: recordbatch.Encoder{Compression: codec}}
		for range 20 {
			want := map[string][]kafka.ProduceRecord{}
			batches := map[string]*batch{}
			r := &produceRequest{}
			for i := range 1 + rnd.IntN(6) {
				part := &producePartition{TopicPartition: kafka.TopicPartition{Topic: fmt.Sprint("topic", i%3), Partition: int32(i)}}
				recs := randomRecords(rnd, 1+rnd.IntN(200))
				b := fill(rnd, part, recs)
				r.batches, r.bytes = append(r.batches, b), r.bytes+b.maxSize
				want[part.String()], batches[part.String()] = recs, b
			}
			rnd.Shuffle(len(r.batches), func(i, j int) { r.batches[i], r.batches[j] = r.batches[j], r.batches[i] })
			body, err := s.encodeRequest(r)
			require.NoError(t, err)

			req := kmsg.NewPtrProduceRequest()
			req.Version = produceVersion
			require.NoError(t, req.ReadFrom(body[maxHeaderSize:]))
			assert.Equal(t, int16(-1), req.Acks)
			assert.Equal(t, int32(10_000), req.TimeoutMillis)
			assert.Nil(t, req.TransactionID)
			topics := map[string]bool{}
			for _, topic := range req.Topics {
				assert.False(t, topics[topic.Topic], "a topic stands in a request once")
				topics[topic.Topic] = true
				for _, p := range topic.Partitions {
					tp := kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}
					checkBatch(t, p.Records, batches[tp.String()], want[tp.String()])
					delete(want, tp.String())
				}
			}
			assert.Empty(t, want)
		}
	}
}

func checkBatch(t *testing.T, wire []byte, b *batch, want []kafka.ProduceRecord) {
	t.Helper()
	assert.LessOrEqual(t, len(want), b.maxSize)
	var head kmsg.RecordBatch
	require.NoError(t, head.ReadFrom(wire))
	assert.Equal(t, []any{b.identity.id, b.identity.epoch, b.sequence, int32(len(want) - 1), int32(len(want)), int32(-1)},
		[]any{head.ProducerID, head.ProducerEpoch, head.FirstSequence, head.LastOffsetDelta, head.NumRecords, head.PartitionLeaderEpoch})
	assert.Equal(t, want[0].Time, head.FirstTimestamp)
	assert.Equal(t, slices.MaxFunc(want, func(x, y kafka.ProduceRecord) int { return int(max(-1, min(1, x.Time-y.Time))) }).Time, head.MaxTimestamp)
	d := recordbatch.NewDecoder(0, 0)
	defer d.Close()
	got, err := d.Decode(recordbatch.NewBatches(wire, 0, kafka.ReadUncommitted, nil), nil)
	require.NoError(t, err)
	require.Len(t, got.Records, len(want))
	for i, r := range got.Records {
		assert.Equal(t, want[i], kafka.ProduceRecord{Key: r.Key, Value: r.Value, Headers: r.Headers, Time: r.Time})
		assert.Equal(t, int64(i), r.Offset)
	}
}

func TestProduce_SplitsBatches(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	for range 100 {
		want := randomRecords(rnd, 2+rnd.IntN(50))
		b := fill(rnd, &producePartition{}, want)
		require.Equal(t, want, sentBy(b))
		x, y := b.halves()
		assert.Equal(t, []int{b.count / 2, b.count - b.count/2}, []int{x.count, y.count})
		assert.Equal(t, b.maxSize, x.maxSize+y.maxSize)
		assert.Equal(t, want, append(sentBy(x), sentBy(y)...))

		bad, rest := map[int32]bool{}, []kafka.ProduceRecord(nil)
		for i, r := range want {
			if bad[int32(i)] = rnd.IntN(3) == 0; !bad[int32(i)] {
				rest = append(rest, r)
			}
		}
		assert.Equal(t, rest, sentBy(b.without(bad)))
	}
}

// written is a connection that keeps what it was given.
type written struct {
	net.Conn
	got [][]byte
}

func (w *written) Write(b []byte) (int, error) {
	w.got = append(w.got, bytes.Clone(b))
	return len(b), nil
}

func TestRequestInterceptor_ReplacesOneRequest(t *testing.T) {
	w := &written{}
	p := &requestInterceptor{apiKey: 'h'<<8 | 'e', emptySize: emptyProduceSize, responses: &responseInterceptor{}, Conn: w}
	head := append([]byte{0, 0, 0, 99}, "header of its"...)
	login := []byte{0, 0, 0, 2, 0, 17}
	armed := append(make([]byte, maxHeaderSize), "body"...)
	for range 2 {
		p.replacement, p.responses.armed = armed, false
		_, err := p.Write(login) // the Broker's own, in front
		require.NoError(t, err)
		assert.False(t, p.responses.armed, "its answer is the Broker's")
		n, err := p.Write(append(bytes.Clone(head), make([]byte, emptyProduceSize)...))
		require.NoError(t, err)
		assert.True(t, p.responses.armed)
		assert.Equal(t, len(head)+emptyProduceSize, n, "the Broker thinks that its own bytes were written")
		_, err = p.Write([]byte("another"))
		require.NoError(t, err)
	}
	one := append(binary.BigEndian.AppendUint32(nil, uint32(len("header of itsbody"))), "header of itsbody"...)
	assert.Equal(t, [][]byte{login, one, []byte("another"), login, one, []byte("another")}, w.got)
}

func TestProduce_NoAllocationPerRecord(t *testing.T) {
	ck := &chunk{}
	r := kafka.ProduceRecord{Key: []byte("12345678"), Value: make([]byte, 100), Headers: []kafka.Header{{Name: "n", Value: []byte("v")}}, Time: 1}
	s := &sender{producer: &producer{client: &Client{}}}
	fillAndEncode := func() {
		ck.reset()
		for range 1000 {
			ck.add(&r, recordbatch.MaxRecordSize(&r))
		}
		b := &batch{partition: &producePartition{}, identity: &identity{}}
		b.add(ck.all())
		_, err := s.encodeRequest(&produceRequest{batches: []*batch{b}, bytes: b.maxSize})
		require.NoError(t, err)
	}
	fillAndEncode()
	assert.Less(t, testing.AllocsPerRun(10, fillAndEncode), 20.0)
}
