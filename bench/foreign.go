package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// The foreign-key join: orders, each of which refers to a shop, most of them to another one than before. Of the shops, which are a tenth
// of the orders' keys, there are all before there is an order.

const (
	subscriptionSize = 30 // of a subscription's value: what the right side is told, and keeps
	// messagesPerOrder is how many records are processed for each order: itself, what its former and its new shop are told, and the
	// new one's answer. A first order has no former shop.
	messagesPerOrder = 4
)

func shopsOf(keys int64) int64 { return max(keys/10, 1) }

// shopOf returns the shop that order n refers to.
func shopOf(n, shops int64) int64 { return int64(mix(uint64(n)+1) % uint64(shops)) }

// sold is what the join makes: the order, and the number of its shop in place of its last bytes.
type sold struct {
	Order row
	Shop  int64
}

func appendSold(b []byte, s sold) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Order.ID))
	return binary.BigEndian.AppendUint64(append(b, s.Order.Rest[:valueSize-16]...), uint64(s.Shop)), nil
}

func decodeSold([]byte) (sold, error) { return sold{}, fmt.Errorf("nobody reads this") }

var foreignProgram = program{
	app: foreign,
	// What the App writes for each order; it reads three more records for each.
	bare: func(b *bareLoop) {
		b.in, b.outs = ordersTopic, []string{bareTopic, bareTellTopic, bareKeepTopic, bareAnswerTopic, bareLogTopic}
		b.sizes = []int{valueSize, subscriptionSize, subscriptionSize, valueSize, valueSize}
	},
	java: func(s spec) map[string]string {
		return map[string]string{"out": s.out(soldTopic), "shops": strconv.FormatInt(shopsOf(s.Rows), 10)}
	},
}

func foreign(b *stream.Builder, s spec) {
	shops := shopsOf(s.Rows)
	rows := serde.Func(appendRow, decodeRow)
	l := table.From(b, stream.NewTopic(ordersTopic, serde.Int64, rows), "orders-by-id")
	r := table.From(b, stream.NewTopic(shopsTopic, serde.Int64, rows), "shops-by-id")
	out := join.ForeignKey(l, r, "sold",
		func(_ int64, o row) (int64, bool) { return shopOf(o.ID, shops), true },
		func(o, shop row) sold { return sold{o, shop.ID} })
	stream.To(table.ToStream(out), stream.NewTopic(s.out(soldTopic), serde.Int64, serde.Func(appendSold, decodeSold)))
}

func (b *bench) foreign(ctx context.Context, rows int64) error {
	if err := b.create(ctx, ordersTopic, shopsTopic, bareTopic, bareLogTopic, bareTellTopic, bareKeepTopic, bareAnswerTopic); err != nil {
		return err
	}
	if err := b.createOut(ctx, soldTopic); err != nil {
		return err
	}
	shops := shopsOf(rows)
	if err := b.load(ctx, shopsTopic, shops, func(n int64) int64 { return n }); err != nil {
		return err
	}
	s := spec{Workload: "foreign", Broker: b.broker, Rows: rows, Records: shops}
	inputs := []string{ordersTopic, shopsTopic}
	if err := b.prepare(ctx, s, inputs); err != nil {
		return err
	}
	s.Records, s.Warm, s.Each = rows+b.records, rows, messagesPerOrder
	if err := b.load(ctx, ordersTopic, s.Records, keys(rows)); err != nil {
		return err
	}
	return b.compare(ctx, s, inputs, b.verifyForeign)
}

// verifyForeign checks that the last result of each order is that of its last state. Results that were outrun by the next state are
// not there.
func (b *bench) verifyForeign(ctx context.Context, d done) error {
	last, key, shops := make([]int64, d.Rows), keys(d.Rows), shopsOf(d.Rows)
	for k := range last {
		last[k] = -1
	}
	var want []byte
	topic := d.out(soldTopic)
	err := b.read(ctx, topic, func(r *kgo.Record) error {
		n, k := number(r.Value), number(r.Key)
		want = appendValue(want[:0], n)
		want = appendKey(want[:valueSize-8], shopOf(n, shops))
		if string(want) != string(r.Value) || key(n) != k || n < last[k] {
			return fmt.Errorf("order %d of key %d, after %d, is not as it should be", n, k, last[k])
		}
		last[k] = n
		return nil
	})
	latest := make([]int64, d.Rows)
	for n := range d.Records {
		latest[key(n)] = n
	}
	for k, n := range latest {
		if err == nil && n != last[k] {
			err = fmt.Errorf("the last result of key %d is that of order %d, not %d", k, last[k], n)
		}
	}
	if err != nil {
		return fmt.Errorf("verify %q: %w", topic, err)
	}
	return nil
}
