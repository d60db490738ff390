package rowserde_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/serde"
)

func TestAnEmptyEncodingIsNotAbsent(t *testing.T) {
	nothing := serde.Func(func([]byte, string) ([]byte, error) { return nil, nil }, func([]byte) (string, error) { return "", nil })
	s, err := rowserde.New(nothing, "s", true)
	require.NoError(t, err)
	b, err := s.Encode("x")
	require.NoError(t, err)
	assert.Equal(t, []byte{}, b)
	b, err = s.Fresh("x")
	require.NoError(t, err)
	assert.Equal(t, []byte{}, b)
}

// decoded returns whether what is decoded changes with the bytes it was decoded from.
func decoded[T any](t *testing.T, s serde.Serde[T], b string) (before, after T) {
	side, err := rowserde.New(s, "s", false)
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

func TestValuesOutliveTheStoresMemory(t *testing.T) {
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

func TestSerdesAreBoundToTheChangelog(t *testing.T) {
	b := &bound{}
	s, err := rowserde.New[string](b, "counts", true)
	require.NoError(t, err)
	got, err := s.Encode("x")
	require.NoError(t, err)
	assert.Equal(t, "x", string(got))
	assert.Equal(t, "counts-changelog", b.topic)
	assert.True(t, b.isKey)

	_, err = rowserde.New[string](&bound{fail: errors.New("no registry")}, "counts", true)
	assert.ErrorContains(t, err, "no registry")
	_, err = rowserde.New[string](nil, "counts", true)
	assert.ErrorContains(t, err, "nil")
}
