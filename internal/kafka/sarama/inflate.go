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

// inflater decompresses batches. Owned by one reader: its decoders are not shared, so none outlives its reader's world.
type inflater struct {
	gzip *gzip.Reader
	lz4  *lz4.Reader
	zstd *zstd.Decoder
	buf  bytes.Buffer
}

// maxBatch bounds a batch after decompression.
const maxBatch = 1 << 30

// inflate returns the records of a batch. Uncompressed ones alias b, others are in memory of their own.
func (i *inflater) inflate(codec sarama.CompressionCodec, b []byte) ([]byte, error) {
	switch codec {
	case sarama.CompressionNone:
		return b, nil
	case sarama.CompressionGZIP:
		return i.gunzip(b)
	case sarama.CompressionSnappy:
		return xerial.Decode(b)
	case sarama.CompressionLZ4:
		if i.lz4 == nil {
			i.lz4 = lz4.NewReader(nil)
		}
		i.lz4.Reset(bytes.NewReader(b))
		return i.drain(i.lz4)
	case sarama.CompressionZSTD:
		return i.unzstd(b)
	}
	return nil, fmt.Errorf("compression %d is not known", codec)
}

func (i *inflater) gunzip(b []byte) (out []byte, err error) {
	if i.gzip == nil {
		i.gzip, err = gzip.NewReader(bytes.NewReader(b))
	} else {
		err = i.gzip.Reset(bytes.NewReader(b))
	}
	if err != nil {
		i.gzip = nil
		return nil, err
	}
	return i.drain(i.gzip)
}

func (i *inflater) unzstd(b []byte) (out []byte, err error) {
	if i.zstd == nil {
		i.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBatch))
		if err != nil {
			return nil, err
		}
	}
	return i.zstd.DecodeAll(b, nil)
}

// drain reads r to its end, into memory of the right size.
func (i *inflater) drain(r io.Reader) ([]byte, error) {
	i.buf.Reset()
	n, err := i.buf.ReadFrom(io.LimitReader(r, maxBatch+1))
	if err != nil {
		return nil, err
	}
	if n > maxBatch {
		return nil, fmt.Errorf("a batch of more than %d bytes", maxBatch)
	}
	return bytes.Clone(i.buf.Bytes()), nil
}

// close ends the decoders.
func (i *inflater) close() {
	if i.zstd != nil {
		i.zstd.Close()
	}
}
