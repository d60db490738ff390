package op

import (
	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Subscribe is the left side of a foreign-key join: it tells the right side which row each of its own refers to. An answer to each
// subscription, and later one to each change of the right row, come back to Resolve.
type Subscribe[K, L, FK any] struct {
	// ForeignKey returns which row of the right table a left one refers to; ok false: to none.
	ForeignKey func(K, L) (fk FK, ok bool)
	// Left says that rows of the left side have results without the right one, so that every change wants an answer.
	Left bool
	// Equal says whether two foreign keys are one.
	Equal func(a, b FK) (bool, error)
	// Key and Value encode the left row; what they return lives until their next call.
	Key   func(K) ([]byte, error)
	Value func(L) ([]byte, error)
	// Partition is where the left rows of this task are.
	Partition int32
}

// Subscribing are the messages that follow from one change, to be sent in order: the key of each is a foreign key, and none where the row
// refers to none but wants an answer. They live until the next change.
type Subscribing[FK any] struct {
	Messages [2]topology.Record[FK, interchange.Subscription]
	N        int
	// Refused says that the new row refers to none, so that it has no result.
	Refused bool
}

// Change returns what to tell the right side.
//
// A row that goes on to refer to the same row wants an answer only if that is there: if not, it had no result before. One that refers to
// another row than before leaves the old one without an answer, and wants one from the new one in any case, since there may be a
// result to be deleted.
func (s *Subscribe[K, L, FK]) Change(c wire.Change[K, L]) (out Subscribing[FK], err error) {
	if c.Tombstone && !c.HasOld {
		return out, nil
	}
	m, err := s.message(c)
	if err != nil {
		return out, err
	}
	var from, to FK
	var was, is, same bool
	if c.HasOld {
		from, was = s.ForeignKey(c.Key, c.Old)
	}
	if !c.Tombstone {
		to, is = s.ForeignKey(c.Key, c.Value)
	}
	if was && is {
		if same, err = s.Equal(from, to); err != nil {
			return out, err
		}
	}
	send := func(fk FK, ok bool, i interchange.Instruction) {
		m.Instruction = i
		r := topology.WithValue(topology.WithKey(c.Record, fk), m)
		if r.NoKey = !ok; r.NoKey {
			r = r.Keyless()
		}
		out.Messages[out.N] = r
		out.N++
	}
	switch {
	case s.Left:
		if was && !same {
			send(from, true, interchange.Leave)
		}
		send(to, is, interchange.Answered)
	case !is:
		out.Refused = !c.Tombstone
		if was {
			send(from, true, interchange.LeaveAnswered)
		}
	case was && !same:
		send(from, true, interchange.Leave)
		send(to, true, interchange.Answered)
	default:
		send(to, true, interchange.AnsweredIfThere)
	}
	return out, nil
}

func (s *Subscribe[K, L, FK]) message(c wire.Change[K, L]) (m interchange.Subscription, err error) {
	if !c.Tombstone {
		b, err := s.Value(c.Value)
		if err != nil {
			return m, err
		}
		m.Hash = interchange.HashOf(b)
	}
	m.Partition = s.Partition
	m.Key, err = s.Key(c.Key)
	return m, err
}
