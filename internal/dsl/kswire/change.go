// Package kswire has the values of internal topics that are not the user's, byte for byte as Kafka
// Streams writes them: what a table sends to the groups of its rows, and what the two sides of a
// foreign-key join send each other. docs/format/topics.md shows every byte.
package kswire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/serde"
)

// Change is what a row's change means for a group: a value to add, a value to remove, or both.
type Change[V any] struct {
	New, Old       V
	HasNew, HasOld bool // at least one of them
}

// ChangeSerde returns the serde of changes of values that inner writes.
func ChangeSerde[V any](inner serde.Serde[V]) serde.Serde[Change[V]] { return changes[V]{inner} }

type changes[V any] struct{ inner serde.Serde[V] }

// The last byte of a change is its kind: what precedes it. Kinds with a flag are never written here.
// They have one more byte before the last, which marks the row's latest version.
const (
	oldOnly = iota
	newOnly
	both // the length of the new value as a zig-zag varint, the new value, the old one
	oldFlagged
	newFlagged
	bothFlagged
)

// Bind returns the serde for a topic, where inner differs from topic to topic.
func (s changes[V]) Bind(topic string, isKey bool) (serde.Serde[Change[V]], error) {
	b, ok := s.inner.(serde.Bound[V])
	if !ok {
		return s, nil
	}
	inner, err := b.Bind(topic, isKey)
	return changes[V]{inner}, err
}

func (s changes[V]) Append(dst []byte, change Change[V]) (_ []byte, err error) {
	start, kind := len(dst), byte(newOnly)
	if change.HasNew {
		if dst, err = s.inner.Append(dst, change.New); err != nil {
			return nil, err
		}
		if change.HasOld {
			// The length of the new value stands before it, and is known only now: a serde appends,
			// it cannot say how much it will.
			var length [binary.MaxVarintLen64]byte
			n := binary.PutVarint(length[:], int64(len(dst)-start))
			dst, kind = slices.Insert(dst, start, length[:n]...), both
		}
	} else {
		kind = oldOnly
	}
	if change.HasOld {
		if dst, err = s.inner.Append(dst, change.Old); err != nil {
			return nil, err
		}
	}
	return append(dst, kind), nil
}

func (s changes[V]) Decode(b []byte) (change Change[V], err error) {
	if len(b) == 0 {
		return change, errors.New("a change is empty")
	}
	kind := b[len(b)-1]
	b = b[:len(b)-1]
	// Kinds with a flag are the same three with one more byte, which concerns tables that keep
	// versions, and is skipped.
	if kind >= oldFlagged && kind <= bothFlagged {
		if len(b) == 0 {
			return change, errors.New("a change lacks its flag")
		}
		kind, b = kind-oldFlagged, b[:len(b)-1]
	}
	switch kind {
	case oldOnly:
		change.HasOld = true
		change.Old, err = s.inner.Decode(b)
	case newOnly:
		change.HasNew = true
		change.New, err = s.inner.Decode(b)
	case both:
		return s.decodeBoth(b)
	default:
		err = fmt.Errorf("a change of unknown kind %d", kind)
	}
	return change, err
}

func (s changes[V]) decodeBoth(b []byte) (change Change[V], err error) {
	n, used := binary.Varint(b)
	if used <= 0 || used > binary.MaxVarintLen32 || n < 0 || n > int64(len(b)-used) {
		return change, errors.New("a change lacks the length of its new value")
	}
	b = b[used:]
	change.HasNew, change.HasOld = true, true
	if change.New, err = s.inner.Decode(b[:n:n]); err != nil {
		return change, err
	}
	change.Old, err = s.inner.Decode(b[n:])
	return change, err
}
