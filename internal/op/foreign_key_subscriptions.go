package op

import (
	"encoding/binary"
	"fmt"

	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/store"
)

// Subscriptions are the left rows of a foreign-key join that refer to the right rows of a task. The key of each in the store is
//
//	length of the foreign key 4 | foreign key | left key
//
// so that those of one right row stand together, and none of another whose key begins with the same bytes. Owned by the task's
// goroutine.
type Subscriptions[FK any] struct {
	Name  string
	Store store.Bytes
	// ForeignKey encodes a foreign key; what it returns lives until its next call.
	ForeignKey func(FK) ([]byte, error)

	key, end, value []byte
}

// Receive does with a subscription what it says: the store has it afterwards, or has it no longer.
func (s *Subscriptions[FK]) Receive(fk FK, m interchange.Subscription, at int64) error {
	if err := s.prefix(fk); err != nil {
		return err
	}
	s.key = append(s.key, m.Key...)
	switch m.Instruction {
	case interchange.Leave, interchange.LeaveAnswered:
		return s.record("delete", s.Store.Delete(s.key, at))
	}
	var err error
	if s.value, err = interchange.SubscriptionSerde.Append(s.value[:0], m); err != nil {
		return err
	}
	return s.record("put", s.Store.Put(s.key, s.value, at))
}

// Of calls f for all that refer to one right row, in the order of the left keys' bytes. What f gets lives until it returns; it must
// not use the store.
func (s *Subscriptions[FK]) Of(fk FK, f func(interchange.Subscription) error) error {
	if err := s.prefix(fk); err != nil {
		return err
	}
	s.end = append(s.end[:0], s.key...)
	for i := len(s.end) - 1; ; i-- { // the next prefix of this length: there is one, for a length is never all ones
		if s.end[i]++; s.end[i] != 0 {
			break
		}
	}
	for e, err := range s.Store.Scan(store.Range{From: s.key, To: s.end, ToBefore: true}) {
		if err != nil {
			return s.wrap("scan", err)
		}
		m, err := interchange.SubscriptionSerde.Decode(e.Value)
		if err != nil {
			return s.wrap("decode the value", err)
		}
		if err := f(m); err != nil {
			return err
		}
	}
	return nil
}

// prefix makes s.key what the keys of all subscriptions to fk begin with.
func (s *Subscriptions[FK]) prefix(fk FK) error {
	b, err := s.ForeignKey(fk)
	if err != nil {
		return &RecordError{fmt.Errorf("encode the foreign key: %w", err)}
	}
	s.key = append(binary.BigEndian.AppendUint32(s.key[:0], uint32(len(b))), b...)
	return nil
}

func (s *Subscriptions[FK]) wrap(what string, err error) error {
	return fmt.Errorf("store %q, key %q: %s: %w", s.Name, s.key, what, err)
}

func (s *Subscriptions[FK]) record(what string, err error) error {
	if err != nil {
		return &RecordError{s.wrap(what, err)}
	}
	return nil
}
