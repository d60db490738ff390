// Command async asks a service about each visitor, up to 32 visitors at once in each task. Results
// leave in the order of their records, and a commit waits for the calls in flight, so a crash loses
// none of them.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

var (
	visits   = stream.NewTopic("visits", serde.String, serde.String) // visitor, page
	greeting = stream.NewTopic("greetings", serde.String, serde.String)
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	greeted := stream.TryMapValues(stream.From(b, visits), greet, stream.Async(32), stream.Timeout(2*time.Second)).
		OnError(failure.Retry(3, 100*time.Millisecond, time.Second, failure.Skip()))
	stream.To(greeted, greeting)
	return b.Build()
}

// greet stands for a call to a service. It runs on a goroutine of its own, so it must not use what
// other calls use without a lock.
func greet(ctx context.Context, r stream.Record[string, string]) (string, error) {
	return fmt.Sprintf("Hello %s, welcome to %s", r.Key, r.Value), ctx.Err()
}

func main() { program.Run("async", build) }
