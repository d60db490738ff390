package main

import (
	"context"
	"errors"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// Order is a value of topic orders, as JSON.
type Order struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

// Total is what a customer has ordered so far.
type Total struct {
	Orders int   `json:"orders"`
	Cents  int64 `json:"cents"`
}

var (
	rejected = failure.DeadLetter("orders-rejected")
	orders   = stream.NewTopic("orders", serde.String, serde.JSON[Order]()).OnDecodeError(rejected)
	totals   = stream.NewTopic("totals", serde.String, serde.JSON[Total]())
)

func build() (*topology.Topology, error) {
	// Types that no topic says, such as that of the rows of the table, are written as JSON.
	b := stream.NewBuilder(stream.Serdes(&serde.Registry{Fallback: serde.JSONCodec}))
	valid := stream.TryMapValues(stream.From(b, orders), check).OnError(rejected)
	byCustomer := stream.GroupBy(valid, func(_ string, o Order) string { return o.Customer })
	sums := table.Aggregate(byCustomer, "sums", table.Zero[Total], func(_ string, o Order, t Total) Total {
		return Total{Orders: t.Orders + 1, Cents: t.Cents + o.Cents}
	})
	stream.To(table.ToStream(sums), totals)
	return b.Build()
}

// check returns an order that can be counted. Its error goes to the policy of OnError, and into a header of the dead
// letter.
func check(_ context.Context, r stream.Record[string, Order]) (Order, error) {
	if r.Value.Customer == "" || r.Value.Cents <= 0 {
		return r.Value, errors.New("an order needs a customer and an amount")
	}
	return r.Value, nil
}
