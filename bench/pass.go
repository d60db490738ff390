package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

// The pass-through: values are mapped to themselves.

var passProgram = program{
	app:  func(b *stream.Builder, s spec) { pass(b, recordsTopic, s.out(passedTopic)) },
	bare: func(b *bareLoop) { b.in, b.outs = recordsTopic, []string{bareTopic} },
	java: func(s spec) map[string]string {
		return map[string]string{"in": recordsTopic, "out": s.out(passedTopic)}
	},
}

func pass(b *stream.Builder, from, to string) {
	s := stream.MapValues(stream.From(b, stream.NewTopic(from, serde.Bytes, serde.Bytes)), func(v []byte) []byte { return v })
	stream.To(s, stream.NewTopic(to, serde.Bytes, serde.Bytes))
}

func (b *bench) pass(ctx context.Context, rows int64) error {
	s := spec{Workload: "pass", Broker: b.broker, Rows: rows}
	s.Records, s.Warm = b.withoutState()
	if err := b.create(ctx, recordsTopic, bareTopic); err != nil {
		return err
	}
	if err := b.createOut(ctx, passedTopic); err != nil {
		return err
	}
	key := func(n int64) int64 { return keyOf(n, rows) }
	if err := b.load(ctx, recordsTopic, s.Records, key); err != nil {
		return err
	}
	return b.compare(ctx, s, []string{recordsTopic}, func(ctx context.Context, d done) error { return b.verifyPass(ctx, d, key) })
}

// verifyPass checks that each record of the input is in the output once, in order, as it was.
func (b *bench) verifyPass(ctx context.Context, d done, key func(int64) int64) error {
	seen, o := int64(0), newOrder()
	var want []byte
	topic := d.out(passedTopic)
	err := b.read(ctx, topic, func(r *kgo.Record) error {
		n := number(r.Value)
		if want = appendValue(want[:0], n); !bytes.Equal(want, r.Value) || number(r.Key) != key(n) {
			return fmt.Errorf("record %d has changed", n)
		}
		seen++
		return o.see(r.Partition, n)
	})
	return expect(err, topic, seen, d.Records)
}
