package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch/batchtest"
)

// allocated returns what f allocates.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// A record batch that decompresses to more than it may is refused before that memory is taken,
// whatever it is compressed with, and whatever its records are; one below the limit is read.
func TestDecode_Bombs(t *testing.T) {
	const limit = 4 << 20
	headers := make([]kmsg.Header, 1<<18)
	for name, c := range batchtest.Compressors {
		for kind, x := range map[string]struct {
			count   int
			records []byte
		}{
			"one long record":        {1, batchtest.Records(1, make([]byte, 40<<20))},
			"very many records":      {1 << 17, batchtest.Records(1<<17, nil)},
			"a record of headers":    {1, batchtest.Records(1, nil, headers...)},
			"more than it says":      {1, make([]byte, 40<<20)},
			"a legitimate large one": {7, batchtest.Records(7, bytes.Repeat([]byte("legitimate"), 50<<10))},
		} {
			if name == "none" && len(x.records) > limit { // what was fetched is there already
				continue
			}
			t.Run(name+"/"+kind, func(t *testing.T) {
				raw := batchtest.Pack(5, c.Number, x.count, c.Compress(x.records))
				d := recordbatch.NewDecoder(1<<20, limit)
				defer d.Close()
				var b *kafka.Batch
				var err error
				taken := allocated(func() { b, err = d.Decode(recordbatch.NewBatches(raw, 5, kafka.ReadUncommitted, nil), nil) })
				// A buffer that doubles, and windows, which the race detector makes again; the bomb would
				// take 80 MiB at least.
				assert.Less(t, taken, 64<<20)
				require.NoError(t, err)
				if strings.HasPrefix(kind, "a legit") {
					assert.Nil(t, b.Unreadable)
					assert.Len(t, b.Records, x.count)
					assert.Equal(t, int64(12), b.Next)
					return
				}
				var over *kafka.InflatedError
				require.ErrorAs(t, b.Unreadable, &over)
				assert.Equal(t, limit, over.Limit)
				assert.Equal(t, kafka.UnreadableBatch{First: 5, Last: 4 + int64(x.count), Records: x.count, Bytes: len(raw),
					Compression: recordbatch.Compression(c.Number).String(), Err: over}, *b.Unreadable)
				assert.Equal(t, []kafka.Record{{Offset: 5, Time: 2000}}, b.Records)
			})
		}
	}
}

// Bytes that say they hold much more than they can are no reason to make room for it.
func TestDecompress_FalseLengths(t *testing.T) {
	giant := binary.AppendUvarint(nil, 1<<30)
	for name, tt := range map[string]struct {
		c recordbatch.Compression
		b []byte
	}{
		"snappy":         {recordbatch.Snappy, append(bytes.Clone(giant), 0, 0, 0)},
		"snappy, 100 MB": {recordbatch.Snappy, append(binary.AppendUvarint(nil, 100<<20), 0, 0, 0)},
		"snappy of Java": {recordbatch.Snappy, append(append(append(bytes.Clone(recordbatch.XerialMagic), 0, 0, 0, 1, 0, 0, 0, 1), 0, 0, 0, 8),
			append(bytes.Clone(giant), 0, 0, 0)...)},
		"snappy of Java, a long block":   {recordbatch.Snappy, append(bytes.Clone(recordbatch.XerialMagic), 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff)},
		"snappy of Java, without blocks": {recordbatch.Snappy, recordbatch.XerialMagic},
		"zstd":                           {recordbatch.Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0x40, 0, 0, 0, 0, 1, 0, 0}},
		"gzip":                           {recordbatch.Gzip, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0}},
		"lz4":                            {recordbatch.LZ4, []byte{0x04, 0x22, 0x4d, 0x18, 0x48, 0x70, 0, 0, 0, 0x40, 0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			assert.Less(t, allocated(func() { _, err = recordbatch.Decompress(tt.c, tt.b, 128<<20) }), 20<<20)
			require.Error(t, err)
		})
	}
}

// FuzzDecompress lets decompressors read anything: no panic, and no more memory than the limit allows.
func FuzzDecompress(f *testing.F) {
	for _, c := range batchtest.Compressors {
		f.Add(int8(c.Number), c.Compress(batchtest.Records(3, []byte("value"))))
		f.Add(int8(c.Number), c.Compress(make([]byte, 1<<20)))
	}
	f.Fuzz(func(t *testing.T, c int8, b []byte) {
		if c <= 0 {
			return
		}
		out, err := recordbatch.Decompress(recordbatch.Compression(c), b, 1<<16)
		if err == nil {
			assert.LessOrEqual(t, len(out), 1<<16)
		}
	})
}
