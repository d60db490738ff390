package operator

import (
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// Subscribe is the left side of a foreign-key join: it subscribes each left row to the right row
// that it refers to. Resolve gets a response to each subscription, and later one for each change of
// the right row.
type Subscribe[K, L, FK any] struct {
	// ForeignKey returns the key of the right row that a left one refers to; ok false: it refers to
	// none.
	ForeignKey func(K, L) (fk FK, ok bool)
	// Left has rows of the left side have results without a right row, so that each change wants a
	// response.
	Left bool
	// Equal reports whether two foreign keys are equal.
	Equal func(a, b FK) (bool, error)
	// Key and Value encode the left row. The bytes are valid until their next call.
	Key   func(K) ([]byte, error)
	Value func(L) ([]byte, error)
	// Partition is that of this task, which responses are sent to.
	Partition int32
}

// SubscribeMessages are the messages that follow from one change, to be sent in order. The key of
// each is a foreign key. It is absent where the row refers to none and still wants a response. They
// are valid until the next change.
type SubscribeMessages[FK any] struct {
	Messages [2]topology.Record[FK, kswire.Subscription]
	Count    int
	// NoForeignKey reports that the new row refers to no right row and therefore has no result.
	NoForeignKey bool
}

// Change returns the messages for the right side: at most one that unsubscribes and one that
// subscribes. The cases are those of Kafka Streams' SubscriptionSendProcessorSupplier.
func (s *Subscribe[K, L, FK]) Change(change wire.Change[K, L]) (out SubscribeMessages[FK], err error) {
	// A deletion of a row that did not exist: nobody has subscribed, and there is no result to
	// delete.
	if change.Tombstone && !change.HasOld {
		return out, nil
	}
	m, err := s.message(change)
	if err != nil {
		return out, err
	}
	var from, to FK
	var hadKey, hasKey, same bool
	if change.HasOld {
		from, hadKey = s.ForeignKey(change.Key, change.Old)
	}
	if !change.Tombstone {
		to, hasKey = s.ForeignKey(change.Key, change.Value)
	}
	if hadKey && hasKey {
		if same, err = s.Equal(from, to); err != nil {
			return out, err
		}
	}
	add := func(fk FK, ok bool, i kswire.Instruction) {
		m.Instruction = i
		r := topology.WithValue(topology.WithKey(change.Record, fk), m)
		if r.NoKey = !ok; r.NoKey {
			r = r.Keyless()
		}
		out.Messages[out.Count] = r
		out.Count++
	}
	switch {
	// A left join has a result for every row, so every change wants a response. The subscription
	// that it replaces ends silently.
	case s.Left:
		if hadKey && !same {
			add(from, true, kswire.Unsubscribe)
		}
		add(to, hasKey, kswire.SubscribeAndRespond)
	// The row no longer refers to anything, or was deleted. The right side must answer once more,
	// or the old result would stay.
	case !hasKey:
		out.NoForeignKey = !change.Tombstone
		if hadKey {
			add(from, true, kswire.UnsubscribeAndRespond)
		}
	// The row refers to another one now. The response to the old foreign key could overtake the one
	// to the new, so only the new one responds, and responds in any case: if there is no right row,
	// the old result has to be deleted.
	case hadKey && !same:
		add(from, true, kswire.Unsubscribe)
		add(to, true, kswire.SubscribeAndRespond)
	// The row refers to the same right row as before, or is new. If that right row does not exist
	// there was no result before either, so no response is needed.
	default:
		add(to, true, kswire.SubscribeAndRespondIfPresent)
	}
	return out, nil
}

func (s *Subscribe[K, L, FK]) message(change wire.Change[K, L]) (subscription kswire.Subscription, err error) {
	if !change.Tombstone {
		b, err := s.Value(change.Value)
		if err != nil {
			return subscription, err
		}
		subscription.Hash = kswire.HashOf(b)
	}
	subscription.Partition = s.Partition
	subscription.Key, err = s.Key(change.Key)
	return subscription, err
}
