package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// The join of a stream with a table, in three parts: the table is loaded while there is nothing to join, the stream is joined after a
// restart, and the table is restored into an empty directory.

const rowStore = "rows-by-key"

var (
	loadProgram = program{app: joinWithTable, java: joinArgs}
	joinProgram = program{
		app:  joinWithTable,
		bare: func(b *bareLoop) { b.in, b.outs = clicksTopic, []string{bareTopic} },
		java: joinArgs,
	}
	restoreProgram = program{
		app: joinWithTable,
		bare: func(b *bareLoop) {
			b.in = spec{Workload: "restore", Kind: kindApp, Rows: b.s.Rows}.appID() + "-" + rowStore + "-changelog"
		},
		java: joinArgs,
	}
)

func joinArgs(s spec) map[string]string { return map[string]string{"out": s.out(joinedTopic)} }

func joinWithTable(b *stream.Builder, s spec) {
	rows := table.From(b, stream.NewTopic(rowsTopic, serde.Int64, serde.Func(appendRow, decodeRow)), rowStore)
	clicks := stream.From(b, stream.NewTopic(clicksTopic, serde.Int64, serde.Bytes))
	out := join.StreamTableLeft(clicks, rows, "with-row", func(v []byte, r row, ok bool) enriched {
		return enriched{Value: v, Row: r.ID, OK: ok}
	})
	stream.To(out, stream.NewTopic(s.out(joinedTopic), serde.Int64, serde.Func(appendEnriched, decodeEnriched)))
}

// table measures loading, joining and restoring, of which the first is always done.
func (b *bench) table(ctx context.Context, rows int64) error {
	if err := b.create(ctx, rowsTopic, clicksTopic, bareTopic); err != nil {
		return err
	}
	if err := b.createOut(ctx, joinedTopic); err != nil {
		return err
	}
	// The row's number is its key.
	if err := b.load(ctx, rowsTopic, rows, func(n int64) int64 { return scattered(n, rows) }); err != nil {
		return err
	}
	s := spec{Workload: "load", Broker: b.broker, Rows: rows, Records: rows, Warm: rows / 4}
	if err := b.compare(ctx, s, []string{rowsTopic}, verifyRows); err != nil {
		return err
	}
	if b.wanted("join") {
		s.Workload = "join"
		s.Records, s.Warm = b.withoutState()
		if err := b.load(ctx, clicksTopic, s.Records, func(n int64) int64 { return keyOf(n, rows) }); err != nil {
			return err
		}
		if err := b.compare(ctx, s, []string{rowsTopic, clicksTopic}, b.verifyJoin); err != nil {
			return err
		}
	}
	if b.wanted("restore") {
		s.Workload, s.Records, s.Warm = "restore", rows, rows/4
		return b.compare(ctx, s, nil, verifyRows)
	}
	return nil
}

// verifyRows checks that the stores hold the table.
func verifyRows(_ context.Context, d done) error {
	var want []byte
	rows, err := d.stored(rowStore, func(e storage.Entry) error {
		if want = appendValue(want[:0], number(e.Key)); !bytes.Equal(want, e.Value) {
			return fmt.Errorf("row %d is not as it was loaded", number(e.Key))
		}
		return nil
	})
	return expect(err, rowStore, rows, d.Rows)
}

// verifyJoin checks that each record came out once, in order, with its row.
func (b *bench) verifyJoin(ctx context.Context, d done) error {
	seen, o := int64(0), newOrder()
	var want []byte
	topic := d.out(joinedTopic)
	err := b.read(ctx, topic, func(r *kgo.Record) error {
		n := number(r.Value)
		want = appendValue(want[:0], n)
		want = appendKey(want[:valueSize-8], keyOf(n, d.Rows)) // a row begins with its key
		if !bytes.Equal(want, r.Value) {
			return fmt.Errorf("record %d is not joined with its row", n)
		}
		seen++
		return o.see(r.Partition, n)
	})
	return expect(err, topic, seen, d.Records)
}
