package interchange

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/serde"
)

// Hash is that of the value of a left row, by which an answer is known to be one to what the row is now.
type Hash struct {
	Sum [16]byte
	OK  bool // there is a row
}

// HashOf returns the hash of the bytes of a row's value.
func HashOf(value []byte) Hash { return Hash{murmur3(value), true} }

// Instruction says what the right side of a foreign-key join does with a subscription.
type Instruction byte

// The instructions, numbered as on the wire.
const (
	// Leave ends the subscription.
	Leave Instruction = iota
	// LeaveAnswered ends it, and answers that there is no row.
	LeaveAnswered
	// Answered subscribes, and answers with the row or that there is none.
	Answered
	// AnsweredIfThere subscribes, and answers if there is a row.
	AnsweredIfThere
)

// Subscription is what a left row tells the right row that it refers to.
type Subscription struct {
	Hash        Hash
	Instruction Instruction
	Key         []byte // the left row's
	Partition   int32  // where the left row is; -1: not known (version 0, of Kafka Streams before 3.4)
}

// SubscriptionSerde writes subscriptions, for their topic and for the store of the right side.
var SubscriptionSerde serde.Serde[Subscription] = subscriptions{}

type subscriptions struct{}

// noHash is the bit of the first byte, beside the version, that says that there is no hash.
const noHash = 0x80

func appendHead(dst []byte, version byte, h Hash, more ...byte) []byte {
	if !h.OK {
		return append(append(dst, version|noHash), more...)
	}
	return append(append(append(dst, version), more...), h.Sum[:]...)
}

// head reads what appendHead wrote; skip bytes stand before the hash.
func head(what string, b []byte, latest byte, skip int) (version byte, h Hash, rest []byte, err error) {
	if len(b) < 1+skip {
		return 0, h, nil, fmt.Errorf("%s of %d bytes is too short", what, len(b))
	}
	if version = b[0] &^ noHash; version > latest {
		return 0, h, nil, fmt.Errorf("%s has version %d; known are those up to %d", what, version, latest)
	}
	if h.OK = b[0]&noHash == 0; !h.OK {
		return version, h, b[1+skip:], nil
	}
	b = b[1+skip:]
	if len(b) < len(h.Sum) {
		return 0, h, nil, fmt.Errorf("%s ends within its hash", what)
	}
	copy(h.Sum[:], b)
	return version, h, b[len(h.Sum):], nil
}

func (subscriptions) Append(dst []byte, s Subscription) ([]byte, error) {
	if s.Partition < 0 {
		return append(appendHead(dst, 0, s.Hash, byte(s.Instruction)), s.Key...), nil
	}
	dst = append(appendHead(dst, 1, s.Hash, byte(s.Instruction)), s.Key...)
	return binary.BigEndian.AppendUint32(dst, uint32(s.Partition)), nil
}

// Decode returns a subscription whose key is part of b.
func (subscriptions) Decode(b []byte) (s Subscription, err error) {
	version, h, rest, err := head("a subscription", b, 1, 1)
	if err != nil {
		return s, err
	}
	s = Subscription{Hash: h, Instruction: Instruction(b[1]), Key: rest, Partition: -1}
	if s.Instruction > AnsweredIfThere {
		return s, fmt.Errorf("a subscription has the unknown instruction %d", s.Instruction)
	}
	if version == 0 {
		return s, nil
	}
	if len(rest) < 4 {
		return s, errors.New("a subscription ends within its partition")
	}
	n := len(rest) - 4
	if s.Partition = int32(binary.BigEndian.Uint32(rest[n:])); s.Partition < 0 {
		return s, fmt.Errorf("a subscription is of partition %d", s.Partition)
	}
	s.Key = rest[:n:n]
	return s, nil
}

// Response is what the right side answers.
type Response[V any] struct {
	Hash      Hash // of the subscription
	Value     V
	HasValue  bool  // there is a row. One whose value has no bytes counts as none: the format has no form for it.
	Partition int32 // where the left row is: not part of the bytes
}

// ResponseSerde returns the serde of responses with values that inner writes.
func ResponseSerde[V any](inner serde.Serde[V]) serde.Serde[Response[V]] { return responses[V]{inner} }

type responses[V any] struct{ inner serde.Serde[V] }

// Bind returns the serde for a topic, where inner is another one for each.
func (s responses[V]) Bind(topic string, isKey bool) (serde.Serde[Response[V]], error) {
	b, ok := s.inner.(serde.Bound[V])
	if !ok {
		return s, nil
	}
	inner, err := b.Bind(topic, isKey)
	return responses[V]{inner}, err
}

func (s responses[V]) Append(dst []byte, r Response[V]) ([]byte, error) {
	dst = appendHead(dst, 0, r.Hash)
	if !r.HasValue {
		return dst, nil
	}
	return s.inner.Append(dst, r.Value)
}

func (s responses[V]) Decode(b []byte) (r Response[V], err error) {
	_, h, rest, err := head("an answer", b, 0, 0)
	if r.Hash = h; err != nil || len(rest) == 0 {
		return r, err
	}
	r.HasValue = true
	r.Value, err = s.inner.Decode(rest)
	return r, err
}
