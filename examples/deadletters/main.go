// Command deadletters looks up the places of visits. What cannot be processed goes to topic
// visits-rejected, with its key and value as they were read and the reason in its headers; the
// stream goes on.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

// Visit is a value of topic visits.
type Visit struct{ Address string }

var (
	rejected = failure.DeadLetter("visits-rejected")

	// A value that is no JSON does not get as far as a function: the topic says what happens to it.
	visits = stream.NewTopic("visits", serde.String, serde.JSON[Visit]()).OnDecodeError(rejected)
	places = stream.NewTopic("places", serde.String, serde.String)

	errUnknown = errors.New("unknown address")
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	// A service that does not answer may do so in a moment: it is asked three times more.
	found := stream.TryMapValues(stream.From(b, visits), geocode, stream.Timeout(5*time.Second)).
		OnError(failure.Retry(3, 100*time.Millisecond, time.Second, rejected))
	stream.To(found, places)
	return b.Build()
}

// geocode stands for a call to a service.
func geocode(_ context.Context, r stream.Record[string, Visit]) (string, error) {
	switch r.Value.Address {
	case "":
		return "", failure.Drop("no address") // expected: dropped and counted, whatever the policy
	case "Via Roma 1":
		return "Rome", nil
	}
	return "", errUnknown
}

func main() { program.Run("deadletters", build) }
