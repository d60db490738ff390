package assign

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// ProtocolType and Protocol are what our groups say when they join. The type is that of Kafka's consumers, so that Kafka's group
// tool understands the assignment; the protocol's name is our own, so that other clients do not join by mistake.
const (
	ProtocolType = "consumer"
	Protocol     = "millstream"
)

// Version of the consumer protocol that we write. 1 brought owned partitions, 2 the generation, 3 the rack. Later ones append, so a
// reader takes what it knows of them.
const protocolVersion = 3

const (
	tagProcess = 1
	tagWorkers = 2
	tagSubs    = 3
	tagOwned   = 4
	tagStored  = 5
	tagRound   = 6
)

// Encode returns the subscription in the format of Kafka's consumer protocol, with what it has no field for in the user data.
func (s Subscription) Encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, protocolVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Topics)))
	for _, t := range s.Topics {
		b = appendString(b, t)
	}
	b = appendBytes(b, s.userData())
	b = appendPartitions(b, s.Partitions)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Generation))
	if s.Rack == "" {
		return binary.BigEndian.AppendUint16(b, 0xffff)
	}
	return appendString(b, s.Rack)
}

func (s Subscription) userData() []byte {
	b := []byte{fieldsVersion}
	b = appendField(b, tagProcess, s.Process[:])
	b = appendField(b, tagWorkers, binary.AppendUvarint(nil, uint64(max(s.Workers, 1))))
	b = appendField(b, tagSubs, appendSubs(nil, s.Subs))
	if len(s.Owned) > 0 {
		b = appendField(b, tagOwned, appendTasks(nil, s.Owned))
	}
	if len(s.Stored) > 0 {
		b = appendField(b, tagStored, appendTasks(nil, s.Stored))
	}
	return appendField(b, tagRound, binary.AppendUvarint(nil, s.Round))
}

// DecodeSubscription reads what a member sent when it joined. When only the user data cannot be read, the error comes with what Kafka's
// own fields say: the member gets no tasks then, and what it owns is not taken for free.
func DecodeSubscription(b []byte) (Subscription, error) {
	s := Subscription{Generation: -1, Workers: 1}
	r := &reader{b: b}
	version := r.int16()
	s.Topics = r.strings()
	data := r.bytes()
	if version >= 1 {
		s.Partitions = r.partitions()
	}
	if version >= 2 {
		s.Generation = r.int32()
	}
	if version >= 3 {
		s.Rack = r.string()
	}
	if r.err != nil {
		return Subscription{}, fmt.Errorf("subscription: %w", r.err)
	}
	standard := s
	if err := fields(data, s.field); err != nil {
		return standard, fmt.Errorf("subscription: %w", err)
	}
	return s, nil
}

func (s *Subscription) field(tag uint64, r *reader) error {
	switch tag {
	case tagProcess:
		copy(s.Process[:], r.take(len(s.Process)))
	case tagWorkers:
		s.Workers = int(min(max(r.uvarint(), 1), 1<<16))
	case tagSubs:
		s.Subs = r.subs()
	case tagOwned:
		s.Owned = r.tasks()
	case tagStored:
		s.Stored = r.tasks()
	case tagRound:
		s.Round = r.uvarint()
	}
	return nil
}

const (
	tagTasks  = 1
	tagMoving = 2
)

// Encode returns the assignment in the format of Kafka's consumer protocol: the partitions where Kafka's tools look for them, the
// tasks in the user data.
func (a Assignment) Encode() []byte {
	// Version 0 has all the fields that there are; Kafka's own assignors write the version of the subscription, which reads the same.
	b := binary.BigEndian.AppendUint16(nil, protocolVersion)
	b = appendPartitions(b, a.Partitions)
	data := appendField([]byte{fieldsVersion}, tagTasks, appendTasks(nil, a.Tasks))
	data = appendField(data, tagMoving, binary.AppendUvarint(nil, uint64(a.Moving)))
	return appendBytes(b, data)
}

