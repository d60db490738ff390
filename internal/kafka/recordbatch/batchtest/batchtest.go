// Package batchtest writes record batches for tests, as a broker has them: of transactions, with
// markers and gaps, compressed in any way in which Kafka's clients compress, and broken ones. It
// uses other code than package recordbatch.
package batchtest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bits of a batch's attributes besides its compression.
const (
	LogAppendTime = 0x08
	Transactional = 0x10
	Control       = 0x20
)

// Kinds of markers: the value that makes a batch of Transactional and Control one.
const (
	Abort  = "\x00\x00\x00\x00"
	Commit = "\x00\x00\x00\x01"
)

// Where some fields of a batch begin.
const (
	lengthAt      = 8
	MagicAt       = 16
	checksumAt    = 17
	attributesAt  = 21
	lastOffsetAt  = 23
	CountAt       = 57
	RecordsAt     = 61
	lengthCounted = RecordsAt - 12
)

// Batch returns a batch of uncompressed records with the given values; width is how many offsets it
// takes.
func Batch(first int64, width int, attributes int16, producer int64, values ...string) []byte {
	var records []byte
	for i, v := range values {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: []byte{}, Value: []byte(v)}
		if attributes&Control != 0 {
			r.Key, r.Value = []byte(v), nil
		}
		records = appendRecord(records, r)
	}
	return sealed(kmsg.RecordBatch{FirstOffset: first, Attributes: attributes, LastOffsetDelta: int32(width - 1),
		ProducerID: producer, NumRecords: int32(len(values)), Records: records})
}

// Pack returns a batch of count records from the bytes of them, compressed as compression says, see
// Compressors.
func Pack(first int64, compression int16, count int, records []byte) []byte {
	return sealed(kmsg.RecordBatch{FirstOffset: first, Attributes: compression, LastOffsetDelta: int32(count - 1),
		ProducerID: -1, NumRecords: int32(count), Records: records})
}

func sealed(b kmsg.RecordBatch) []byte {
	b.Length, b.Magic, b.FirstTimestamp, b.MaxTimestamp = int32(lengthCounted+len(b.Records)), 2, 1000, 2000
	return Seal(b.AppendTo(nil))
}

// Seal corrects the checksum of a batch that was changed, and returns the batch.
func Seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[checksumAt:], crc32.Checksum(b[attributesAt:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// Records returns the bytes of count records with the given value.
func Records(count int, value []byte, headers ...kmsg.Header) (b []byte) {
	for i := range count {
		b = appendRecord(b, kmsg.Record{OffsetDelta: int32(i), Key: []byte("k"), Value: value, Headers: headers})
	}
	return b
}

func appendRecord(b []byte, r kmsg.Record) []byte {
	r.Length = int32(len(r.AppendTo(nil)) - 1)
	return r.AppendTo(b)
}

// From returns the batches of b without those that end before offset.
func From(b []byte, offset int64) []byte {
	for len(b) > 0 && int64(binary.BigEndian.Uint64(b))+int64(binary.BigEndian.Uint32(b[lastOffsetAt:])) < offset {
		b = b[12+binary.BigEndian.Uint32(b[lengthAt:]):]
	}
	return b
}

// Compressor is a way to compress records.
type Compressor struct {
	Number   int16 // in a batch's attributes
	Compress func([]byte) []byte
}

// Compressors are all forms in which Kafka's clients compress, by name.
var Compressors = map[string]Compressor{
	"none":   {0, func(b []byte) []byte { return b }},
	"gzip":   {1, through(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })},
	"snappy": {2, func(b []byte) []byte { return s2.EncodeSnappy(nil, b) }},
	// In blocks, each behind its length.
	"snappy of Java": {2, func(b []byte) []byte { return xerial.Encode(nil, b) }},
	"lz4":            {3, through(func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) })},
	// With the length in front.
	"zstd": {4, func(b []byte) []byte {
		z, err := zstd.NewWriter(nil, zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		return z.EncodeAll(b, nil)
	}},
	"zstd, streaming": {4, through(func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		return z
	})},
}

// through compresses in pieces, so that no length stands in front.
func through(open func(io.Writer) io.WriteCloser) func([]byte) []byte {
	return func(b []byte) []byte {
		var out bytes.Buffer
		w := open(&out)
		for piece := range slices.Chunk(b, 1<<20) {
			if _, err := w.Write(piece); err != nil {
				panic(err)
			}
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
		return out.Bytes()
	}
}
