// Command middleware measures each step of a program: how many records came to it and how long they
// took, what follows included.
package main

import (
	"expvar"
	"strings"
	"time"

	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

var (
	lines = stream.NewTopic("lines", serde.String, serde.String)
	loud  = stream.NewTopic("loud-lines", serde.String, serde.String)

	records = expvar.NewMap("records") // by step; any library for metrics will do
	nanos   = expvar.NewMap("nanoseconds")
)

// measure is called once for each step and task, and the function that it returns for each record.
func measure(step topology.Node, _ string) topology.Around {
	return func(_ topology.Passing, next func() error) error {
		start := time.Now()
		err := next()
		records.Add(step.Name, 1)
		nanos.Add(step.Name, int64(time.Since(start)))
		return err
	}
}

func build() (*topology.Topology, error) {
	b := stream.NewBuilder(stream.Middleware(measure))
	upper := stream.MapValues(stream.From(b, lines).Named("lines"), strings.ToUpper).Named("upper")
	stream.To(upper, loud).Named("loud")
	return b.Build()
}

func main() { program.Run("middleware", build) }
