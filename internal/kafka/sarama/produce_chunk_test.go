package sarama

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// TestChunk_MemoryDoubles fills a chunk up to what a batch has: its memory is enlarged a few times, and by no more
// than the batch needs.
func TestChunk_MemoryDoubles(t *testing.T) {
	const most = 256 << 10
	for _, n := range []int{0, 100, 3000, 2 * most} {
		c, enlarged := &chunk{}, 0
		for {
			r := kafka.ProduceRecord{Key: make([]byte, 8), Value: make([]byte, n), Headers: []kafka.Header{{Name: "h", Value: []byte("v")}}}
			size := recordbatch.MaxRecordSize(&r)
			if c.count > 0 && c.maxSize+size > most {
				break
			}
			before := cap(c.records)
			c.reserve(size, most)
			if cap(c.records) > before {
				enlarged++
			}
			reserved := cap(c.records)
			c.add(&r, size)
			assert.Equal(t, reserved, cap(c.records), "the room was enough")
		}
		assert.LessOrEqual(t, enlarged, 10)
		assert.LessOrEqual(t, cap(c.records), max(most, c.maxSize))
		c.reset()
		assert.Positive(t, cap(c.records), "its memory is used again")
	}
}
