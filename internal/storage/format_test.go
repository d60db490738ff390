package storage_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

// of returns the checkpoint of a store that is filled from several partitions.
func of(offsets ...int64) storage.Checkpoint {
	c := storagetest.Checkpoint(7)
	c.Offsets = append([]int64{}, offsets...)
	return c
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(storage.AppendCheckpoint(nil, storagetest.Checkpoint(7)))
	f.Add(storage.AppendCheckpoint(nil, of(3, 0, 4)))
	f.Add(storage.AppendCheckpoint(nil, of()))
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := storage.DecodeCheckpoint(b)
		if err == nil && !bytes.Equal(b, storage.AppendCheckpoint(nil, c)) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, c, storage.AppendCheckpoint(nil, c))
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), int64(7), int64(1_700_000_000_000))
	f.Fuzz(func(t *testing.T, topic []byte, offset, ms int64) {
		c := storagetest.Checkpoint(0)
		copy(c.TopicID[:], topic)
		c.Offset, c.Time = offset, time.UnixMilli(ms).UTC()
		got, err := storage.DecodeCheckpoint(storage.AppendCheckpoint(nil, c))
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}

func FuzzDecodeRow(f *testing.F) {
	f.Add([]byte("12345678value"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xffno time"))
	f.Add([]byte("\x8200000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		value, ms, err := storage.DecodeRow(b)
		// Times begin at -1, which is a row without one; all others below 0 are damage.
		if len(b) < 8 || int64(binary.BigEndian.Uint64(b)) < -1 {
			require.ErrorIs(t, err, storage.ErrDamaged)
			return
		}
		require.NoError(t, err)
		require.Equal(t, int64(binary.BigEndian.Uint64(b)), ms)
		require.NotNil(t, value, "a row with an empty value is not a deletion")
		require.Equal(t, string(b[8:]), string(value))
	})
}
