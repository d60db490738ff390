package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	millwindow "github.com/millstream-go/millstream/window"
)

// The windowed count: the records of each key in tumbling windows. Records are a millisecond apart, by their times, and end when they
// are loaded. Windows are so long that each has six records for ten keys, most of which open a row.

const windowKeySize = 20 // of a row's key in a changelog: key, start, number

var windowsProgram = program{
	app: windows,
	bare: func(b *bareLoop) {
		b.in, b.outs, b.value, b.key = timedTopic, []string{bareTopic, bareLogTopic}, 8, windowKeySize
	},
	java: func(s spec) map[string]string {
		size := strconv.FormatInt(tumbling(s.Rows).Milliseconds(), 10)
		return map[string]string{"in": timedTopic, "out": s.out(windowsTopic), "window": size}
	},
}

// tumbling returns the size of windows: ten minutes for a million rows.
func tumbling(rows int64) time.Duration { return time.Duration(rows*6/10) * time.Millisecond }

func windows(b *stream.Builder, s spec) {
	in := stream.From(b, stream.NewTopic(timedTopic, serde.Int64, serde.Bytes))
	w := millwindow.Tumbling(tumbling(s.Rows))
	counts := table.CountWindows(stream.GroupByKey(in), w, "counts-by-window")
	stream.To(table.ToStream(counts), stream.NewTopic(s.out(windowsTopic), millwindow.TimeKey(serde.Int64, w), serde.Int64))
}

// times returns the times of n records that end now.
func times(n int64) func(int64) time.Time {
	first := time.Now().Truncate(time.Millisecond).Add(time.Duration(-n) * time.Millisecond)
	return func(i int64) time.Time { return first.Add(time.Duration(i) * time.Millisecond) }
}

func (b *bench) windows(ctx context.Context, rows int64) error {
	s := spec{Workload: "windows", Broker: b.broker, Rows: rows, Records: rows + b.records, Warm: rows}
	if err := b.create(ctx, timedTopic, bareTopic, bareLogTopic); err != nil {
		return err
	}
	if err := b.createOut(ctx, windowsTopic); err != nil {
		return err
	}
	at := times(s.Records)
	if err := b.loadAt(ctx, timedTopic, s.Records, func(n int64) int64 { return keyOf(n, rows) }, at); err != nil {
		return err
	}
	return b.compare(ctx, s, []string{timedTopic}, func(ctx context.Context, d done) error { return b.verifyWindows(ctx, d, at) })
}

// verifyWindows checks that every update of every window's count came out, in order.
func (b *bench) verifyWindows(ctx context.Context, d done, at func(int64) time.Time) error {
	size := tumbling(d.Rows).Milliseconds()
	first := at(0).UnixMilli() / size
	counts := make([][]int32, at(d.Records-1).UnixMilli()/size-first+1)
	for i := range counts {
		counts[i] = make([]int32, d.Rows)
	}
	seen := int64(0)
	topic := d.out(windowsTopic)
	err := b.read(ctx, topic, func(r *kgo.Record) error {
		k, start, n := number(r.Key), int64(binary.BigEndian.Uint64(r.Key[8:])), number(r.Value)
		c := &counts[start/size-first][k]
		if *c++; int64(*c) != n || start%size != 0 {
			return fmt.Errorf("count %d of key %d in the window at %d, not %d", n, k, start, *c)
		}
		seen++
		return nil
	})
	for n := range d.Records {
		counts[at(n).UnixMilli()/size-first][keyOf(n, d.Rows)]--
	}
	for i, w := range counts {
		for k, c := range w {
			if err == nil && c != 0 {
				err = fmt.Errorf("key %d in window %d: %d updates too many", k, i, c)
			}
		}
	}
	return expect(err, topic, seen, d.Records)
}
