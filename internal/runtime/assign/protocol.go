package assign

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// ProtocolType and Protocol are what members of our groups join with. The type is that of Kafka's
// consumers, so that Kafka's group tool understands the assignment. The protocol has a name that no
// other client uses, so that none joins by mistake.
const (
	ProtocolType = "consumer"
	Protocol     = "millstream"
)

// protocolVersion is the version of the consumer protocol that is written. 1 brought owned
// partitions, 2 the generation, 3 the rack. Later ones append, so a reader reads what it knows of
// them.
const protocolVersion = 3

const (
	tagProcess = 1
	tagWorkers = 2
	tagSubs    = 3
	tagOwned   = 4 // a list, which earlier versions wrote, and this one where partitions imply too much
	tagStored  = 5 // the same
	tagRound   = 6
	// Brokers write what all members of a group say as one record, so a task should take few bytes. Nearly always the
	// tasks that a member owns are those that read its partitions, which Kafka's own field has, and it stores those of
	// them that have stores. These fields have what is otherwise: no bytes, as a rule.
	tagOwnedChanges  = 7
	tagStoredChanges = 8
	tagStandbys      = 9 // a list, possibly empty: that it is there says that the member knows standbys
	tagPositions     = 10
	tagTags          = 11 // keys and values, which say where the member runs
	tagWasLeaving    = 12
)

// Encode returns the subscription in the format of Kafka's consumer protocol. What that has no
// field for is in the user data.
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
	b = appendField(b, tagSubs, appendSubs(nil, s.Subtopologies))
	if implied, ok := readers(s.Subtopologies, s.Partitions); ok {
		b = appendField(b, tagOwnedChanges, appendTasks(nil, changes(implied, s.Owned)))
	} else {
		b = appendField(b, tagOwned, appendTasks(nil, s.Owned))
	}
	b = appendField(b, tagStoredChanges, appendTasks(nil, changes(stateful(s.Subtopologies, s.Owned), s.Stored)))
	if s.Standby {
		b = appendField(b, tagStandbys, appendTasks(nil, s.Standbys))
		if len(s.Positions) > 0 {
			b = appendField(b, tagPositions, appendPositions(nil, s.Positions))
		}
	}
	if len(s.Leaving) > 0 {
		b = appendField(b, tagWasLeaving, appendTasks(nil, s.Leaving))
	}
	if len(s.Tags) > 0 {
		b = appendField(b, tagTags, appendTags(nil, s.Tags))
	}
	return appendField(b, tagRound, binary.AppendUvarint(nil, s.Round))
}

// DecodeSubscription decodes what a member sent when it joined. When only the user data cannot be
// decoded, it returns what Kafka's own fields say together with the error: such a member gets no
// tasks, but what it owns must not be assigned to others.
func DecodeSubscription(b []byte) (Subscription, error) {
	subscription := Subscription{Generation: -1, Workers: 1}
	r := &reader{buf: b}
	version := r.int16()
	subscription.Topics = r.strings()
	data := r.bytes()
	if version >= 1 {
		subscription.Partitions = r.partitions()
	}
	if version >= 2 {
		subscription.Generation = r.int32()
	}
	if version >= 3 {
		subscription.Rack = r.string()
	}
	if r.err != nil {
		return Subscription{}, fmt.Errorf("subscription: %w", r.err)
	}
	standard := subscription // what is known if the user data cannot be decoded
	var owned, stored taskChanges
	err := decodeFields(data, func(tag uint64, r *reader) error {
		switch tag {
		case tagOwnedChanges:
			owned = taskChanges{r.tasks(), true}
			subscription.Changes = true
		case tagStoredChanges:
			stored = taskChanges{r.tasks(), true}
		default:
			subscription.field(tag, r)
		}
		return nil
	})
	if err != nil {
		return standard, fmt.Errorf("subscription: %w", err)
	}
	// Fields may come in any order: these two need the others.
	if owned.present {
		implied, ok := readers(subscription.Subtopologies, subscription.Partitions)
		if !ok {
			return standard, fmt.Errorf("subscription: %w", errImplied)
		}
		subscription.Owned = changes(implied, owned.tasks)
	}
	if stored.present {
		subscription.Stored = changes(stateful(subscription.Subtopologies, subscription.Owned), stored.tasks)
	}
	return subscription, nil
}

// taskChanges is a field that says in which tasks a set differs from what another field implies.
type taskChanges struct {
	tasks   []graph.TaskID
	present bool
}

// changes returns, sorted, the tasks that are in exactly one of two sets. So changes(a, changes(a, b)) is b.
func changes(a, b []graph.TaskID) []graph.TaskID {
	times := make(map[graph.TaskID]bool, len(a)+len(b)) // in exactly one
	for _, set := range [][]graph.TaskID{a, b} {
		seen := make(map[graph.TaskID]bool, len(set)) // a task that is listed twice counts once
		for _, t := range set {
			if !seen[t] {
				seen[t], times[t] = true, !times[t]
			}
		}
	}
	var out []graph.TaskID
	for t, once := range times {
		if once {
			out = append(out, t)
		}
	}
	SortTasks(out)
	return out
}

