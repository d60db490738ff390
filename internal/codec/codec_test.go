package codec_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/serde"
)

func TestEncode_EmptyIsNotNil(t *testing.T) {
	nothing := serde.Func(func([]byte, string) ([]byte, error) { return nil, nil }, func([]byte) (string, error) { return "", nil })
	s, err := codec.New(nothing, "s", true, nil)
	require.NoError(t, err)
	b, err := s.Encode("x")
	require.NoError(t, err)
	assert.Equal(t, []byte{}, b)
	b, err = s.EncodeNew("x")
	require.NoError(t, err)
	assert.Equal(t, []byte{}, b)
}

// decoded returns whether what is decoded changes with the bytes it was decoded from.
func decoded[T any](t *testing.T, s serde.Serde[T], b string) (before, after T) {
	side, err := codec.New(s, "s", false, nil)
	require.NoError(t, err)
	mem := []byte(b)
	v, err := side.Decode(mem)
	require.NoError(t, err)
	want, err := side.Decode([]byte(b))
	require.NoError(t, err)
	for i := range mem {
		mem[i] ^= 0xff
	}
	return want, v
}

func TestDecode_ValuesOutliveTheStoresMemory(t *testing.T) {
	same := func(want, got any) { t.Helper(); assert.Equal(t, want, got) }
	w, g := decoded(t, serde.Bytes, "abc")
	same(w, g)
	type deep struct {
		At   time.Time
		List map[string][]struct{ Raw []byte }
	}
	d := serde.Func(nil, func(b []byte) (deep, error) {
		return deep{List: map[string][]struct{ Raw []byte }{"k": {{Raw: b}}}}, nil
	})
	x, y := decoded(t, d, "abc")
	same(x, y)
	a, b := decoded(t, serde.Func(nil, func(b []byte) (any, error) { return b, nil }), "abc")
	same(a, b)
}

func TestDecode_CopiesAreApart(t *testing.T) {
	side, err := codec.New(serde.Serde[[]byte](serde.Bytes), "s", false, nil)
	require.NoError(t, err)
	var values [][]byte
	mem := make([]byte, 0, 1000)
	for i := range 1000 {
		mem = append(mem[:0], bytes.Repeat([]byte{byte(i)}, i)...)
		v, err := side.Decode(mem)
		require.NoError(t, err)
		require.NotNil(t, v)
		_ = append(v, 0xee) // must not reach the value that comes next
		values = append(values, v)
	}
	for i, v := range values {
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, i), v)
	}
}

func TestDecode_SmallCopiesShareAllocations(t *testing.T) {
	side, err := codec.New(serde.Serde[[]byte](serde.Bytes), "s", false, nil)
	require.NoError(t, err)
	mem := make([]byte, 100)
	assert.Less(t, testing.AllocsPerRun(1, func() {
		for range 1000 {
			_, _ = side.Decode(mem)
		}
	}), 50.0)
}

type bound struct {
	serde.Serde[string]
	topic string
	isKey bool
	fail  error
}

func (b *bound) Bind(topic string, isKey bool) (serde.Serde[string], error) {
	b.topic, b.isKey = topic, isKey
	return serde.String, b.fail
}

func TestNew_BindsSerdesToTheChangelog(t *testing.T) {
	b := &bound{}
	s, err := codec.New[string](b, "counts", true, nil)
	require.NoError(t, err)
	got, err := s.Encode("x")
	require.NoError(t, err)
	assert.Equal(t, "x", string(got))
	assert.Equal(t, "counts-changelog", b.topic)
	assert.True(t, b.isKey)

	_, err = codec.New[string](&bound{fail: errors.New("no registry")}, "counts", true, nil)
	assert.ErrorContains(t, err, "no registry")
	_, err = codec.New[string](nil, "counts", true, nil)
	assert.ErrorContains(t, err, "nil")
}
