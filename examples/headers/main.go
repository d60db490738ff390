// Command headers routes orders by a header and adds one of its own. Headers travel with a record
// through the program; a step that makes a record from another one keeps them.
package main

import (
	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

var (
	orders     = stream.NewTopic("orders", serde.String, serde.String)
	test       = stream.NewTopic("test-orders", serde.String, serde.String)
	production = stream.NewTopic("production-orders", serde.String, serde.String)
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	in := stream.From(b, orders)
	ofTests, rest := stream.Branch(in, func(r stream.Record[string, string]) bool {
		value, ok := r.Headers.Get("environment")
		return ok && string(value) == "test"
	})
	stream.To(ofTests, test)
	// With copies the headers: records share them, so nothing changes them in place.
	marked := stream.MapRecords(rest, func(r stream.Record[string, string]) stream.Record[string, string] {
		return r.With("checked-by", []byte("headers-example"))
	})
	stream.To(marked, production)
	return b.Build()
}

func main() { program.Run("headers", build) }
