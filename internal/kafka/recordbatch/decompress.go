package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/millstream-go/millstream/internal/kafka"
)

// decompressor decompresses batches. Its decoders are used again for the next batch.
type decompressor struct {
	maxBytes int // the highest limit that it is ever called with
	gzip     *gzip.Reader
	lz4      *lz4.Reader
	zstd     *zstd.Decoder
	buf      bytes.Buffer
}

const (
	// noLimit is the limit where there is none: no batch is so long.
	noLimit = 1 << 30
	// maxBuffer is the most memory that a decompressor leaves allocated between batches.
	maxBuffer = 4 << 20
	// maxZstdWindow is the largest window that Kafka's levels of zstd use, 22 being the highest.
	maxZstdWindow = 128 << 20
	// maxSnappyRatio is how many bytes one byte of snappy can become at most: a copy of 64 bytes takes 3.
	maxSnappyRatio = 22
)

// decompress returns the records of a batch. Uncompressed ones alias the argument, others are in memory of
// their own. What would be longer than limit is a *kafka.InflatedError, and takes no more memory
// than a few times the limit; 0 is no limit.
func (d *decompressor) decompress(compression Compression, compressed []byte, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = noLimit
	}
	// A library is used here only if it can be stopped: each of the functions below bounds what the
	// library reads or allocates.
	switch compression {
	case None:
		return compressed, nil
	case Gzip:
		return d.gunzip(compressed, limit)
	case Snappy:
		return decodeSnappy(compressed, limit)
	case LZ4:
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(nil)
		}
		return d.readAll(func() (io.Reader, error) {
			d.lz4.Reset(bytes.NewReader(compressed))
			return d.lz4, nil
		}, limit)
	case Zstd:
		return d.unzstd(compressed, limit)
	}
	return nil, fmt.Errorf("compression %d is not known", compression)
}

func (d *decompressor) gunzip(b []byte, limit int) ([]byte, error) {
	return d.readAll(func() (_ io.Reader, err error) {
		if d.gzip == nil {
			d.gzip, err = gzip.NewReader(bytes.NewReader(b))
		} else {
			err = d.gzip.Reset(bytes.NewReader(b))
		}
		if err != nil {
			d.gzip = nil
		}
		return d.gzip, err
	}, limit)
}

// The framing of snappy-java, which Kafka's own clients write: a header of 16 bytes, then blocks
// behind their lengths. Other clients write a single block without it.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

var errSnappy = errors.New("snappy: its lengths contradict each other")

// decodeSnappy checks the lengths that blocks claim before the library makes room for them.
func decodeSnappy(compressed []byte, limit int) ([]byte, error) {
	size, blocks := 0, compressed
	framed := bytes.HasPrefix(compressed, xerialMagic)
	if framed {
		blocks = compressed[min(xerialHeader, len(compressed)):]
	}
	for len(blocks) > 0 {
		block := blocks
		blocks = nil
		if framed {
			if len(block) < 4 || uint64(binary.BigEndian.Uint32(block)) > uint64(len(block)-4) {
				return nil, errSnappy
			}
			n := int(binary.BigEndian.Uint32(block))
			block, blocks = block[4:4+n], block[4+n:]
		}
		n, err := s2.DecodedLen(block)
		if err != nil {
			return nil, fmt.Errorf("snappy: %w", err)
		}
		// The limit comes first: a batch that is as long as it claims is too large for us, not broken.
		if size += n; size > limit {
			return nil, &kafka.InflatedError{Limit: limit}
		}
		if n > maxSnappyRatio*len(block) {
			return nil, errSnappy
		}
	}
	return xerial.Decode(compressed)
}

func (d *decompressor) unzstd(b []byte, limit int) (out []byte, err error) {
	if d.zstd == nil {
		d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxZstdWindow),
			zstd.WithDecoderMaxMemory(uint64(max(d.maxBytes, maxZstdWindow))))
		if err != nil {
			return nil, err
		}
	}
	// A frame that says how long it is needs no buffers in between. Clients that compress as they go,
	// Java's among them, do not know when they write its header.
	var head zstd.Header
	if head.Decode(b) == nil && head.HasFCS {
		if head.FrameContentSize > uint64(limit) {
			return nil, &kafka.InflatedError{Limit: limit}
		}
		// More frames may follow the first, so its length is no bound of all; that is checked below.
		out, err = d.zstd.DecodeAll(b, make([]byte, 0, head.FrameContentSize))
	} else {
		out, err = d.readAll(func() (io.Reader, error) { return d.zstd, d.zstd.Reset(bytes.NewReader(b)) }, limit)
		if head.WindowSize > maxBuffer { // its buffers are as large, and would stay
			d.zstd.Close()
			d.zstd = nil
		}
	}
	if len(out) > limit || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, &kafka.InflatedError{Limit: limit}
	}
	return out, err
}

// readAll reads what open returns to its end, into memory of the right size. What does not fit into
// the buffer is read twice, first to learn its length: a buffer that grows would take three times
// as much, and what is too long takes nothing this way.
func (d *decompressor) readAll(open func() (io.Reader, error), limit int) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	// One byte more than allowed is read, to tell what ends at the limit from what goes on.
	d.buf.Reset()
	n, err := d.buf.ReadFrom(io.LimitReader(r, int64(min(limit, maxBuffer))+1))
	if err == nil && n <= int64(min(limit, maxBuffer)) {
		return bytes.Clone(d.buf.Bytes()), nil
	}
	if err == nil && n <= int64(limit) {
		var more int64
		more, err = io.Copy(io.Discard, io.LimitReader(r, int64(limit)-n+1))
		n += more
	}
	if err != nil {
		return nil, err
	}
	if n > int64(limit) {
		return nil, &kafka.InflatedError{Limit: limit}
	}
	if r, err = open(); err != nil {
		return nil, err
	}
	out := make([]byte, n)
	_, err = io.ReadFull(r, out)
	return out, err
}

// close ends the goroutines of the decoders.
func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}
