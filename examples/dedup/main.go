// Command dedup passes each event on once. A sender that gets no answer sends an event again,
// within an hour.
package main

import (
	"time"

	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

var (
	events = stream.NewTopic("events", serde.String, serde.String) // the event's id, its payload
	unique = stream.NewTopic("unique-events", serde.String, serde.String)

	// A window store deletes by itself what is older than its retention: ids do not pile up for ever.
	seen = store.NewWindow("seen-ids", serde.String, serde.Bool, time.Hour, 2*time.Hour)
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	// ProcessValues cannot change keys, so what follows needs no repartition topic.
	stream.To(stream.ProcessValues(stream.From(b, events), "deduplicate", deduplicate, seen), unique)
	return b.Build()
}

func deduplicate(c *stream.ValueContext[string]) (func(stream.Record[string, string]) error, error) {
	seen := seen.In(c)
	return func(r stream.Record[string, string]) error {
		for _, err := range seen.Fetch(r.Key, r.Time.Add(-time.Hour), r.Time.Add(time.Hour)) {
			return err // nil: the id has been here, and the record is dropped
		}
		c.Forward(r.Value)
		return seen.Put(r.Key, r.Time, true)
	}, nil
}

func main() { program.Run("dedup", build) }