// mostImplied is how many tasks the partitions of a member may imply. Each sub-topology may read each partition, so a
// message of a megabyte could imply ten billion, and whoever joins can send one. Where there are more, they are a list.
const mostImplied = 1 << 16

var errImplied = fmt.Errorf("its partitions are read by more than %d tasks", mostImplied)

// readers returns the tasks of the sub-topologies that read at least one of the partitions; ok is false when they
// are more than mostImplied. Topics that come by a pattern are left out: whose they are depends on more than their
// names.
func readers(subs []Subtopology, partitions []kafka.TopicPartition) (out []graph.TaskID, ok bool) {
	byTopic := map[string][]int{}
	for i, sub := range subs {
		for _, topic := range sub.Topics {
			byTopic[topic] = append(byTopic[topic], i)
		}
	}
	for _, tp := range partitions {
		if len(out)+len(byTopic[tp.Topic]) > mostImplied {
			return nil, false
		}
		for _, i := range byTopic[tp.Topic] {
			out = append(out, graph.TaskID{Subtopology: i, Partition: tp.Partition})
		}
	}
	SortTasks(out)
	return slices.Compact(out), true
}

// stateful returns the tasks of sub-topologies that have stores.
func stateful(subs []Subtopology, tasks []graph.TaskID) []graph.TaskID {
	var out []graph.TaskID
	for _, t := range tasks {
		if t.Subtopology < len(subs) && subs[t.Subtopology].Stateful() {
			out = append(out, t)
		}
	}
	return out
}

func (s *Subscription) field(tag uint64, r *reader) {
	switch tag {
	case tagProcess:
		copy(s.Process[:], r.next(len(s.Process)))
	case tagWorkers:
		s.Workers = int(min(max(r.uvarint(), 1), 1<<16))
	case tagSubs:
		s.Subtopologies = r.subs()
	case tagOwned:
		s.Owned = r.tasks()
	case tagStored:
		s.Stored = r.tasks()
	case tagRound:
		s.Round = r.uvarint()
	case tagStandbys:
		s.Standby, s.Standbys = true, r.tasks()
	case tagPositions:
		s.Positions = r.positions()
	case tagWasLeaving:
		s.Leaving = r.tasks()
	case tagTags:
		s.Tags = r.tags()
	}
}

const (
	tagTasks       = 1 // a list, which earlier versions wrote, and this one where partitions imply too much
	tagMoving      = 2
	tagExcluded    = 3
	tagAlone       = 4
	tagTaskChanges = 5 // in which tasks the assignment differs from those that read its partitions
	tagCopies      = 6 // tasks of which the member is to have standbys
	tagWarmUps     = 7
	tagLag         = 8 // what is acceptable, where there are warm-ups
	tagUnneeded    = 9
	tagReplacing   = 10
	tagLeaving     = 11
	tagProgram     = 12
)

// Encode returns the assignment in the format of Kafka's consumer protocol: the partitions where
// Kafka's tools look for them, the tasks in the user data. member is what the member that gets it has sent.
func (a Assignment) Encode(member Subscription) []byte {
	// Version 0 has all the fields that there are; Kafka's own assignors write the version of the
	// subscription, which reads the same.
	b := binary.BigEndian.AppendUint16(nil, protocolVersion)
	b = appendPartitions(b, a.Partitions)
	data := []byte{fieldsVersion}
	if implied, ok := readers(member.Subtopologies, a.Partitions); ok && member.Changes {
		data = appendField(data, tagTaskChanges, appendTasks(nil, changes(implied, a.Tasks)))
	} else {
		data = appendField(data, tagTasks, appendTasks(nil, a.Tasks))
	}
	data = appendField(data, tagMoving, binary.AppendUvarint(nil, uint64(a.Moving)))
	data = appendField(data, tagProgram, binary.BigEndian.AppendUint64(nil, program(member.Subtopologies)))
	if len(a.Excluded) > 0 {
		data = appendField(data, tagExcluded, appendExcluded(nil, a.Excluded))
	}
	if a.Alone {
		data = appendField(data, tagAlone, []byte{1})
	}
	data = a.appendStandbys(data)
	return appendBytes(b, data)
}

// DecodeAssignment reads what the leader assigned. No bytes at all, as a member gets that the
// leader did not know of, are no tasks. subs are the member's own sub-topologies, as it sent them when it joined.
func DecodeAssignment(b []byte, subs []Subtopology) (Assignment, error) {
	var assignment Assignment
	if len(b) == 0 {
		return assignment, nil
	}
	r := &reader{buf: b}
	// The version decides nothing: all that Kafka has begin with these two fields.
	r.int16()
	assignment.Partitions = r.partitions()
	data := r.bytes()
	if r.err != nil {
		return Assignment{}, fmt.Errorf("assignment: %w", r.err)
	}
	err := decodeFields(data, func(tag uint64, r *reader) error {
		switch tag {
		case tagTasks:
			assignment.Tasks = r.tasks()
		case tagTaskChanges:
			implied, ok := readers(subs, assignment.Partitions)
			if !ok {
				return errImplied
			}
			assignment.Tasks = changes(implied, r.tasks())
		case tagMoving:
			assignment.Moving = int(min(r.uvarint(), 1<<31-1))
		case tagExcluded:
			assignment.Excluded = r.excluded()
		case tagAlone:
			assignment.Alone = r.uvarint() != 0
		default:
			assignment.standbyField(tag, r)
		}
		return nil
	})
	if err != nil {
		return Assignment{}, fmt.Errorf("assignment: %w", err)
	}
	return assignment, nil
}

