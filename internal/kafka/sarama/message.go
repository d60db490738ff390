package sarama

import (
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// produceVersion is the only one that we write: brokers know it since Kafka 2.8.
const produceVersion = 9

// pen stands between a Broker and its connection and writes our produce and fetch requests in place of the Broker's, which are
// empty, under its headers and correlation ids.
//
// Why: to produce, Sarama wants a struct of 150 bytes with pointers for each record, walks it twice to encode it, and copies what comes
// out twice; measured, that was a third of the CPU of a pass-through and most of its memory. Its fetch requests register a meter for each
// topic with the registry of the whole process, whatever registry it was given, and a ticker with it.
//
// Other requests pass: where sessions of SASL end (connections.max.reauth.ms), the Broker authenticates again on its own, in front of any
// request.
type pen struct {
	net.Conn
	key   int16  // of the API whose requests are replaced
	empty int    // length of the Broker's requests without their headers
	tap   *tap   // keeps the answer; nil: the Broker may read it
	armed []byte // what to write instead: room for a header, then the body. Set before a call of the Broker and used during it
}

// headRoom is room for the header of a request: length, key, version, correlation id, client id, tags.
const headRoom = 4 + 2 + 2 + 4 + 2 + 1<<15 + 1

// Write is what the Broker calls, once for a request.
func (p *pen) Write(b []byte) (int, error) {
	if p.armed == nil || int16(binary.BigEndian.Uint16(b[4:])) != p.key {
		return p.Conn.Write(b)
	}
	if p.tap != nil {
		p.tap.arm() // not before: what is read until then is the answer to something else
	}
	head := b[:len(b)-p.empty]
	out := p.armed[headRoom-len(head):]
	p.armed = nil
	copy(out, head)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	if _, err := p.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// emptyProduce is the length of a produce request without topics: transactional id, acks, time-out, no topics, tags.
const emptyProduce = 1 + 2 + 4 + 1 + 1

// message makes the body of r, behind room for its header, in memory that is used again for the next one.
func (s *sender) message(r *request) (_ []byte, err error) {
	b := slices.Grow(s.buf[:0], headRoom+r.bytes+1<<10)[:headRoom]
	b = append(b, 0) // no transactional id
	acks := int16(sarama.WaitForAll)
	b = binary.BigEndian.AppendUint16(b, uint16(acks))
	b = binary.BigEndian.AppendUint32(b, uint32(s.timeout()/time.Millisecond))
	slices.SortStableFunc(r.batches, func(x, y *batch) int { return strings.Compare(x.part.Topic, y.part.Topic) })
	topics := slices.Collect(chunksByTopic(r.batches))
	b = binary.AppendUvarint(b, uint64(len(topics)+1))
	for _, batches := range topics {
		topic := batches[0].part.Topic
		b = append(binary.AppendUvarint(b, uint64(len(topic)+1)), topic...)
		b = binary.AppendUvarint(b, uint64(len(batches)+1))
		for _, x := range batches {
			if b, err = s.appendPartition(b, x); err != nil {
				return nil, err
			}
		}
		b = append(b, 0)
	}
	b = append(b, 0)
	if s.buf = b; cap(b) > keepBuffer {
		s.buf = nil
	}
	return b, nil
}

// keepBuffer is the most memory that a sender keeps between requests.
const keepBuffer = 4 << 20

func (s *sender) timeout() time.Duration { return s.p.c.cfg.RequestTimeout / 2 }

// appendPartition appends a partition's index and its batch, whose length comes first: it is made where it goes if its length
// takes as many bytes as its upper bound would, and moved up else.
func (s *sender) appendPartition(b []byte, x *batch) (_ []byte, err error) {
	b = binary.BigEndian.AppendUint32(b, uint32(x.part.Partition))
	at := len(b)
	b = binary.AppendUvarint(b, uint64(x.bytes+batchOverhead+1))
	from := len(b)
	if b, err = x.appendTo(b, s.p.codec, &s.deflate); err != nil {
		return nil, err
	}
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(b)-from+1))
	b = slices.Replace(b, at, from, length[:n]...)
	return append(b, 0), nil
}

// chunksByTopic yields runs of batches of one topic.
func chunksByTopic(all []*batch) func(yield func([]*batch) bool) {
	return func(yield func([]*batch) bool) {
		for len(all) > 0 {
			n := 1
			for n < len(all) && all[n].part.Topic == all[0].part.Topic {
				n++
			}
			if !yield(all[:n]) {
				return
			}
			all = all[n:]
		}
	}
}
