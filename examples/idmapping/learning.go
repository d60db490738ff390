package main

import (
	"context"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// Fact is what one message says about the owner of a phone number, with the message's time.
type Fact struct {
	IDs
	At    int64 `json:"at"` // milliseconds since 1970
	Erase bool  `json:"erase,omitempty"`
}

// Seen is an identifier and when it was said.
type Seen struct {
	Value string `json:"value"`
	At    int64  `json:"at"`
}

// newer is what counts of two sayings: the later one, of two at the same time the greater string.
// So the result does not depend on the order in which they come.
func (s Seen) newer(value string, at int64) Seen {
	if value == "" || at < s.At || at == s.At && value <= s.Value {
		return s
	}
	return Seen{value, at}
}

// Profile is the row of a phone number: what is known, and until when everything is to be
// forgotten. The row of an erased customer stays, without identifiers: without its Erased a fact
// that comes late would bring them back.
type Profile struct {
	IDCard   Seen  `json:"idCard"`
	DeviceID Seen  `json:"deviceId"`
	LastFact int64 `json:"lastFact"`
	Erased   int64 `json:"erased"`
}

// never is before every time that a record can have, so that a fact of 1970 counts like any other.
const never = -1

func newProfile() Profile {
	none := Seen{At: never}
	return Profile{IDCard: none, DeviceID: none, LastFact: never, Erased: never}
}

// add is what p becomes with one more fact. Facts may come in any order: the result is the same.
func (p Profile) add(f Fact) Profile {
	if f.Erase {
		p.Erased = max(p.Erased, f.At)
	} else if f.At > p.Erased {
		p.IDCard = p.IDCard.newer(f.IDCard, f.At)
		p.DeviceID = p.DeviceID.newer(f.DeviceID, f.At)
		p.LastFact = max(p.LastFact, f.At)
	}
	if p.IDCard.At <= p.Erased {
		p.IDCard = Seen{At: never}
	}
	if p.DeviceID.At <= p.Erased {
		p.DeviceID = Seen{At: never}
	}
	return p
}

// known says that there is something to tell of the customer: a fact that was not erased.
func (p Profile) known() bool { return p.LastFact > p.Erased }

// Topics are the topics of the service.
type Topics struct {
	Registrations, Rekeyed, Events, Output stream.Topic[string, IDs]
}

func newTopics(c Config) Topics {
	topic := func(name string) stream.Topic[string, IDs] { return stream.NewTopic(name, serde.String, idsSerde) }
	dead := failure.DeadLetter(c.deadLetters())
	return Topics{
		Registrations: topic(c.Table.Name).OnDecodeError(dead),
		Events:        topic(c.Stream.Name).OnDecodeError(dead),
		Rekeyed:       topic(c.Rekeyed.Name),
		Output:        topic(c.Output.Name),
	}
}

// learning is the topology in which the table learns from registrations and events alike: a device
// ID seen in one event and an ID card seen in the next come out together.
func learning(t Topics) (*topology.Topology, error) {
	b := stream.NewBuilder(stream.Serdes(&serde.Registry{Fallback: serde.JSONCodec}))
	events := stream.TryFilterRecords(stream.From(b, t.Events), hasValue).Named("events-with-value")
	all := stream.Merge(stream.From(b, t.Registrations), events)
	facts := stream.TryFilterRecords(stream.MapRecords(all, toFact).Named("facts"), hasPhone).Named("facts-with-phone")
	profiles := table.Aggregate(stream.GroupByKey(facts), "profiles", newProfile,
		func(_ string, f Fact, p Profile) Profile { return p.add(f) })
	known := table.Filter(profiles, func(_ string, p Profile) bool { return p.known() }).Named("known")
	out := table.MapValuesWithKey(known, func(phone string, p Profile) IDs {
		return IDs{Phone: phone, IDCard: p.IDCard.Value, DeviceID: p.DeviceID.Value}
	}).Named("complete")
	stream.To(table.ToStream(out), t.Output)
	return b.Build()
}

// toFact keys what a message says by its phone. A registration without a value erases the phone
// that is its key.
func toFact(r stream.Record[string, IDs]) stream.Record[string, Fact] {
	at := r.Time.UnixMilli()
	if r.Tombstone {
		return stream.WithValue(r, Fact{IDs: IDs{Phone: r.Key}, At: at, Erase: true})
	}
	return stream.WithKey(stream.WithValue(r, Fact{IDs: r.Value, At: at}), r.Value.Phone)
}

// Reasons for which messages are counted and skipped.
const (
	noPhone = "no phone"
	noEvent = "event without value"
)

func hasPhone(_ context.Context, r stream.Record[string, Fact]) (bool, error) {
	if r.Key == "" {
		return false, failure.Drop(noPhone)
	}
	return true, nil
}

func hasValue(_ context.Context, r stream.Record[string, IDs]) (bool, error) {
	if r.Tombstone {
		return false, failure.Drop(noEvent)
	}
	return true, nil
}
