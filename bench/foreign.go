package main

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// The foreign-key join: orders, each of which refers to a shop, most of them to another one than before. Of the shops, which are a tenth
// of the orders' keys, there are all before there is an order.

const subscriptionSize = 30 // of a subscription's value: what the right side is told, and keeps

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

func foreign(b *stream.Builder, shops int64) {
	rows := serde.Func(appendRow, decodeRow)
	l := table.From(b, stream.NewTopic(ordersTopic, serde.Int64, rows), "orders-by-id")
	r := table.From(b, stream.NewTopic(shopsTopic, serde.Int64, rows), "shops-by-id")
	out := join.ForeignKey(l, r, "sold",
		func(_ int64, o row) (int64, bool) { return shopOf(o.ID, shops), true },
		func(o, s row) sold { return sold{o, s.ID} })
	stream.To(table.ToStream(out), stream.NewTopic(soldTopic, serde.Int64, serde.Func(appendSold, decodeSold)))
}

func (b *bench) foreign(ctx context.Context) error {
	shops := shopsOf(b.keys)
	if err := b.load(ctx, shopsTopic, shops, func(n int64) int64 { return n }); err != nil {
		return err
	}
	s := b.spec("foreign", b.state("foreign"), shops)
	s.Rows, s.Profile = shops, ""
	if _, _, err := measure(ctx, s); err != nil {
		return err
	}
	if err := b.load(ctx, ordersTopic, b.records, func(n int64) int64 { return keyOf(n, b.keys) }); err != nil {
		return err
	}
	s.Records, s.Profile, s.PerInput = b.records, b.profile, true
	return b.both(ctx, s, func() error { return b.verifyForeign(ctx, shops) })
}

// verifyForeign checks that the last result of each order is that of its last state. Results that were outrun by the next state are
// not there.
func (b *bench) verifyForeign(ctx context.Context, shops int64) error {
	last := make([]int64, b.keys)
	for k := range last {
		last[k] = -1
	}
	var want []byte
	err := b.read(ctx, soldTopic, func(r *kgo.Record) error {
		n, k := number(r.Value), number(r.Key)
		want = appendValue(want[:0], n)
		want = appendKey(want[:valueSize-8], shopOf(n, shops))
		if string(want) != string(r.Value) || keyOf(n, b.keys) != k || n < last[k] {
			return fmt.Errorf("order %d of key %d, after %d, is not as it should be", n, k, last[k])
		}
		last[k] = n
		return nil
	})
	orders, results := int64(0), int64(0)
	for k, n := range b.latest() {
		if err == nil && n != last[k] {
			err = fmt.Errorf("the last result of key %d is that of order %d, not %d", k, last[k], n)
		}
		if n >= 0 {
			orders++
		}
		if last[k] >= 0 {
			results++
		}
	}
	return expect(err, soldTopic, results, orders)
}

// latest returns the last record of each key, -1 where there is none.
func (b *bench) latest() []int64 {
	out := make([]int64, b.keys)
	for k := range out {
		out[k] = -1
	}
	for n := range b.records {
		out[keyOf(n, b.keys)] = n
	}
	return out
}
