package op

import (
	"time"

	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Responding is an answer on its way: the left row's key, and the right row as bytes.
type Responding = topology.Record[[]byte, interchange.Response[[]byte]]

// Answer is the right side of a foreign-key join.
type Answer[FK, R any] struct {
	Get wire.Getter[FK, R]
	// Value encodes a right row; what it returns lives until its next call.
	Value func(R) ([]byte, error)
}

// Subscription answers a subscription, ok false when it wants no answer. Its time is the greater of the subscription's and the right
// row's.
func (a *Answer[FK, R]) Subscription(r topology.Record[FK, interchange.Subscription]) (out Responding, ok bool, err error) {
	m := r.Value
	if m.Instruction == interchange.Leave {
		return out, false, nil
	}
	var row R
	var at int64
	var there bool
	if !r.NoKey {
		if row, at, there, err = a.Get(r.Key); err != nil {
			return out, false, err
		}
	}
	if m.Instruction == interchange.AnsweredIfThere && !there {
		return out, false, nil
	}
	out = answer(r, m)
	if there && at > r.Time.UnixMilli() {
		out.Time = time.UnixMilli(at)
	}
	if there && m.Instruction != interchange.LeaveAnswered {
		out.Value.HasValue = true
		out.Value.Value, err = a.encode(row)
	}
	return out, true, err
}

// Change answers all subscriptions to a right row that has changed, with send.
func (a *Answer[FK, R]) Change(c wire.Change[FK, R], subscriptions *Subscriptions[FK], send wire.Outlet[[]byte, interchange.Response[[]byte]]) error {
	var value []byte
	if !c.Tombstone {
		var err error
		if value, err = a.encode(c.Value); err != nil {
			return err
		}
	}
	return subscriptions.Of(c.Key, func(m interchange.Subscription) error {
		out := answer(c.Record, m)
		out.Value.Value, out.Value.HasValue = value, !c.Tombstone
		return send(out)
	})
}

func (a *Answer[FK, R]) encode(row R) ([]byte, error) {
	b, err := a.Value(row)
	if err != nil {
		return nil, &RecordError{err}
	}
	return b, nil
}

func answer[K, V any](r topology.Record[K, V], m interchange.Subscription) Responding {
	return topology.WithValue(topology.WithKey(r, m.Key), interchange.Response[[]byte]{Hash: m.Hash, Partition: m.Partition})
}
