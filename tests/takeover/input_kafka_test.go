//go:build kafka

package takeover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// inputs are the topics that the program reads.
var inputs = []string{"words", "clicks", "visits", "customers", "purchases", "prices", "sales", "lefts", "rights", "orders", "shops"}

// record is one of an input.
type record struct {
	topic, key, value string
	tombstone         bool
	at                int64 // ms since 1970
}

// step is how much later the records of a batch are than those of the one before: windows, sessions, pairs and grace periods
// span two batches and more.
const step = 30 * time.Second

// batch returns the records of a batch, in the order in which they are written.
//
// Batches n and n+1 may be processed at the same time, and which of two topics is read first is then open. What a record is
// joined with must not depend on that: customers change that no purchase of these batches is of, and sales are looked up in prices
// as of a time before both. Nor is an order deleted and inserted again in them, or changed while its shop is deleted: an answer that
// there is no row is dropped when the order has changed meanwhile, and the result of before stays, in Kafka Streams and here.
func batch(r *rand.Rand, began time.Time, n, each int) (out []record) {
	add := func(topic, key string, at time.Duration, value string) {
		at += time.Duration(n) * step
		out = append(out, record{topic: topic, key: key, value: value, at: began.Add(at).UnixMilli(), tombstone: value == ""})
	}
	name := func(kind string, of int) string { return fmt.Sprintf("%s%d", kind, r.IntN(of)) }
	orTombstone := func(v string) string {
		if r.IntN(5) == 0 {
			return ""
		}
		return v
	}
	var times []time.Duration
	for i := range each {
		times = append(times, time.Duration(i)*step/time.Duration(each))
	}
	for i := 1; i < each; i++ { // some disorder
		if j := max(0, i-1-r.IntN(3)); r.IntN(3) == 0 {
			times[i], times[j] = times[j], times[i]
		}
	}
	for i, at := range times {
		unique := fmt.Sprintf("%d.%d", n, i)
		add("words", name("k", 9), at, name("w", 9))
		add("clicks", name("c", 6), at, unique)
		add("visits", name("v", 30), at, unique)
		add("customers", fmt.Sprintf("c%d", 4*r.IntN(5)+n%4), at, orTombstone(name("city", 4)))
		add("purchases", fmt.Sprintf("c%d", 4*r.IntN(5)+(n+2)%4), at, unique)
		add("prices", name("p", 6), at, orTombstone("price"+unique))
		add("sales", name("p", 6), at-2*step, unique)
		add("lefts", name("j", 40), at, "l"+unique)
		add("rights", name("j", 40), at, "r"+unique)
		if r.IntN(4) == 0 {
			add("orders", fmt.Sprintf("o%d", 4*r.IntN(5)+n%4), at, "")
		} else {
			add("orders", fmt.Sprintf("o%d", 4*r.IntN(5)+(n+2)%4), at, fmt.Sprintf("s%d:%s", 4*r.IntN(2)+n%4, unique)) // its shop, and what is its own
		}
		if r.IntN(4) == 0 {
			add("shops", fmt.Sprintf("s%d", 4*r.IntN(2)+(n+2)%4), at, "")
		} else {
			add("shops", name("s", 8), at, "shop"+unique)
		}
	}
	return out
}

// writer writes records.
type writer struct {
	client *kgo.Client
	prefix string
}

func newWriter(t *testing.T, broker, prefix string) *writer {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ProducerLinger(0), kgo.UnknownTopicRetries(-1))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &writer{c, prefix}
}

func (w *writer) write(t *testing.T, ctx context.Context, rs []record) {
	t.Helper()
	var out []*kgo.Record
	for _, r := range rs {
		k := &kgo.Record{Topic: w.prefix + r.topic, Key: []byte(r.key), Value: []byte(r.value), Timestamp: time.UnixMilli(r.at)}
		if r.tombstone {
			k.Value = nil
		}
		out = append(out, k)
	}
	require.NoError(t, w.client.ProduceSync(ctx, out...).FirstErr())
}

// closing is what keys of records begin with that only move stream time on.
const closing = "~"

func isClosing(key string) bool { return strings.HasPrefix(key, closing) }

// close moves the time of all partitions on, so that windows close.
func (w *writer) close(t *testing.T, ctx context.Context, at time.Time) {
	t.Helper()
	var rs []record
	for i := range 16 { // some in each partition
		for _, topic := range []string{"clicks", "visits", "lefts", "sales"} {
			rs = append(rs, record{topic: topic, key: fmt.Sprint(closing, i), value: "close", at: at.UnixMilli()})
		}
	}
	w.write(t, ctx, rs)
}