// MadeFor reports whether the leader has made an assignment for a member with these sub-topologies, to whose numbers
// its tasks refer. A static member that was restarted gets the assignment of the process before it, whose program may
// have been another one. Leaders of earlier versions do not say, and the answer is false.
func MadeFor(b []byte, subs []Subtopology) (same bool) {
	r := &reader{buf: b}
	r.int16()
	r.partitions()
	data := r.bytes()
	if r.err != nil {
		return false
	}
	err := decodeFields(data, func(tag uint64, r *reader) error {
		if id := r.buf; tag == tagProgram && len(id) == 8 {
			same = binary.BigEndian.Uint64(id) == program(subs)
		}
		return nil
	})
	return same && err == nil
}

// program identifies sub-topologies by a hash: the numbers of tasks refer to them.
func program(subs []Subtopology) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write(appendSubs(nil, subs))
	return hash.Sum64()
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
			partition := r.int32()
			// No task has such a number, and written as one of a task (a uvarint) it would become another number.
			if partition < 0 {
				r.fail(fmt.Errorf("partition %d of topic %q: must not be negative", partition, topic))
				return nil
			}
			out = append(out, kafka.TopicPartition{Topic: topic, Partition: partition})
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

func (r *reader) subs() []Subtopology {
	n := r.count(int64(min(r.uvarint(), 1<<40)), 3)
	var out []Subtopology
	for range n {
		out = append(out, Subtopology{Topics: r.names(), Patterns: r.names(), Stores: r.names()})
	}
	return out
}

// excluded reads exclusions: their numbers and members, then the sub-topologies that are run
// instead.
func (r *reader) excluded() []Exclusion {
	var out []Exclusion
	for range r.count(int64(min(r.uvarint(), 1<<40)), 2) {
		out = append(out, Exclusion{Sub: int(min(r.uvarint(), 1<<31-1)), Members: int(min(r.uvarint(), 1<<31-1))})
	}
	for i, s := range r.subs() {
		if i < len(out) {
			out[i].Instead = s
		}
	}
	return out
}

func appendExcluded(b []byte, exclusions []Exclusion) []byte {
	b = binary.AppendUvarint(b, uint64(len(exclusions)))
	var subs []Subtopology
	for _, exclusion := range exclusions {
		b = binary.AppendUvarint(b, uint64(exclusion.Sub))
		b = binary.AppendUvarint(b, uint64(exclusion.Members))
		subs = append(subs, exclusion.Instead)
	}
	return appendSubs(b, subs)
}

func appendSubs(b []byte, subs []Subtopology) []byte {
	b = binary.AppendUvarint(b, uint64(len(subs)))
	for _, s := range subs {
		for _, names := range [][]string{s.Topics, s.Patterns, s.Stores} {
			b = appendNames(b, names)
		}
	}
	return b
}

func appendNames(b []byte, names []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, n := range names {
		b = binary.AppendUvarint(b, uint64(len(n)))
		b = append(b, n...)
	}
	return b
}

func (r *reader) names() []string {
	var out []string
	for range r.count(int64(min(r.uvarint(), 1<<40)), 1) {
		out = append(out, string(r.next(r.count(int64(min(r.uvarint(), 1<<40)), 1))))
	}
	return out
}

// tasks reads runs of tasks of one sub-topology: its number, a count, the partitions.
func (r *reader) tasks() []graph.TaskID {
	var out []graph.TaskID
	for r.err == nil && len(r.buf) > 0 {
		sub := r.uvarint()
		for range r.count(int64(min(r.uvarint(), 1<<40)), 1) {
			out = append(out, graph.TaskID{Subtopology: int(min(sub, 1<<31-1)), Partition: int32(min(r.uvarint(), 1<<31-1))})
		}
	}
	return out
}

func appendTasks(b []byte, tasks []graph.TaskID) []byte {
	tasks = slices.Clone(tasks)
	SortTasks(tasks)
	for len(tasks) > 0 {
		n := slices.IndexFunc(tasks, func(t graph.TaskID) bool { return t.Subtopology != tasks[0].Subtopology })
		if n < 0 {
			n = len(tasks)
		}
		b = binary.AppendUvarint(b, uint64(tasks[0].Subtopology))
		b = binary.AppendUvarint(b, uint64(n))
		for _, t := range tasks[:n] {
			b = binary.AppendUvarint(b, uint64(t.Partition))
		}
		tasks = tasks[n:]
	}
	return b
}
