package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	millwindow "github.com/millstream-go/millstream/window"
)

// The workloads with windows. Records are a millisecond apart, by their times, and end when they are loaded.

const (
	tumbling      = 10 * time.Minute
	apart         = 500 * time.Millisecond // how much later the right record of a pair is
	windowKeySize = 20                     // of a row's key in a changelog: key, start, number
)

// windows counts the records of each key in each window.
func windows(b *stream.Builder) {
	in := stream.From(b, stream.NewTopic(timedTopic, serde.Int64, serde.Bytes))
	w := millwindow.Tumbling(tumbling)
	counts := table.CountWindows(stream.GroupByKey(in), w, "counts-by-window")
	stream.To(table.ToStream(counts), stream.NewTopic(windowsTopic, millwindow.TimeKey(serde.Int64, w), serde.Int64))
}

// pairs joins two streams whose keys occur once in each.
func pairs(b *stream.Builder) {
	lefts := stream.From(b, stream.NewTopic(leftsTopic, serde.Int64, serde.Bytes))
	rights := stream.From(b, stream.NewTopic(rightsTopic, serde.Int64, serde.Bytes))
	out := join.StreamStream(lefts, rights, millwindow.Within(time.Second).Grace(time.Minute), "pairs", func(l, r []byte) enriched {
		return enriched{Value: l, Row: number(r), OK: true}
	}, store.Name("pairs"))
	stream.To(out, stream.NewTopic(pairsTopic, serde.Int64, serde.Func(appendEnriched, decodeEnriched)))
}

// times returns the times of n records that end now.
func times(n int64) func(int64) time.Time {
	first := time.Now().Truncate(time.Millisecond).Add(time.Duration(-n) * time.Millisecond)
	return func(i int64) time.Time { return first.Add(time.Duration(i) * time.Millisecond) }
}

func (b *bench) windows(ctx context.Context) error {
	at := times(b.records)
	if err := b.loadAt(ctx, timedTopic, b.records, func(n int64) int64 { return keyOf(n, b.keys) }, at); err != nil {
		return err
	}
	return b.both(ctx, b.spec("windows", b.state("windows"), b.records), func() error { return b.verifyWindows(ctx, at) })
}

// verifyWindows checks that every update of every window's count came out, in order.
func (b *bench) verifyWindows(ctx context.Context, at func(int64) time.Time) error {
	size := tumbling.Milliseconds()
	first := at(0).UnixMilli() / size
	counts := make([][]int32, at(b.records-1).UnixMilli()/size-first+1)
	for i := range counts {
		counts[i] = make([]int32, b.keys)
	}
	seen := int64(0)
	err := b.read(ctx, windowsTopic, func(r *kgo.Record) error {
		k, start, n := number(r.Key), int64(binary.BigEndian.Uint64(r.Key[8:])), number(r.Value)
		c := &counts[start/size-first][k]
		if *c++; int64(*c) != n || start%size != 0 {
			return fmt.Errorf("count %d of key %d in the window at %d, not %d", n, k, start, *c)
		}
		seen++
		return nil
	})
	for n := range b.records {
		counts[at(n).UnixMilli()/size-first][keyOf(n, b.keys)]--
	}
	for i, w := range counts {
		for k, c := range w {
			if err == nil && c != 0 {
				err = fmt.Errorf("key %d in window %d: %d updates too many", k, i, c)
			}
		}
	}
	return expect(err, windowsTopic, seen, b.records)
}

// streams joins half of the records with the other half.
func (b *bench) streams(ctx context.Context) error {
	n := b.records / 2
	at := times(n)
	key := func(i int64) int64 { return scattered(i, n) }
	if err := b.loadAt(ctx, leftsTopic, n, key, at); err != nil {
		return err
	}
	if err := b.loadAt(ctx, rightsTopic, n, key, func(i int64) time.Time { return at(i).Add(apart) }); err != nil {
		return err
	}
	return b.both(ctx, b.spec("streams", b.state("streams"), 2*n), func() error { return b.verifyPairs(ctx, n, at) })
}

// verifyPairs checks that each pair came out once, in the order of its partition, with the time of the later record.
func (b *bench) verifyPairs(ctx context.Context, pairs int64, at func(int64) time.Time) error {
	seen, o := int64(0), newOrder()
	var want []byte
	err := b.read(ctx, pairsTopic, func(r *kgo.Record) error {
		n := number(r.Value)
		want = appendValue(want[:0], n)
		want = appendKey(want[:valueSize-8], n)
		if string(want) != string(r.Value) || number(r.Key) != scattered(n, pairs) || !r.Timestamp.Equal(at(n).Add(apart)) {
			return fmt.Errorf("pair %d is not as it should be", n)
		}
		seen++
		return o.see(r.Partition, n)
	})
	return expect(err, pairsTopic, seen, pairs)
}
