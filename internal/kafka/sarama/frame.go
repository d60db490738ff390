package sarama

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// fetched is what a fetch response says of one partition.
type fetched struct {
	index   int32
	code    sarama.KError
	high    int64 // high watermark
	stable  int64 // last stable offset
	start   int64
	aborted []abortedTxn
	replica int32 // where to read instead; -1: here
	records []byte
}

// abortedTxn says that the producer's records from first on, up to its abort marker, are void.
type abortedTxn struct{ producer, first int64 }

var errFrame = errors.New("the fetch response makes no sense")

// fields of the wire, big-endian; a cursor that ran over its end is bad and yields zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) int16() int16 {
	if v := c.take(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if v := c.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if v := c.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

// count is the length of a compact array or string, where 0 is null; each element takes at least a byte.
func (c *cursor) count() int {
	n := c.uvarint()
	if n == 0 || c.bad {
		return 0
	}
	if n-1 > uint64(len(c.b)) {
		c.bad = true
		return 0
	}
	return int(n - 1)
}

func (c *cursor) tags() {
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		c.uvarint()
		if size := c.uvarint(); size <= uint64(len(c.b)) {
			c.take(int(size))
		} else {
			c.bad = true
		}
	}
}

// parseFetch walks a fetch response of version 12 and calls each for every partition in it. A code for the whole response is
// returned.
func parseFetch(frame []byte, each func(topic string, f *fetched)) error {
	c := cursor{b: frame}
	c.int32() // throttle time
	code := sarama.KError(c.int16())
	c.int32() // session
	for range c.count() {
		topic := string(c.take(c.count()))
		for range c.count() {
			f := c.partition()
			if c.bad {
				return errFrame
			}
			each(topic, &f)
		}
		c.tags()
	}
	c.tags()
	if c.bad {
		return errFrame
	}
	if err := failure(code); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	return nil
}

func (c *cursor) partition() fetched {
	f := fetched{index: c.int32(), code: sarama.KError(c.int16()), high: c.int64(), stable: c.int64(), start: c.int64()}
	for range c.count() {
		f.aborted = append(f.aborted, abortedTxn{c.int64(), c.int64()})
		c.tags()
	}
	f.replica = c.int32()
	f.records = c.take(c.count())
	c.tags()
	return f
}
