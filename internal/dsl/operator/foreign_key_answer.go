package operator

import (
	"time"

	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// ResponseRecord is a response on its way back: the left row's key, and the right row as bytes.
type ResponseRecord = topology.Record[[]byte, kswire.Response[[]byte]]

// Answer is the right side of a foreign-key join.
type Answer[FK, R any] struct {
	Get wire.Getter[FK, R]
	// Value encodes a right row. The bytes are valid until its next call.
	Value func(R) ([]byte, error)
}

// Subscription answers a subscription; ok is false when it wants no answer. The answer's time is
// the greater of the subscription's and the right row's.
func (a *Answer[FK, R]) Subscription(
	record topology.Record[FK, kswire.Subscription],
) (out ResponseRecord, ok bool, err error) {
	subscription := record.Value
	if subscription.Instruction == kswire.Unsubscribe {
		return out, false, nil
	}
	var row R
	var at int64
	var exists bool
	// A left row without a foreign key subscribes to nothing, and in a left join still wants an
	// answer: that there is no right row.
	if !record.NoKey {
		if row, at, exists, err = a.Get(record.Key); err != nil {
			return out, false, err
		}
	}
	if subscription.Instruction == kswire.SubscribeAndRespondIfPresent && !exists {
		return out, false, nil
	}
	out = responseTo(record, subscription)
	if exists && at > record.Time.UnixMilli() {
		out.Time = time.UnixMilli(at)
	}
	// A left row that has left this foreign key gets the answer "no row", so that its result is
	// deleted, whatever the right side has.
	if exists && subscription.Instruction != kswire.UnsubscribeAndRespond {
		out.Value.HasValue = true
		out.Value.Value, err = a.Value(row)
	}
	return out, true, err
}

// Change answers all subscriptions to a right row that has changed.
func (a *Answer[FK, R]) Change(
	change wire.Change[FK, R], subscriptions *Subscriptions[FK], emit wire.Outlet[[]byte, kswire.Response[[]byte]],
) error {
	var value []byte
	if !change.Tombstone {
		var err error
		if value, err = a.Value(change.Value); err != nil {
			return err
		}
	}
	return subscriptions.Of(change.Key, func(subscription kswire.Subscription) error {
		out := responseTo(change.Record, subscription)
		out.Value.Value, out.Value.HasValue = value, !change.Tombstone
		return emit(out)
	})
}

func responseTo[K, V any](r topology.Record[K, V], m kswire.Subscription) ResponseRecord {
	return topology.WithValue(topology.WithKey(r, m.Key), kswire.Response[[]byte]{Hash: m.Hash, Partition: m.Partition})
}
