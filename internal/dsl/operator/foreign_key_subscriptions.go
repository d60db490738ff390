package operator

import (
	"encoding/binary"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
)

// Subscriptions are the left rows of a foreign-key join that refer to the right rows of a task. The
// store's key of each is
//
//	length of the foreign key 4 | foreign key | left key
//
// The length in front makes the subscriptions to one right row adjacent, and keeps out those to a
// longer key that begins with the same bytes. Owned by the task's goroutine.
type Subscriptions[FK any] struct {
	Name  string
	Store storage.Bytes
	// ForeignKey encodes a foreign key. The bytes are valid until its next call.
	ForeignKey func(FK) ([]byte, error)
	// Try decides about subscriptions that the store rejects.
	Try retry.Func

	key, end, value []byte
}

// Apply carries out a subscription: the store has it afterwards, or has it no longer.
func (s *Subscriptions[FK]) Apply(fk FK, subscription kswire.Subscription, at int64) error {
	if err := s.setPrefix(fk); err != nil {
		return err
	}
	s.key = append(s.key, subscription.Key...)
	switch subscription.Instruction {
	case kswire.Unsubscribe, kswire.UnsubscribeAndRespond:
		if err := s.Store.Delete(s.key, at); err != nil {
			return onRowError(s.Try, s.wrap, "delete", err, func() error { return s.Store.Delete(s.key, at) })
		}
		return nil
	}
	var err error
	if s.value, err = kswire.SubscriptionSerde.Append(s.value[:0], subscription); err != nil {
		return err
	}
	if err := s.Store.Put(s.key, s.value, at); err != nil {
		return onRowError(s.Try, s.wrap, "put", err, func() error { return s.Store.Put(s.key, s.value, at) })
	}
	return nil
}

// Of calls fn for all subscriptions to one right row, in the order of the left keys' bytes. What fn
// gets is valid until it returns. fn must not use the store.
func (s *Subscriptions[FK]) Of(fk FK, fn func(kswire.Subscription) error) error {
	if err := s.setPrefix(fk); err != nil {
		return err
	}
	s.end = append(s.end[:0], s.key...)
	// The end of the range is the next prefix of the same length. There always is one: a length is
	// never all ones, so the carry stops within the first four bytes.
	for i := len(s.end) - 1; ; i-- {
		if s.end[i]++; s.end[i] != 0 {
			break
		}
	}
	for e, err := range s.Store.Scan(storage.Range{From: s.key, To: s.end, ToBefore: true}) {
		if err != nil {
			return s.wrap("scan", err)
		}
		m, err := kswire.SubscriptionSerde.Decode(e.Value)
		if err != nil {
			return s.wrap("decode the value", codec.Undecodable(s.Name, err))
		}
		if err := fn(m); err != nil {
			return err
		}
	}
	return nil
}

// setPrefix sets s.key to what the store's keys of all subscriptions to fk begin with.
func (s *Subscriptions[FK]) setPrefix(fk FK) error {
	b, err := s.ForeignKey(fk)
	if err != nil {
		return err
	}
	s.key = append(binary.BigEndian.AppendUint32(s.key[:0], uint32(len(b))), b...)
	return nil
}

func (s *Subscriptions[FK]) wrap(what string, err error) error {
	return keyError(s.Name, s.key, what, err)
}
