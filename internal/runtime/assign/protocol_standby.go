package assign

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

// appendStandbys appends the fields of an assignment that are about standbys, where they say something.
func (a Assignment) appendStandbys(data []byte) []byte {
	if len(a.Standbys) > 0 {
		data = appendField(data, tagCopies, appendTasks(nil, a.Standbys))
	}
	if len(a.WarmUps) > 0 {
		data = appendField(data, tagWarmUps, appendTasks(nil, a.WarmUps))
	}
	if len(a.Replacing) > 0 {
		data = appendField(data, tagReplacing, appendTasks(nil, a.Replacing))
	}
	if len(a.Leaving) > 0 {
		data = appendField(data, tagLeaving, appendTasks(nil, a.Leaving))
	}
	if len(a.WarmUps)+len(a.Replacing) > 0 {
		data = appendField(data, tagLag, binary.AppendUvarint(nil, uint64(a.AcceptableLag)))
	}
	if len(a.Unneeded) > 0 {
		data = appendField(data, tagUnneeded, appendTasks(nil, a.Unneeded))
	}
	return data
}

// standbyField reads one of these fields.
func (a *Assignment) standbyField(tag uint64, r *reader) {
	switch tag {
	case tagCopies:
		a.Standbys = r.tasks()
	case tagWarmUps:
		a.WarmUps = r.tasks()
		SortTasks(a.WarmUps)
	case tagReplacing:
		a.Replacing = r.tasks()
		SortTasks(a.Replacing)
	case tagLeaving:
		a.Leaving = r.tasks()
	case tagLag:
		a.AcceptableLag = int64(min(r.uvarint(), math.MaxInt64))
	case tagUnneeded:
		a.Unneeded = r.tasks()
	}
}

// appendPositions appends runs of positions of one sub-topology: its number, how many stores it has, a count, and for
// each its partition and the offsets plus one, so that 0 is unknown.
func appendPositions(b []byte, positions []Position) []byte {
	for len(positions) > 0 {
		first, n := positions[0], 1
		for n < len(positions) && positions[n].Task.Subtopology == first.Task.Subtopology &&
			len(positions[n].Offsets) == len(first.Offsets) {
			n++
		}
		b = binary.AppendUvarint(b, uint64(first.Task.Subtopology))
		b = binary.AppendUvarint(b, uint64(len(first.Offsets)))
		b = binary.AppendUvarint(b, uint64(n))
		for _, p := range positions[:n] {
			b = binary.AppendUvarint(b, uint64(p.Task.Partition))
			for _, offset := range p.Offsets {
				b = binary.AppendUvarint(b, uint64(offset+1))
			}
		}
		positions = positions[n:]
	}
	return b
}

// positions reads what appendPositions has written.
func (r *reader) positions() []Position {
	var out []Position
	for r.err == nil && len(r.buf) > 0 {
		sub := int(min(r.uvarint(), 1<<31-1))
		stores := r.count(int64(min(r.uvarint(), 1<<40)), 1)
		for range r.count(int64(min(r.uvarint(), 1<<40)), 1+stores) {
			p := Position{}
			p.Task.Subtopology, p.Task.Partition = sub, int32(min(r.uvarint(), 1<<31-1))
			p.Offsets = make([]int64, stores)
			for i := range p.Offsets {
				p.Offsets[i] = int64(min(r.uvarint(), math.MaxInt64)) - 1
			}
			if r.err != nil {
				return nil
			}
			out = append(out, p)
		}
	}
	return out
}

// appendTags appends a list of names: each key and, behind it, its value. The keys are sorted, since brokers compare
// what a member says with what it has said before.
func appendTags(b []byte, tags map[string]string) []byte {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		names = append(names, key, tags[key])
	}
	return appendNames(b, names)
}

// tags reads what appendTags has written.
func (r *reader) tags() map[string]string {
	names := r.names()
	out := make(map[string]string, len(names)/2)
	for i := 0; i+1 < len(names); i += 2 {
		out[names[i]] = names[i+1]
	}
	return out
}
