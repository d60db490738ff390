package sarama

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// Interceptors stand between a Sarama Broker and its connection. They write our fetch and produce
// requests in place of the Broker's, which are empty, and read fetch responses in its place. The
// Broker still does what it is used for: correlation ids, timeouts, TLS and SASL.

// requestInterceptor writes our requests in place of the Broker's, under the Broker's headers and
// correlation ids.
//
// Why: to produce, Sarama wants a struct of 150 bytes with pointers for each record, walks it twice
// to encode it, and copies what comes out twice; measured, that was a third of the CPU of a
// pass-through and most of its memory. Its fetch requests register a meter for each topic with the
// registry of the whole process, whatever registry it was given, and a ticker with it.
//
// Other requests pass: where sessions of SASL end (connections.max.reauth.ms), the Broker
// authenticates again on its own, in front of any request.
type requestInterceptor struct {
	net.Conn
	apiKey    int16                // of the API whose requests are replaced
	emptySize int                  // length of the Broker's requests without their headers
	responses *responseInterceptor // of the response; nil: the Broker may read it
	// replacement is what to write instead: room for a header, then the body. It is set before a call
	// of the Broker and used during it.
	replacement []byte
}

const (
	// minHeaderSize is the length of the shortest header of a request, one without a client id and
	// tags: length, key, version, correlation id, length of the client id.
	minHeaderSize = 4 + 2 + 2 + 4 + 2
	// maxHeaderSize is room for any header, with a client id and tags.
	maxHeaderSize = minHeaderSize + 1<<15 + 1
)

// Write is what the Broker calls, once for a request.
func (i *requestInterceptor) Write(b []byte) (int, error) {
	size := len(b) - i.emptySize
	if i.replacement == nil || size < minHeaderSize || size > maxHeaderSize ||
		int16(binary.BigEndian.Uint16(b[4:])) != i.apiKey {
		return i.Conn.Write(b)
	}
	if i.responses != nil {
		i.responses.arm() // not before: what is read until then is the response to something else
	}
	// The Broker's header, whose length only the Broker knows, goes right in front of our body.
	head := b[:size]
	out := i.replacement[maxHeaderSize-len(head):]
	i.replacement = nil
	copy(out, head)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	if _, err := i.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// responseInterceptor reads the responses to fetches for us: the Broker gets an empty response in
// their place, under the same correlation id.
//
// Why: Sarama decodes into a slab of its records (150 bytes each) from which we would make ours,
// hides where a batch without records ends (so that a reader at the end of a compacted log would
// ask forever), takes a batch with more records than bytes (well compressed ones) for an incomplete
// one, and gives a whole response up for one corrupt batch.
type responseInterceptor struct {
	net.Conn
	// armed says that the next response is ours. It is set when the request is written and read by the
	// Broker's reader afterwards: the Broker's channels order the two.
	armed      bool
	body       []byte // of the response, behind its header
	substitute []byte // what is left of the response for the Broker
	timeout    time.Duration
	// room returns memory for a body; nil: new memory. It is set before the first request.
	room func(n int) []byte
}

const (
	// maxResponseBytes bounds a response, so that a length that makes no sense does not take all memory.
	maxResponseBytes = 1 << 30
	// firstAllocation is for how many bytes room is made before any has come.
	firstAllocation = 8 << 20
)

// emptyFetchResponse is a fetch response of version 12 that holds nothing, after the correlation
// id: tags, throttle time, error, session, no topics, tags.
var emptyFetchResponse = []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}

// arm makes the next response ours.
func (i *responseInterceptor) arm() { i.armed, i.body = true, nil }

// Read is what the Broker calls.
func (i *responseInterceptor) Read(b []byte) (int, error) {
	if i.armed {
		if err := i.intercept(); err != nil {
			return 0, err
		}
	}
	if len(i.substitute) > 0 {
		n := copy(b, i.substitute)
		i.substitute = i.substitute[n:]
		return n, nil
	}
	return i.Conn.Read(b)
}

func (i *responseInterceptor) intercept() error {
	// Length, correlation id, tags: none that we know.
	var head [9]byte
	if _, err := io.ReadFull(i.Conn, head[:]); err != nil {
		return err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:]))) - 5
	if size < 0 || size > maxResponseBytes || head[8] != 0 {
		return fmt.Errorf("a response of %d bytes with %d tags", size, head[8])
	}
	// The response has begun: what is left of it gets the whole timeout.
	if err := i.SetReadDeadline(time.Now().Add(i.timeout)); err != nil {
		return err
	}
	body, err := i.readBody(size)
	if err != nil {
		return err
	}
	i.armed, i.body = false, body
	i.substitute = binary.BigEndian.AppendUint32(i.substitute[:0], uint32(4+len(emptyFetchResponse)))
	i.substitute = append(append(i.substitute, head[4:8]...), emptyFetchResponse...)
	return nil
}

// readBody reads size bytes. Room for more than firstAllocation is made as they come: a length that
// makes no sense is no reason to take memory.
func (i *responseInterceptor) readBody(size int) ([]byte, error) {
	room := i.room
	if room == nil {
		room = func(n int) []byte { return make([]byte, n) }
	}
	body := room(min(size, firstAllocation))
	for from := 0; ; {
		if _, err := io.ReadFull(i.Conn, body[from:]); err != nil {
			return nil, err
		}
		if from = len(body); from == size {
			return body, nil
		}
		grown := make([]byte, min(size, 2*from))
		copy(grown, body)
		body = grown
	}
}
