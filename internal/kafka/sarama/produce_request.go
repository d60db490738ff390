package sarama

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// produceVersion is the only one that we write: brokers know it since Kafka 2.8.
const produceVersion = 9

// emptyProduceSize is the length of a produce request without topics: transactional id, acks,
// timeout, no topics, tags.
const emptyProduceSize = 1 + 2 + 4 + 1 + 1

// maxRetainedBuffer is the most memory that a sender leaves allocated between requests.
const maxRetainedBuffer = 4 << 20

// encodeRequest makes the body of r, behind room for its header, in memory that the next one uses
// again.
func (s *sender) encodeRequest(r *produceRequest) (_ []byte, err error) {
	buf := slices.Grow(s.buf[:0], maxHeaderSize+r.bytes+1<<10)[:maxHeaderSize]
	if t := s.producer.transactions; t != nil {
		buf = appendCompactString(buf, t.id)
	} else {
		buf = append(buf, 0) // no transactional id
	}
	acks := int16(ibm.WaitForAll)
	buf = binary.BigEndian.AppendUint16(buf, uint16(acks))
	buf = binary.BigEndian.AppendUint32(buf, uint32(s.brokerTimeout()/time.Millisecond))
	slices.SortStableFunc(r.batches,
		func(x, y *batch) int { return strings.Compare(x.partition.Topic, y.partition.Topic) })
	topic := func(b *batch) string { return b.partition.Topic }
	buf = appendCompactLength(buf, countTopics(r.batches, topic))
	for batches := range topicRuns(r.batches, topic) {
		buf = appendCompactString(buf, batches[0].partition.Topic)
		buf = appendCompactLength(buf, len(batches))
		for _, batch := range batches {
			if buf, err = s.appendBatch(buf, batch); err != nil {
				return nil, err
			}
		}
		buf = append(buf, noTags)
	}
	buf = append(buf, noTags)
	// A request of very many bytes is rare, and its memory would stay as long as the sender.
	if s.buf = buf; cap(buf) > maxRetainedBuffer {
		s.buf = nil
	}
	return buf, nil
}

func (s *sender) brokerTimeout() time.Duration { return s.producer.client.cfg.RequestTimeout / 2 }

// appendBatch appends a partition's index and its batch. The batch's length stands in front of it,
// as a varint, and is not known before the batch is made: it is made where it would begin if the
// length took as many bytes as its upper bound, and is moved only where that was wrong.
func (s *sender) appendBatch(b []byte, batch *batch) (_ []byte, err error) {
	b = binary.BigEndian.AppendUint32(b, uint32(batch.partition.Partition))
	at := len(b)
	b = appendCompactLength(b, batch.maxSize+recordbatch.HeaderBytes)
	from := len(b)
	s.records = s.records[:0]
	for _, span := range batch.spans {
		s.records = append(s.records, span.records())
	}
	header := batch.header()
	header.Transactional = s.producer.transactions != nil
	b, err = s.encoder.Append(b, header, s.records)
	clear(s.records) // otherwise the spans' memory stays until the next batch, however long that takes
	if err != nil {
		return nil, err
	}
	var length [binary.MaxVarintLen64]byte
	b = slices.Replace(b, at, from, appendCompactLength(length[:0], len(b)-from)...)
	return append(b, noTags), nil
}
