// Command punctuation watches sensors: it reports those that have been silent for ten minutes. A
// processor remembers when each sensor was heard, and a punctuation looks through its store once a
// minute.
package main

import (
	"time"

	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

const silence = 10 * time.Minute

var (
	readings = stream.NewTopic("readings", serde.String, serde.Float64)
	silent   = stream.NewTopic("silent-sensors", serde.String, serde.Time) // the sensor, when it was heard last

	lastHeard = store.NewKeyValue("last-heard", serde.String, serde.Time)
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	stream.To(stream.Process(stream.From(b, readings), "watch", watch, lastHeard), silent)
	return b.Build()
}

func watch(c *stream.Context[string, time.Time]) (func(stream.Record[string, float64]) error, error) {
	last := lastHeard.In(c)
	// By the wall clock, since stream time stands still when all sensors are silent.
	c.EveryWallClock(time.Minute, func(now time.Time) error {
		for row, err := range last.All() {
			if err != nil {
				return err
			}
			if now.Sub(row.Value) < silence {
				continue
			}
			c.Forward(stream.Record[string, time.Time]{Key: row.Key, Value: row.Value})
			if err := last.Delete(row.Key); err != nil { // reported once
				return err
			}
		}
		return nil
	})
	return func(r stream.Record[string, float64]) error { return last.Put(r.Key, c.Now()) }, nil
}

func main() { program.Run("punctuation", build) }
