package sarama

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// fetchVersion is the only one that we read. Version 13 names topics by their ids, which Sarama does not.
const fetchVersion = 12

// emptyFetchRequest is the length of a fetch request without topics and rack: replica, wait, least and most bytes, isolation, session,
// its epoch, no topics, none forgotten, no rack, tags.
const emptyFetchRequest = 4 + 4 + 4 + 4 + 1 + 4 + 4 + 1 + 1 + 1 + 1

// write makes the body of a request for r.asked, behind room for its header. Under fetcher.mu.
func (r *reader) write(wait time.Duration) {
	b := slices.Grow(r.request[:0], headRoom+1<<10)[:headRoom]
	b = binary.BigEndian.AppendUint32(b, 0xffffffff) // no replica
	b = binary.BigEndian.AppendUint32(b, uint32(wait.Milliseconds()))
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, requestBytes)
	b = append(b, byte(r.f.cfg.Isolation))
	b = binary.BigEndian.AppendUint32(b, 0)          // no session,
	b = binary.BigEndian.AppendUint32(b, 0xffffffff) // and none wanted
	parts := make([]*fetchPart, 0, len(r.asked))
	for _, p := range r.asked {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(x, y *fetchPart) int { return strings.Compare(x.Topic, y.Topic) })
	b = binary.AppendUvarint(b, uint64(countTopics(parts)+1))
	for len(parts) > 0 {
		n := 1
		for n < len(parts) && parts[n].Topic == parts[0].Topic {
			n++
		}
		b = appendFetch(b, parts[:n])
		parts = parts[n:]
	}
	b = append(b, 1) // none forgotten
	rack := r.f.c.cfg.Rack
	b = append(binary.AppendUvarint(b, uint64(len(rack)+1)), rack...)
	r.request = append(b, 0)
}

func countTopics(sorted []*fetchPart) int {
	n, last := 0, kafka.TopicPartition{}
	for i, p := range sorted {
		if i == 0 || p.Topic != last.Topic {
			n++
		}
		last = p.TopicPartition
	}
	return n
}

// appendFetch asks for partitions of one topic.
func appendFetch(b []byte, parts []*fetchPart) []byte {
	topic := parts[0].Topic
	b = append(binary.AppendUvarint(b, uint64(len(topic)+1)), topic...)
	b = binary.AppendUvarint(b, uint64(len(parts)+1))
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
		b = binary.BigEndian.AppendUint32(b, uint32(p.epoch))
		b = binary.BigEndian.AppendUint64(b, uint64(p.pos))
		b = binary.BigEndian.AppendUint32(b, 0xffffffff)         // epoch of what was fetched last: not said
		b = binary.BigEndian.AppendUint64(b, 0xffffffffffffffff) // where a replica's log begins
		b = binary.BigEndian.AppendUint32(b, uint32(p.max))
		b = append(b, 0)
	}
	return append(b, 0)
}