// DecodeAssignment reads what the leader assigned. No bytes at all, as a member gets that the leader did not know of, are no tasks.
func DecodeAssignment(b []byte) (Assignment, error) {
	var a Assignment
	if len(b) == 0 {
		return a, nil
	}
	r := &reader{b: b}
	r.int16()
	a.Partitions = r.partitions()
	data := r.bytes()
	if r.err != nil {
		return Assignment{}, fmt.Errorf("assignment: %w", r.err)
	}
	err := fields(data, func(tag uint64, r *reader) error {
		switch tag {
		case tagTasks:
			a.Tasks = r.tasks()
		case tagMoving:
			a.Moving = int(min(r.uvarint(), 1<<31-1))
		}
		return nil
	})
	if err != nil {
		return Assignment{}, fmt.Errorf("assignment: %w", err)
	}
	return a, nil
}

func (r *reader) strings() []string {
	n := r.count(int64(r.int32()), 2)
	var out []string
	for range n {
		out = append(out, r.string())
	}
	return out
}

func (r *reader) partitions() []kafka.TopicPartition {
	var out []kafka.TopicPartition
	for range r.count(int64(r.int32()), 6) {
		topic := r.string()
		for range r.count(int64(r.int32()), 4) {
			out = append(out, kafka.TopicPartition{Topic: topic, Partition: r.int32()})
		}
	}
	return out
}

func appendPartitions(b []byte, tps []kafka.TopicPartition) []byte {
	byTopic := map[string][]int32{}
	for _, tp := range tps {
		byTopic[tp.Topic] = append(byTopic[tp.Topic], tp.Partition)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(byTopic)))
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		b = appendString(b, topic)
		b = binary.BigEndian.AppendUint32(b, uint32(len(byTopic[topic])))
		for _, p := range slices.Sorted(slices.Values(byTopic[topic])) {
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		}
	}
	return b
}

func (r *reader) subs() []Sub {
	n := r.count(int64(min(r.uvarint(), 1<<40)), 3)
	var out []Sub
	for range n {
		out = append(out, Sub{Topics: r.names(), Patterns: r.names(), Stores: r.names()})
	}
	return out
}

func appendSubs(b []byte, subs []Sub) []byte {
	b = binary.AppendUvarint(b, uint64(len(subs)))
	for _, s := range subs {
		for _, names := range [][]string{s.Topics, s.Patterns, s.Stores} {
			b = binary.AppendUvarint(b, uint64(len(names)))
			for _, n := range names {
				b = binary.AppendUvarint(b, uint64(len(n)))
				b = append(b, n...)
			}
		}
	}
	return b
}

func (r *reader) names() []string {
	var out []string
	for range r.count(int64(min(r.uvarint(), 1<<40)), 1) {
		out = append(out, string(r.take(r.count(int64(min(r.uvarint(), 1<<40)), 1))))
	}
	return out
}

// tasks reads runs of tasks of one sub-topology: its number, a count, the partitions.
func (r *reader) tasks() []graph.TaskID {
	var out []graph.TaskID
	for r.err == nil && len(r.b) > 0 {
		sub := r.uvarint()
		for range r.count(int64(min(r.uvarint(), 1<<40)), 1) {
			out = append(out, graph.TaskID{Sub: int(min(sub, 1<<31-1)), Partition: int32(min(r.uvarint(), 1<<31-1))})
		}
	}
	return out
}

func appendTasks(b []byte, tasks []graph.TaskID) []byte {
	tasks = slices.Clone(tasks)
	SortTasks(tasks)
	for len(tasks) > 0 {
		n := slices.IndexFunc(tasks, func(t graph.TaskID) bool { return t.Sub != tasks[0].Sub })
		if n < 0 {
			n = len(tasks)
		}
		b = binary.AppendUvarint(b, uint64(tasks[0].Sub))
		b = binary.AppendUvarint(b, uint64(n))
		for _, t := range tasks[:n] {
			b = binary.AppendUvarint(b, uint64(t.Partition))
		}
		tasks = tasks[n:]
	}
	return b
}
