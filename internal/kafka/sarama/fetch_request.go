package sarama

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// fetchVersion is the only one that we read. Version 13 names topics by their ids, which Sarama
// does not.
const fetchVersion = 12

// emptyFetchSize is the length of a fetch request without topics and rack: replica, wait, least and
// most bytes, isolation, session, its epoch, no topics, none forgotten, no rack, tags.
const emptyFetchSize = 4 + 4 + 4 + 4 + 1 + 4 + 4 + 1 + 1 + 1 + 1

const (
	none32 = 0xffffffff
	none64 = 0xffffffffffffffff
)

// encodeRequest makes the body of the request that the session has begun, behind room for its
// header. Under fetcher.mu.
func (r *reader) encodeRequest(wait time.Duration) {
	b := slices.Grow(r.request[:0], maxHeaderSize+1<<10)[:maxHeaderSize]
	b = binary.BigEndian.AppendUint32(b, none32) // this is no replica
	b = binary.BigEndian.AppendUint32(b, uint32(wait.Milliseconds()))
	b = binary.BigEndian.AppendUint32(b, 1) // a single byte ends the wait
	b = binary.BigEndian.AppendUint32(b, maxFetchBytes)
	b = append(b, byte(r.fetcher.cfg.Isolation))
	s := &r.session
	b = binary.BigEndian.AppendUint32(b, uint32(s.id))
	b = binary.BigEndian.AppendUint32(b, uint32(s.epoch))
	parts := s.changed
	slices.SortFunc(parts, func(x, y *fetchPartition) int { return strings.Compare(x.Topic, y.Topic) })
	topic := func(p *fetchPartition) string { return p.Topic }
	b = appendCompactLength(b, countTopics(parts, topic))
	for parts := range topicRuns(parts, topic) {
		b = appendFetchTopic(b, parts)
	}
	clear(parts) // a poll may take seconds; what a removed partition has buffered is not to wait for its end
	b = appendForgotten(b, s.forgotten)
	b = appendCompactString(b, r.fetcher.client.cfg.Rack)
	r.request = append(b, noTags)
}

// appendFetchTopic asks for partitions of one topic.
func appendFetchTopic(b []byte, parts []*fetchPartition) []byte {
	b = appendCompactString(b, parts[0].Topic)
	b = appendCompactLength(b, len(parts))
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
		b = binary.BigEndian.AppendUint32(b, uint32(p.leaderEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(p.position))
		b = binary.BigEndian.AppendUint32(b, none32) // epoch of what was fetched last: not said
		b = binary.BigEndian.AppendUint64(b, none64) // where the log of a replica begins
		b = binary.BigEndian.AppendUint32(b, uint32(p.maxBytes))
		b = append(b, noTags)
	}
	return append(b, noTags)
}

// appendForgotten lists the partitions that the session is to have no more.
func appendForgotten(b []byte, tps []kafka.TopicPartition) []byte {
	topic := func(tp kafka.TopicPartition) string { return tp.Topic }
	slices.SortFunc(tps, func(x, y kafka.TopicPartition) int { return strings.Compare(x.Topic, y.Topic) })
	b = appendCompactLength(b, countTopics(tps, topic))
	for tps := range topicRuns(tps, topic) {
		b = appendCompactString(b, tps[0].Topic)
		b = appendCompactLength(b, len(tps))
		for _, tp := range tps {
			b = binary.BigEndian.AppendUint32(b, uint32(tp.Partition))
		}
		b = append(b, noTags)
	}
	return b
}
