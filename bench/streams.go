package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	millwindow "github.com/millstream-go/millstream/window"
)

// The join of two streams whose keys occur once in each. Half of the records are left ones, a millisecond apart, each with one right
// record half a second later. The period of grace is so long that the stores of both sides keep as many records as are asked for.

const (
	within = time.Second
	apart  = within / 2 // how much later the right record of a pair is
)

var streamsProgram = program{
	app: pairs,
	// One of the two topics, which is the same a record.
	bare: func(b *bareLoop) {
		b.in, b.outs, b.half, b.key = leftsTopic, []string{bareTopic, bareLogTopic}, true, windowKeySize
	},
	java: func(s spec) map[string]string {
		return map[string]string{
			"out": s.out(pairsTopic), "within": strconv.FormatInt(within.Milliseconds(), 10), "grace": strconv.FormatInt(grace(s.Rows).Milliseconds(), 10),
		}
	},
}

func grace(rows int64) time.Duration { return time.Duration(rows/2) * time.Millisecond }

func pairs(b *stream.Builder, s spec) {
	lefts := stream.From(b, stream.NewTopic(leftsTopic, serde.Int64, serde.Bytes))
	rights := stream.From(b, stream.NewTopic(rightsTopic, serde.Int64, serde.Bytes))
	out := join.StreamStream(lefts, rights, millwindow.Within(within).Grace(grace(s.Rows)), "pairs", func(l, r []byte) enriched {
		return enriched{Value: l, Row: number(r), OK: true}
	}, store.Name("pairs"))
	stream.To(out, stream.NewTopic(s.out(pairsTopic), serde.Int64, serde.Func(appendEnriched, decodeEnriched)))
}

func (b *bench) streams(ctx context.Context, rows int64) error {
	n := (rows + b.records) / 2
	s := spec{Workload: "streams", Broker: b.broker, Rows: rows, Records: 2 * n, Warm: rows}
	if err := b.create(ctx, leftsTopic, rightsTopic, bareTopic, bareLogTopic); err != nil {
		return err
	}
	if err := b.createOut(ctx, pairsTopic); err != nil {
		return err
	}
	at := times(n)
	key := func(i int64) int64 { return scattered(i, n) }
	if err := b.loadAt(ctx, leftsTopic, n, key, at); err != nil {
		return err
	}
	if err := b.loadAt(ctx, rightsTopic, n, key, func(i int64) time.Time { return at(i).Add(apart) }); err != nil {
		return err
	}
	return b.compare(ctx, s, []string{leftsTopic, rightsTopic}, func(ctx context.Context, d done) error { return b.verifyPairs(ctx, d, n, at) })
}

// verifyPairs checks that each pair came out once, in the order of its partition, with the time of the later record.
func (b *bench) verifyPairs(ctx context.Context, d done, pairs int64, at func(int64) time.Time) error {
	seen, o := int64(0), newOrder()
	var want []byte
	topic := d.out(pairsTopic)
	err := b.read(ctx, topic, func(r *kgo.Record) error {
		n := number(r.Value)
		want = appendValue(want[:0], n)
		want = appendKey(want[:valueSize-8], n)
		if string(want) != string(r.Value) || number(r.Key) != scattered(n, pairs) || !r.Timestamp.Equal(at(n).Add(apart)) {
			return fmt.Errorf("pair %d is not as it should be", n)
		}
		seen++
		return o.see(r.Partition, n)
	})
	return expect(err, topic, seen, pairs)
}
