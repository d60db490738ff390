package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// The count: records of each key, into a store with a changelog, every update to a topic.

const countStore = "counts-by-key"

var countProgram = program{
	app:  count,
	bare: func(b *bareLoop) { b.in, b.outs, b.value = recordsTopic, []string{bareTopic, bareLogTopic}, 8 },
	java: func(s spec) map[string]string {
		return map[string]string{"in": recordsTopic, "out": s.out(countsTopic)}
	},
}

func count(b *stream.Builder, s spec) {
	byKey := stream.GroupByKey(stream.From(b, stream.NewTopic(recordsTopic, serde.Int64, serde.Bytes)))
	counts := table.Count(byKey, countStore)
	stream.To(table.ToStream(counts), stream.NewTopic(s.out(countsTopic), serde.Int64, serde.Int64))
}

func (b *bench) count(ctx context.Context, rows int64) error {
	s := spec{Workload: "count", Broker: b.broker, Rows: rows, Records: rows + b.records, Warm: rows}
	if err := b.create(ctx, recordsTopic, bareTopic, bareLogTopic); err != nil {
		return err
	}
	if err := b.createOut(ctx, countsTopic); err != nil {
		return err
	}
	if err := b.load(ctx, recordsTopic, s.Records, keys(rows)); err != nil {
		return err
	}
	return b.compare(ctx, s, []string{recordsTopic}, b.verifyCount)
}

// verifyCount checks that every update of every count came out, in order, and that the stores have the last ones.
func (b *bench) verifyCount(ctx context.Context, d done) error {
	counts, updates := make([]int64, d.Rows), int64(0)
	topic := d.out(countsTopic)
	err := b.read(ctx, topic, func(r *kgo.Record) error {
		k, n := number(r.Key), number(r.Value)
		if n != counts[k]+1 {
			return fmt.Errorf("count %d of key %d after %d", n, k, counts[k])
		}
		counts[k]++
		updates++
		return nil
	})
	if err := expect(err, topic, updates, d.Records); err != nil {
		return err
	}
	want, key := make([]int64, d.Rows), keys(d.Rows)
	for n := range d.Records {
		want[key(n)]++
	}
	for k := range want {
		if want[k] != counts[k] {
			return fmt.Errorf("the last count of key %d is %d, not %d", k, counts[k], want[k])
		}
	}
	rows, err := d.stored(countStore, func(e storage.Entry) error {
		if k := number(e.Key); number(e.Value) != want[k] {
			return fmt.Errorf("the store has count %d for key %d, not %d", number(e.Value), k, want[k])
		}
		return nil
	})
	return expect(err, countStore, rows, d.Rows)
}
