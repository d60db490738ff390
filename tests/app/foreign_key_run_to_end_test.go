package app_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// tables are the rows that were written, by topic.
type tables map[string]map[string]string

func (x tables) change(t *testing.T, b *broker.Broker, r *rand.Rand, n int) {
	for i := range n {
		topic, key, value := "orders", fmt.Sprint("o", r.IntN(30)), fmt.Sprintf("c%d|%d", r.IntN(7), r.IntN(1000))
		switch r.IntN(4) {
		case 0:
			topic, key, value = "customers", fmt.Sprint("c", r.IntN(7)), fmt.Sprint("n", i)
		case 1:
			topic, value = "costs", fmt.Sprint(i)
		case 2:
			value = value[strings.Index(value, "|")+1:] // nobody's
		}
		rec := broker.Record{Partition: broker.ByKey, Key: []byte(key), Value: []byte(value)}
		if x[topic][key] = value; r.IntN(4) == 0 {
			delete(x[topic], key)
			rec.Value = nil
		}
		require.NoError(t, b.Produce(t.Context(), topic, rec))
	}
}

// check compares what came out, last value by key, with the rows that there are.
func (x tables) check(t *testing.T, b *broker.Broker) {
	t.Helper()
	named, costs, counts := map[string]string{}, map[string]string{}, map[string]int64{}
	for k, order := range x["orders"] {
		c, _, refers := strings.Cut(order, "|")
		name, ok := x["customers"][c]
		if !refers {
			name, ok = "", false
		}
		named[k] = fmt.Sprint(order, " ", name, ok)
		if cost, ok := x["costs"][k]; ok {
			costs[k] = named[k] + " " + cost
		}
		if refers {
			counts[c]++
		}
	}
	assert.Equal(t, named, rowsIn(t, b, "named"))
	assert.Equal(t, costs, rowsIn(t, b, "with-costs"))
	for c, n := range latest(t, b, "counts") {
		assert.Equal(t, counts[c], n, c)
	}
}

func rowsIn(t *testing.T, b *broker.Broker, topic string) map[string]string {
	rs, err := b.Read(t.Context(), topic)
	require.NoError(t, err)
	rows := map[string]string{}
	for _, r := range rs {
		if rows[string(r.Key)] = string(r.Value); r.Value == nil {
			delete(rows, string(r.Key))
		}
	}
	return rows
}

func relatedBroker(t *testing.T) *broker.Broker {
	return broker.Start(t, broker.Virtual(), broker.Topic("orders", 3), broker.Topic("costs", 3), broker.Topic("customers", 5),
		broker.Topic("named", 2), broker.Topic("with-costs", 2), broker.Topic("counts", 2))
}

// The two sides of a foreign-key join feed each other: RunToEnd has to see that both are done.
func TestForeignKey_RunToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := relatedBroker(t)
		cfg := config(t, b)
		x, r := tables{"orders": {}, "customers": {}, "costs": {}}, rand.New(rand.NewPCG(1, 2))
		for round := range 3 {
			if round == 1 {
				cfg.StateDir = t.TempDir() // another machine
			}
			x.change(t, b, r, 200)
			runToEnd(t, foreignKeyJoins(t), cfg)
			x.check(t, b)
		}
	})
}

// When the orders are committed nothing need have come of them yet: the topics between the sides were empty when they were first looked at.
func TestForeignKey_RunToEndWaitsForBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := relatedBroker(t)
		orders := stream.NewTopic("orders", serde.String, serde.String)
		builder := stream.NewBuilder()
		slow := join.ForeignKeyLeft(table.From(builder, orders, "orders"), table.From(builder, stream.NewTopic("customers", serde.String, serde.String), "customers"),
			"named", func(_, order string) (string, bool) { return order, true },
			func(order, _ string, _ bool) string {
				time.Sleep(time.Second)
				return order
			})
		stream.To(table.ToStream(slow), stream.NewTopic("named", serde.String, serde.String))
		write(t, b, "orders", 0, 100)
		runToEnd(t, build(t, builder), config(t, b))
		assert.Len(t, rowsIn(t, b, "named"), 100)
	})
}

func TestForeignKey_Rebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := relatedBroker(t)
		x, r := tables{"orders": {}, "customers": {}, "costs": {}}, rand.New(rand.NewPCG(3, 4))
		first := start(t, foreignKeyJoins(t), config(t, b))
		x.change(t, b, r, 100)
		second := start(t, foreignKeyJoins(t), config(t, b))
		for range 20 {
			x.change(t, b, r, 10)
			time.Sleep(time.Second)
		}
		first.stop()
		x.change(t, b, r, 100)
		time.Sleep(20 * time.Second)
		second.stop()
		runToEnd(t, foreignKeyJoins(t), config(t, b))
		x.check(t, b)
	})
}
