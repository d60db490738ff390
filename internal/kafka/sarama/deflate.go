package sarama

import (
	"bytes"
	"fmt"
	"io"

	"github.com/IBM/sarama"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// deflater compresses batches. Owned by one sender: its encoders are not shared, so none outlives its sender's world.
type deflater struct {
	gzip   *gzip.Writer
	lz4    *lz4.Writer
	zstd   *zstd.Encoder
	plain  []byte // what is to be compressed
	framed []byte // what came out, where it cannot be appended
}

// deflate appends b, compressed, to to.
func (d *deflater) deflate(to []byte, codec sarama.CompressionCodec, b []byte) ([]byte, error) {
	switch codec {
	case sarama.CompressionGZIP:
		if d.gzip == nil {
			d.gzip = gzip.NewWriter(nil)
		}
		return drainInto(to, d.gzip, b)
	case sarama.CompressionSnappy:
		d.framed = xerial.Encode(d.framed[:0], b) // writes its header into empty slices only
		return append(to, d.framed...), nil
	case sarama.CompressionLZ4:
		if d.lz4 == nil {
			d.lz4 = lz4.NewWriter(nil)
			if err := d.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
				return nil, err
			}
		}
		return drainInto(to, d.lz4, b)
	case sarama.CompressionZSTD:
		if d.zstd == nil {
			var err error
			if d.zstd, err = zstd.NewWriter(nil, zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(1)); err != nil {
				return nil, err
			}
		}
		return d.zstd.EncodeAll(b, to), nil
	}
	return nil, fmt.Errorf("compression %d is not known", codec)
}

// resettable is a compressor that writes to a writer.
type resettable interface {
	io.WriteCloser
	Reset(io.Writer)
}

func drainInto(to []byte, w resettable, b []byte) ([]byte, error) {
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
