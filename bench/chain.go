package main

import (
	"context"
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

func (b *bench) chain(ctx context.Context, _ int64) error {
	records, warm := b.withoutState()
	s := spec{Workload: "chain", Kind: kindChain, Records: 10 * records, Warm: 10 * warm, Profile: b.profile}
	r, m, err := measure(ctx, s)
	if err == nil {
		b.add(s, whoApp, r, m)
	}
	return err
}

// nowhere is a task's output that only counts.
type nowhere struct{ n int64 }

func (*nowhere) Partitions(string) (int, error) { return partitions, nil }
func (o *nowhere) Send(string, int32, kafka.ProduceRecord) error {
	o.n++
	return nil
}

// runChain sends batches through a task with five typed operators between a source and a sink.
func (s spec) runChain() (r result, err error) {
	b := stream.NewBuilder()
	in := stream.From(b, stream.NewTopic("in", serde.Int64, serde.Int64))
	x := stream.Filter(in, func(k, v int64) bool { return k >= 0 })
	x = stream.MapValues(x, func(v int64) int64 { return v + 1 })
	x = stream.SelectKey(x, func(k, v int64) int64 { return k ^ v })
	x = stream.MapRecords(x, func(r stream.Record[int64, int64]) stream.Record[int64, int64] { r.Value *= 2; return r })
	x = stream.Peek(x, func(stream.Record[int64, int64]) {})
	stream.To(x, stream.NewTopic("out", serde.Int64, serde.Int64))
	top, err := b.Build()
	if err != nil {
		return r, err
	}
	var out nowhere
	t, err := task.New(task.Config{Graph: (*graph.Handle)(top).Graph(), Out: &out})
	if err != nil {
		return r, err
	}
	batch := &kafka.Batch{TopicPartition: kafka.TopicPartition{Topic: "in"}, Next: 1000}
	for i := range 1000 {
		raw := appendKey(nil, int64(i))
		batch.Records = append(batch.Records, kafka.Record{Key: raw, Value: raw, Offset: int64(i), Time: int64(i)})
	}
	var w window
	for n := int64(0); n < s.Records; n += 1000 {
		if n == s.Warm/1000*1000 {
			w.start(n)
		}
		if err := t.Add(batch); err != nil {
			return r, err
		}
		if _, err := t.Process(1000); err != nil {
			return r, err
		}
	}
	w.extend()
	if out.n < s.Records {
		return r, fmt.Errorf("%d of %d records came out", out.n, s.Records)
	}
	return w.result(out.n), nil
}
