package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Subscription is what a member of a group of protocol type "consumer" tells the leader when it joins, in the bytes of
// Kafka's consumer protocol (ConsumerProtocolSubscription, version 3), so that Kafka's tools can read it.
type Subscription struct {
	Topics     []string
	UserData   []byte // nil: null
	Owned      []TopicPartition
	Generation int32  // in which Owned was assigned; -1: none. Absent below version 2.
	Rack       string // "": null. Absent below version 3.
}

// Assignment is what the leader tells a member (ConsumerProtocolAssignment, version 3).
type Assignment struct {
	Partitions []TopicPartition
	UserData   []byte // nil: null
}

// consumerVersion is the version that we write. Higher ones only add fields at the end; readers ignore what they do not know.
const consumerVersion = 3

// errShort is returned for bytes that end inside a field.
var errShort = errors.New("consumer protocol: the bytes end inside a field")

// AppendTo appends s to b.
func (s Subscription) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, consumerVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Topics)))
	for _, t := range s.Topics {
		b = appendString(b, t)
	}
	b = appendBytes(b, s.UserData)
	b = appendPartitions(b, s.Owned)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Generation))
	if s.Rack == "" {
		return binary.BigEndian.AppendUint16(b, 0xffff)
	}
	return appendString(b, s.Rack)
}

// DecodeSubscription reads what any version of the protocol writes. UserData aliases b.
func DecodeSubscription(b []byte) (Subscription, error) {
	r := wireReader{b: b}
	s := Subscription{Generation: -1}
	version := int16(r.uint16())
	for range r.count(2) {
		s.Topics = append(s.Topics, r.str())
	}
	s.UserData = r.bytes()
	if version >= 1 {
		s.Owned = r.partitions()
	}
	if version >= 2 {
		s.Generation = int32(r.uint32())
	}
	if version >= 3 {
		s.Rack = r.str()
	}
	if r.bad || version < 0 {
		return Subscription{}, fmt.Errorf("subscription: %w", errShort)
	}
	return s, nil
}

// AppendTo appends a to b.
func (a Assignment) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, consumerVersion)
	b = appendPartitions(b, a.Partitions)
	return appendBytes(b, a.UserData)
}

// DecodeAssignment reads what any version of the protocol writes. No bytes at all are an assignment of nothing: that is what the
// coordinator gives a member whom the leader has left out. UserData aliases b.
func DecodeAssignment(b []byte) (Assignment, error) {
	if len(b) == 0 {
		return Assignment{}, nil
	}
	r := wireReader{b: b}
	version := int16(r.uint16())
	a := Assignment{Partitions: r.partitions(), UserData: r.bytes()}
	if r.bad || version < 0 {
		return Assignment{}, fmt.Errorf("assignment: %w", errShort)
	}
	return a, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(b, 0xffffffff)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

// appendPartitions writes partitions by topic, both ascending, so that equal sets have equal bytes.
func appendPartitions(b []byte, tps []TopicPartition) []byte {
	topics := map[string][]int32{}
	for _, tp := range tps {
		topics[tp.Topic] = append(topics[tp.Topic], tp.Partition)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(topics)))
	for _, t := range slices.Sorted(maps.Keys(topics)) {
		b = appendString(b, t)
		slices.Sort(topics[t])
		b = binary.BigEndian.AppendUint32(b, uint32(len(topics[t])))
		for _, p := range topics[t] {
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		}
	}
	return b
}

// wireReader reads fields; once bad it yields zeros.
type wireReader struct {
	b   []byte
	bad bool
}

func (r *wireReader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *wireReader) uint16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *wireReader) uint32() uint32 {
	if v := r.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// count reads the length of an array whose elements take at least size bytes each: more than there are bytes for is no length.
func (r *wireReader) count(size int) int {
	n := int(int32(r.uint32()))
	if n < 0 || n > len(r.b)/size {
		r.bad = r.bad || n != -1 // a null array is an empty one
		return 0
	}
	return n
}

func (r *wireReader) str() string {
	n := int(int16(r.uint16()))
	if n < 0 {
		return ""
	}
	return string(r.take(n))
}

func (r *wireReader) bytes() []byte {
	n := int(int32(r.uint32()))
	if n < 0 || r.bad {
		return nil
	}
	return r.take(n)
}

func (r *wireReader) partitions() []TopicPartition {
	var tps []TopicPartition
	for range r.count(6) {
		topic := r.str()
		for range r.count(4) {
			tps = append(tps, TopicPartition{Topic: topic, Partition: int32(r.uint32())})
		}
	}
	return tps
}
