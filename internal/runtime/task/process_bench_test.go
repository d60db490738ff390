package task_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

// nowhere is an Output that only counts.
type nowhere struct{ sent int }

func (*nowhere) Partitions(string) (int, error) { return 4, nil }
func (o *nowhere) Send(string, int32, kafka.ProduceRecord) error {
	o.sent++
	return nil
}

func number(name string) stream.Topic[int64, int64] {
	return stream.NewTopic(name, serde.Int64, serde.Int64)
}

// chain is five operators between a source and a sink.
func chain(b *stream.Builder) {
	s := stream.From(b, number("in"))
	for range 2 {
		s = stream.Filter(s, func(k, v int64) bool { return k >= 0 })
		s = stream.MapValues(s, func(v int64) int64 { return v + 1 })
	}
	stream.To(stream.Peek(s, func(stream.Record[int64, int64]) {}), number("out"))
}

func numbers(topic string, n int) *kafka.Batch {
	b := &kafka.Batch{TopicPartition: kafka.TopicPartition{Topic: topic}, Next: int64(n)}
	for i := range n {
		raw := binary.BigEndian.AppendUint64(nil, uint64(i))
		b.Records = append(b.Records, kafka.Record{Key: raw, Value: raw, Offset: int64(i), Time: int64(i)})
	}
	return b
}

// The way of a record through a task allocates nothing, with one queue and with two that take turns.
func TestProcess_AllocatesNothingPerRecord(t *testing.T) {
	for name, build := range map[string]func(*stream.Builder){
		"one queue": chain,
		"two queues": func(b *stream.Builder) {
			stream.To(stream.From(b, number("in"), number("other")), number("out"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, build, func(c *task.Config) { c.Out = &nowhere{} })
			a, o := numbers("in", 1000), numbers("other", 1000)
			perRound := testing.AllocsPerRun(20, func() {
				require.NoError(t, r.Add(a))
				if len(r.Partitions()) > 1 {
					require.NoError(t, r.Add(o))
				}
				_, err := r.Process(10_000)
				require.NoError(t, err)
			})
			require.Less(t, perRound, 20.0, "for the 1000 or 2000 records of a round")
		})
	}
}

func BenchmarkProcess_ChainOfFive(b *testing.B) {
	s := stream.NewBuilder()
	chain(s)
	top, err := s.Build()
	require.NoError(b, err)
	x, err := task.New(task.Config{Graph: (*graph.Handle)(top).Graph(), Out: &nowhere{}})
	require.NoError(b, err)
	batch := numbers("in", 1000)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(batch.Records) {
		if err := x.Add(batch); err != nil {
			b.Fatal(err)
		}
		if _, err := x.Process(len(batch.Records)); err != nil {
			b.Fatal(err)
		}
	}
}
