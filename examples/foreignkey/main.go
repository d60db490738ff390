// Command foreignkey completes orders with their customers. An order names its customer in its
// value, so the tables do not have the same keys. When a customer changes, all orders of the
// customer come out again.
package main

import (
	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// Order is a value of topic orders, whose keys are the orders' numbers.
type Order struct{ Customer, Item string }

// Customer is a value of topic customers, whose keys are the customers' ids.
type Customer struct{ Name, City string }

// Shipment is an order with all that is needed to send it.
type Shipment struct{ Item, Name, City string }

var (
	orders    = stream.NewTopic("orders", serde.Int64, serde.JSON[Order]())
	customers = stream.NewTopic("customers", serde.String, serde.JSON[Customer]())
	shipments = stream.NewTopic("shipments", serde.Int64, serde.JSON[Shipment]())
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	joined := join.ForeignKey(table.From(b, orders, "orders"), table.From(b, customers, "customers"), "order-customers",
		func(_ int64, o Order) (string, bool) { return o.Customer, o.Customer != "" },
		func(o Order, c Customer) Shipment { return Shipment{Item: o.Item, Name: c.Name, City: c.City} })
	// The result has a type that no topic above names.
	joined = joined.WithSerdes(serde.Int64, serde.JSON[Shipment]())
	stream.To(table.ToStream(joined), shipments)
	return b.Build()
}

func main() { program.Run("foreignkey", build) }
