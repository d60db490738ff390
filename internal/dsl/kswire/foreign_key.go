package kswire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/serde"
)

// Hash is the hash of a left row's value. A response whose hash differs from that of the current
// row is outdated.
type Hash struct {
	Sum [16]byte
	OK  bool // the row exists
}

// HashOf returns the hash of the bytes of a row's value.
func HashOf(value []byte) Hash { return Hash{murmur3(value), true} }

// Instruction is what the right side of a foreign-key join does with a subscription.
type Instruction byte

// The instructions, numbered as on the wire.
const (
	// Unsubscribe ends the subscription.
	Unsubscribe Instruction = iota
	// UnsubscribeAndRespond ends it, and responds that there is no row.
	UnsubscribeAndRespond
	// SubscribeAndRespond subscribes, and responds with the row or that there is none.
	SubscribeAndRespond
	// SubscribeAndRespondIfPresent subscribes, and responds only if there is a row.
	SubscribeAndRespondIfPresent
)

// Subscription is what a left row sends to the right row that it refers to.
type Subscription struct {
	Hash        Hash
	Instruction Instruction
	Key         []byte // the left row's
	Partition   int32  // where the left row is; -1: not known (version 0, of Kafka Streams before 3.4)
}

// SubscriptionSerde writes subscriptions, for their topic and for the store of the right side.
var SubscriptionSerde serde.Serde[Subscription] = subscriptions{}

type subscriptions struct{}

// noHashBit is the bit of the first byte, beside the version, that marks a missing hash.
const noHashBit = 0x80

func appendHead(dst []byte, version byte, h Hash, more ...byte) []byte {
	if !h.OK {
		return append(append(dst, version|noHashBit), more...)
	}
	return append(append(append(dst, version), more...), h.Sum[:]...)
}

// decodeHead reads what appendHead wrote; skip bytes stand before the hash.
func decodeHead(what string, b []byte, latest byte, skip int) (version byte, h Hash, rest []byte, err error) {
	if len(b) < 1+skip {
		return 0, h, nil, fmt.Errorf("%s of %d bytes is too short", what, len(b))
	}
	if version = b[0] &^ noHashBit; version > latest {
		return 0, h, nil, fmt.Errorf("%s has version %d; known are those up to %d", what, version, latest)
	}
	if h.OK = b[0]&noHashBit == 0; !h.OK {
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
func (subscriptions) Decode(b []byte) (subscription Subscription, err error) {
	version, h, rest, err := decodeHead("a subscription", b, 1, 1)
	if err != nil {
		return subscription, err
	}
	subscription = Subscription{Hash: h, Instruction: Instruction(b[1]), Key: rest, Partition: -1}
	if subscription.Instruction > SubscribeAndRespondIfPresent {
		return subscription, fmt.Errorf("a subscription has the unknown instruction %d", subscription.Instruction)
	}
	// Version 0 has no partition. The response then goes to that of the left row's key.
	if version == 0 {
		return subscription, nil
	}
	if len(rest) < 4 {
		return subscription, errors.New("a subscription ends within its partition")
	}
	n := len(rest) - 4
	if subscription.Partition = int32(binary.BigEndian.Uint32(rest[n:])); subscription.Partition < 0 {
		return subscription, fmt.Errorf("a subscription is of partition %d", subscription.Partition)
	}
	subscription.Key = rest[:n:n]
	return subscription, nil
}

// Response is what the right side sends back.
type Response[V any] struct {
	Hash      Hash // of the subscription
	Value     V
	HasValue  bool  // there is a row. One whose value has no bytes counts as none: the format has no form for it.
	Partition int32 // where the left row is: not part of the bytes
}

// ResponseSerde returns the serde of responses with values that inner writes.
func ResponseSerde[V any](inner serde.Serde[V]) serde.Serde[Response[V]] { return responses[V]{inner} }

type responses[V any] struct{ inner serde.Serde[V] }

// Bind returns the serde for a topic, where inner differs from topic to topic.
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

func (s responses[V]) Decode(b []byte) (response Response[V], err error) {
	_, h, rest, err := decodeHead("an answer", b, 0, 0)
	if response.Hash = h; err != nil || len(rest) == 0 {
		return response, err
	}
	response.HasValue = true
	response.Value, err = s.inner.Decode(rest)
	return response, err
}
