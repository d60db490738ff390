package main

import (
	"context"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// mapping is the topology of mapping mode: registrations, re-keyed by phone, are a table; each event
// is completed with the row of its phone. The table learns nothing from events, and an event of an
// unknown phone comes out as it is.
func mapping(t Topics) (*topology.Topology, error) {
	b := stream.NewBuilder()
	registrations := stream.MapRecords(stream.From(b, t.Registrations), byPhone).Named("registrations-by-phone")
	stream.To(stream.TryFilterRecords(registrations, hasKey).Named("registrations-with-phone"), t.Rekeyed)
	known := table.From(b, t.Rekeyed, "registered")

	events := stream.TryFilterRecords(stream.From(b, t.Events), hasValue).Named("events-with-value")
	events = stream.MapRecords(events, byPhone).Named("events-by-phone")
	events = stream.TryFilterRecords(events, hasKey).Named("events-with-phone")
	stream.To(join.StreamTableLeft(events, known, "complete", fill), t.Output)
	return b.Build()
}

// byPhone keys a message by its phone; a registration without a value keeps its key, which is the
// phone, and deletes its row.
func byPhone(r stream.Record[string, IDs]) stream.Record[string, IDs] {
	if r.Tombstone {
		return r
	}
	return stream.WithKey(r, r.Value.Phone)
}

func hasKey(_ context.Context, r stream.Record[string, IDs]) (bool, error) {
	if r.Key == "" {
		return false, failure.Drop(noPhone)
	}
	return true, nil
}

// fill completes an event with what the table knows.
func fill(event, row IDs, ok bool) IDs {
	if !ok {
		return event
	}
	if event.IDCard == "" {
		event.IDCard = row.IDCard
	}
	if event.DeviceID == "" {
		event.DeviceID = row.DeviceID
	}
	return event
}
