package recordbatch

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// compressor compresses batches. Its encoders are used again for the next batch.
type compressor struct {
	gzip   *gzip.Writer
	lz4    *lz4.Writer
	zstd   *zstd.Encoder
	snappy []byte // memory for what comes out of it
}

// compress appends bytes, compressed, to to.
func (c *compressor) compress(to []byte, compression Compression, bytes []byte) ([]byte, error) {
	switch compression {
	case Gzip:
		if c.gzip == nil {
			c.gzip = gzip.NewWriter(nil)
		}
		return compressInto(to, c.gzip, bytes)
	case Snappy:
		// Not appended to to: xerial writes its header into empty slices only.
		c.snappy = xerial.Encode(c.snappy[:0], bytes)
		return append(to, c.snappy...), nil
	case LZ4:
		if c.lz4 == nil {
			c.lz4 = lz4.NewWriter(nil)
			if err := c.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
				return nil, err
			}
		}
		return compressInto(to, c.lz4, bytes)
	case Zstd:
		if c.zstd == nil {
			var err error
			if c.zstd, err = zstd.NewWriter(nil, zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(1)); err != nil {
				return nil, err
			}
		}
		return c.zstd.EncodeAll(bytes, to), nil
	}
	return nil, fmt.Errorf("compression %d is not known", compression)
}

// resettable is a compressor that writes to a writer.
type resettable interface {
	io.WriteCloser
	Reset(io.Writer)
}

func compressInto(to []byte, w resettable, b []byte) ([]byte, error) {
	out := bytes.NewBuffer(to)
	w.Reset(out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
