// Command globaltable completes payments with the names of their countries. The table of countries
// is small and each instance has all of it, so neither the keys nor the numbers of partitions of
// the two topics have to match, and nothing is repartitioned.
package main

import (
	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// Payment is a value of topic payments.
type Payment struct {
	Country string // its code
	Name    string // of the country; empty in topic payments
	Cents   int64
}

var (
	payments  = stream.NewTopic("payments", serde.String, serde.JSON[Payment]())
	completed = stream.NewTopic("completed-payments", serde.String, serde.JSON[Payment]())
	countries = stream.NewTopic("countries", serde.String, serde.String) // code, name; should be compacted
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	names := table.Global(b, countries, "country-names")
	named := join.StreamGlobalLeft(stream.From(b, payments), names,
		func(r stream.Record[string, Payment]) (string, bool) { return r.Value.Country, r.Value.Country != "" },
		func(p Payment, name string, ok bool) Payment {
			if p.Name = name; !ok {
				p.Name = "unknown"
			}
			return p
		})
	stream.To(named, completed)
	return b.Build()
}

func main() { program.Run("globaltable", build) }
