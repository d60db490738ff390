// Package interchange has the values of internal topics that are not a user's own, byte for byte those of Kafka Streams: what a table
// sends to the groups of its rows, and what the two sides of a foreign-key join tell each other. docs/format/topics.md shows every byte.
package interchange

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/serde"
)

// Change is what happens to a group when a row of a table changes: what the row brings, what it takes away, or both.
type Change[V any] struct {
	New, Old       V
	HasNew, HasOld bool // one of them at least
}

// ChangeSerde returns the serde of changes of values that inner writes.
func ChangeSerde[V any](inner serde.Serde[V]) serde.Serde[Change[V]] { return changes[V]{inner} }

type changes[V any] struct{ inner serde.Serde[V] }

// The last byte of a change says what stands before it. Those with a flag are never written: they have one more byte before the last, which
// says whether the row's latest version is meant.
const (
	oldOnly = iota
	newOnly
	both // the length of the new value as a zig-zag varint, the new value, the old one
	oldFlagged
	newFlagged
	bothFlagged
)

// Bind returns the serde for a topic, where inner is another one for each.
func (s changes[V]) Bind(topic string, isKey bool) (serde.Serde[Change[V]], error) {
	b, ok := s.inner.(serde.Bound[V])
	if !ok {
		return s, nil
	}
	inner, err := b.Bind(topic, isKey)
	return changes[V]{inner}, err
}

func (s changes[V]) Append(dst []byte, c Change[V]) (_ []byte, err error) {
	start, kind := len(dst), byte(newOnly)
	if c.HasNew {
		if dst, err = s.inner.Append(dst, c.New); err != nil {
			return nil, err
		}
		if c.HasOld {
			var length [binary.MaxVarintLen64]byte
			n := binary.PutVarint(length[:], int64(len(dst)-start))
			dst, kind = slices.Insert(dst, start, length[:n]...), both
		}
	} else {
		kind = oldOnly
	}
	if c.HasOld {
		if dst, err = s.inner.Append(dst, c.Old); err != nil {
			return nil, err
		}
	}
	return append(dst, kind), nil
}

func (s changes[V]) Decode(b []byte) (c Change[V], err error) {
	if len(b) == 0 {
		return c, errors.New("a change is empty")
	}
	kind := b[len(b)-1]
	b = b[:len(b)-1]
	if kind >= oldFlagged && kind <= bothFlagged {
		if len(b) == 0 {
			return c, errors.New("a change lacks its flag")
		}
		kind, b = kind-oldFlagged, b[:len(b)-1]
	}
	switch kind {
	case oldOnly:
		c.HasOld = true
		c.Old, err = s.inner.Decode(b)
	case newOnly:
		c.HasNew = true
		c.New, err = s.inner.Decode(b)
	case both:
		return s.both(b)
	default:
		err = fmt.Errorf("a change of unknown kind %d", kind)
	}
	return c, err
}

func (s changes[V]) both(b []byte) (c Change[V], err error) {
	n, used := binary.Varint(b)
	if used <= 0 || used > binary.MaxVarintLen32 || n < 0 || n > int64(len(b)-used) {
		return c, errors.New("a change does not say how long its new value is")
	}
	b = b[used:]
	c.HasNew, c.HasOld = true, true
	if c.New, err = s.inner.Decode(b[:n:n]); err != nil {
		return c, err
	}
	c.Old, err = s.inner.Decode(b[n:])
	return c, err
}
