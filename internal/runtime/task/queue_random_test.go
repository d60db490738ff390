package task_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

var seed = flag.Uint64("seed", 0, "of random tests; 0: another one each time")

func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// history is random input of some topics: batches with gaps, records that do not decode, empty ones.
type history struct {
	rnd    *rand.Rand
	topics []string
	left   map[string][]kafka.Record // by topic: what is queued and decodes
	next   map[string]int64          // by topic: where the next batch begins
}

func (h *history) batch() *kafka.Batch {
	topic := h.topics[h.rnd.IntN(len(h.topics))]
	b := &kafka.Batch{TopicPartition: kafka.TopicPartition{Topic: topic}, Next: h.next[topic]}
	for range h.rnd.IntN(4) {
		b.Next += int64(h.rnd.IntN(2)) // a gap
		r := kafka.Record{Key: []byte(topic), Value: fmt.Append(nil, b.Next), Offset: b.Next, Time: int64(h.rnd.IntN(10))}
		if h.rnd.IntN(5) == 0 {
			r.Value = []byte("corrupt")
		} else {
			h.left[topic] = append(h.left[topic], r)
		}
		b.Records = append(b.Records, r)
		b.Next++
	}
	b.Next += int64(h.rnd.IntN(2))
	b.Bytes = 1
	h.next[topic] = b.Next
	return b
}

// expectNext checks that a record was due: the first of its topic, none of another topic being older.
func (h *history) expectNext(t *testing.T, topic string, offset int64) {
	require.NotEmpty(t, h.left[topic])
	first := h.left[topic][0]
	require.Equal(t, first.Offset, offset, topic)
	for other, rs := range h.left {
		if len(rs) > 0 {
			require.LessOrEqual(t, first.Time, rs[0].Time, "%s before %s", topic, other)
		}
	}
	h.left[topic] = h.left[topic][1:]
}

// Whatever comes in which batches: the oldest head is taken, each topic in order, and in the end
// every position is behind the last batch.
func TestQueue_RandomHistoriesInOrder(t *testing.T) {
	rnd := random(t)
	for range 300 {
		h := &history{rnd: rnd, topics: []string{"a", "b", "c", "d", "e"}[:1+rnd.IntN(5)], left: map[string][]kafka.Record{}, next: map[string]int64{}}
		ints := serde.Func(func(dst []byte, v int64) ([]byte, error) { return fmt.Append(dst, v), nil }, func(b []byte) (v int64, err error) {
			_, err = fmt.Sscan(string(b), &v)
			return v, err
		})
		var topics []stream.Topic[string, int64]
		for _, name := range h.topics {
			topics = append(topics, stream.NewTopic(name, serde.String, ints).OnDecodeError(failure.Skip()))
		}
		r := start(t, func(b *stream.Builder) {
			stream.ForEach(stream.From(b, topics...), func(r stream.Record[string, int64]) { h.expectNext(t, r.Key, r.Value) })
		}, func(c *task.Config) { c.MaxIdle = -1 })
		batches := rnd.IntN(30)
		for range batches {
			require.NoError(t, r.Add(h.batch()))
			_, err := r.Process(rnd.IntN(4))
			require.NoError(t, err)
		}
		r.run(t)
		for topic, left := range h.left {
			assert.Empty(t, left, topic)
		}
		for topic, next := range h.next {
			assert.Equal(t, next, r.Position(kafka.TopicPartition{Topic: topic}), topic)
		}
		assert.Equal(t, batches, r.released)
		assert.Zero(t, r.Buffered())
	}
}
