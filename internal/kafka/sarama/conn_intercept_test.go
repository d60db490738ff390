package sarama

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bytesConn is a connection from which in comes and to which out goes.
type bytesConn struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *bytesConn) Read(b []byte) (int, error)        { return c.in.Read(b) }
func (c *bytesConn) Write(b []byte) (int, error)       { return c.out.Write(b) }
func (c *bytesConn) SetReadDeadline(t time.Time) error { return nil }

// framed puts the length in front of a message.
func framed(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

// FuzzResponseInterceptor lets a broker answer a fetch with anything: no panic, no memory for bytes
// that do not come, and what the Broker gets is its empty answer under the same correlation id, or
// an error.
func FuzzResponseInterceptor(f *testing.F) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = fetchVersion
	f.Add(framed(resp.AppendTo([]byte{0, 0, 0, 7, 0})), 3)
	f.Add(framed([]byte{0, 0, 0, 7, 0}), 1)
	f.Add([]byte{0x3f, 0xff, 0xff, 0xff, 0, 0, 0, 7, 0, 1, 2, 3}, 100)
	f.Add([]byte("HTTP/1.1 400 Bad Request"), 4)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		c := &firstBytesConn{Conn: &bytesConn{in: bytes.NewReader(b)}}
		x := &responseInterceptor{Conn: c, timeout: time.Second}
		x.arm()
		var got []byte
		buf := make([]byte, max(1, min(piece, 1<<10)))
		for {
			n, err := x.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
			require.NotZero(t, n)
		}
		_ = c.foreignProtocol()
		if x.body == nil {
			assert.Empty(t, got)
			return
		}
		size := 4 + len(emptyFetchResponse)
		require.GreaterOrEqual(t, len(got), 4+size)
		assert.Equal(t, uint32(size), binary.BigEndian.Uint32(got))
		assert.Equal(t, b[4:8], got[4:8])
		assert.Equal(t, emptyFetchResponse, got[8:4+size])
		assert.Equal(t, b[9+len(x.body):], got[4+size:], "what follows passes")
		_, _ = parseFetchResponse(x.body, func(string, *fetchedPartition) {})
	})
}

// FuzzRequestInterceptor: what goes out is one frame, with the Broker's header and our body; other
// requests pass as they are.
func FuzzRequestInterceptor(f *testing.F) {
	head := []byte{0, 0, 0, 30, 0, 1, 0, 12, 0, 0, 0, 7, 0, 4, 'm', 'i', 'l', 'l', 0}
	f.Add(append(bytes.Clone(head), make([]byte, emptyFetchSize)...), []byte("our body"), int16(apiFetch))
	f.Add([]byte{0, 0, 0, 4, 0, 17}, []byte{}, int16(apiFetch))
	f.Add([]byte{1}, []byte("x"), int16(0))
	f.Add(append([]byte{0, 0, 0, 30}, make([]byte, emptyFetchSize-3)...), []byte("shorter than a header"), int16(0))
	f.Fuzz(func(t *testing.T, request, body []byte, key int16) {
		c := &bytesConn{}
		p := &requestInterceptor{Conn: c, apiKey: key, emptySize: emptyFetchSize, replacement: append(make([]byte, maxHeaderSize), body...)}
		n, err := p.Write(request)
		require.NoError(t, err)
		assert.Equal(t, len(request), n)
		out := c.out.Bytes()
		if p.replacement != nil {
			assert.True(t, bytes.Equal(request, out))
			return
		}
		header := request[4 : len(request)-emptyFetchSize]
		assert.Equal(t, uint32(len(out)-4), binary.BigEndian.Uint32(out))
		assert.True(t, bytes.Equal(append(bytes.Clone(header), body...), out[4:]))
	})
}
