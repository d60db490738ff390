package sarama

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// tap stands between a Broker and its connection and keeps the answers to fetches for us: the Broker gets an empty answer in
// their place, under the same correlation id.
//
// Why: Sarama decodes into a slab of its records (150 bytes each) from which we would make ours, hides where a batch without
// records ends (so that a reader at the end of a compacted log would ask forever), takes a batch with more records than bytes
// (well compressed ones) for an incomplete one, and gives a whole response up for one corrupt batch.
type tap struct {
	net.Conn
	armed bool   // the next frame is ours. Set when the request is written, read by the Broker's reader afterwards: its channels order them
	frame []byte // what came: the body after the response header
	fake  []byte // what is left of the answer for the Broker
	limit time.Duration
}

// maxFrame bounds a response, so that a length that makes no sense does not take all memory.
const maxFrame = 1 << 30

// emptyFetch is a fetch response of version 12 that holds nothing, after the correlation id: tags, throttle time, error, session,
// no topics, tags.
var emptyFetch = []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}

// arm makes the next answer ours.
func (t *tap) arm() { t.armed, t.frame = true, nil }

// Read is what the Broker calls.
func (t *tap) Read(b []byte) (int, error) {
	if t.armed {
		if err := t.intercept(); err != nil {
			return 0, err
		}
	}
	if len(t.fake) > 0 {
		n := copy(b, t.fake)
		t.fake = t.fake[n:]
		return n, nil
	}
	return t.Conn.Read(b)
}

func (t *tap) intercept() error {
	var head [9]byte // length, correlation id, tags: none that we know
	if _, err := io.ReadFull(t.Conn, head[:]); err != nil {
		return err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:]))) - 5
	if size < 0 || size > maxFrame || head[8] != 0 {
		return fmt.Errorf("a response of %d bytes with %d tags", size, head[8])
	}
	// The answer has begun: what is left of it gets the whole time-out.
	if err := t.SetReadDeadline(time.Now().Add(t.limit)); err != nil {
		return err
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(t.Conn, frame); err != nil {
		return err
	}
	t.armed, t.frame = false, frame
	t.fake = binary.BigEndian.AppendUint32(t.fake[:0], uint32(4+len(emptyFetch)))
	t.fake = append(append(t.fake, head[4:8]...), emptyFetch...)
	return nil
}
