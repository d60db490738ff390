package serde_test

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
)

// pointed has its methods on the pointer: json.Marshal of a value would not find MarshalJSON.
type pointed struct{ n int }

func (p *pointed) MarshalJSON() ([]byte, error) { return json.Marshal(p.n) }
func (p *pointed) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &p.n) }

func TestJSON_FindsMethodsOfThePointer(t *testing.T) {
	s := serde.JSON[pointed]()
	b, err := s.Append(nil, pointed{7})
	require.NoError(t, err)
	assert.Equal(t, "7", string(b))
	v, err := s.Decode(b)
	require.NoError(t, err)
	assert.Equal(t, pointed{7}, v)
}

func TestJSON_RefusesNull(t *testing.T) {
	b, err := serde.JSON[*int]().Append([]byte("before"), nil)
	require.ErrorContains(t, err, "null is not a value")
	assert.Equal(t, "before", string(b))
	_, err = serde.JSON[[]string]().Append(nil, nil)
	require.ErrorContains(t, err, "null is not a value")
	_, err = serde.JSONCodec.Marshal(nil)
	require.ErrorContains(t, err, "null is not a value")
	var p *int
	require.ErrorContains(t, serde.JSONCodec.Unmarshal([]byte("null"), &p), "null is not a value")
	_, err = serde.JSON[chan int]().Append(nil, nil)
	require.ErrorContains(t, err, "unsupported type")
}

func TestJSON_StaysUsableAfterAnError(t *testing.T) {
	s := serde.JSON[any]()
	_, err := s.Append(nil, func() {})
	require.Error(t, err)
	b, err := s.Append(nil, "x")
	require.NoError(t, err)
	assert.Equal(t, `"x"`, string(b))
}

func TestJSON_IsSafeForSeveralGoroutines(t *testing.T) {
	s := serde.JSON[[]int]()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for range 200 {
				b, err := s.Append(nil, []int{g, g})
				if !assert.NoError(t, err) {
					return
				}
				v, err := s.Decode(b)
				assert.NoError(t, err)
				assert.Equal(t, []int{g, g}, v)
			}
		})
	}
	wg.Wait()
}

func TestFunc_OfOneDirection(t *testing.T) {
	read := serde.Func(nil, func(b []byte) (int, error) { return len(b), nil })
	_, err := read.Append(nil, 1)
	require.ErrorContains(t, err, "can only read")
	n, err := read.Decode([]byte("abc"))
	require.NoError(t, err)
	assert.Equal(t, 3, n)

	write := serde.Func(func(dst []byte, v int) ([]byte, error) { return append(dst, byte(v)), nil }, nil)
	_, err = write.Decode(nil)
	require.ErrorContains(t, err, "can only write")
	b, err := write.Append(nil, 5)
	require.NoError(t, err)
	assert.Equal(t, []byte{5}, b)
}

func TestSlice_NamesTheElementThatFails(t *testing.T) {
	b, err := serde.Slice(serde.JSON[any]()).Append([]byte("before"), []any{1, func() {}})
	require.ErrorContains(t, err, "serde.Slice: element 1: serde.JSON")
	assert.Equal(t, "before", string(b))
	_, err = serde.Slice(serde.JSON[int]()).Decode([]byte{1, 0, 0, 0, 1, 0, 0, 0, 1, 'x'})
	require.ErrorContains(t, err, "serde.Slice: element 0 of 1: serde.JSON")
}

func TestSlice_OfNilIsNil(t *testing.T) {
	assert.Nil(t, serde.Slice[int](nil))
}

// perTopic is a Bound that writes the topic before the value.
type perTopic struct{ serde.Serde[string] }

func (perTopic) Bind(topic string, isKey bool) (serde.Serde[string], error) {
	if isKey {
		return nil, errors.New("no keys")
	}
	return serde.Func(func(dst []byte, v string) ([]byte, error) { return append(append(dst, topic...), v...), nil }, nil), nil
}

func TestSlice_OfABoundIsBound(t *testing.T) {
	s, ok := serde.Slice[string](perTopic{serde.String}).(serde.Bound[[]string])
	require.True(t, ok)
	bound, err := s.Bind("t", false)
	require.NoError(t, err)
	b, err := bound.Append(nil, []string{"v"})
	require.NoError(t, err)
	assert.Equal(t, "\x01\x00\x00\x00\x01\x00\x00\x00\x02tv", string(b))
	_, err = s.Bind("t", true)
	require.ErrorContains(t, err, "no keys")
}

type order struct{ ID string }

type name string

// upper is a serde of strings that differs from the basic one.
var upper = serde.Func(func(dst []byte, v string) ([]byte, error) { return append(dst, "UP"...), nil }, serde.String.Decode)

func TestFind_KnowsTheBasicTypes(t *testing.T) {
	for _, r := range []*serde.Registry{nil, {}, {Fallback: serde.JSONCodec}} {
		found(t, r, serde.String, serde.Serde[string](serde.String))
		found(t, r, serde.Bytes, serde.Serde[[]byte](serde.Bytes))
		found(t, r, serde.Bool, serde.Serde[bool](serde.Bool))
		found(t, r, serde.Int16, serde.Serde[int16](serde.Int16))
		found(t, r, serde.Int32, serde.Serde[int32](serde.Int32))
		found(t, r, serde.Int64, serde.Serde[int64](serde.Int64))
		found(t, r, serde.Float32, serde.Serde[float32](serde.Float32))
		found(t, r, serde.Float64, serde.Serde[float64](serde.Float64))
		found(t, r, serde.UUID, serde.Serde[[16]byte](serde.UUID))
		found(t, r, serde.Time, serde.Serde[time.Time](serde.Time))
		found(t, r, serde.None, serde.Serde[serde.Void](serde.None))
	}
}

func found[T any](t *testing.T, r *serde.Registry, _ serde.Serde[T], want serde.Serde[T]) {
	t.Helper()
	got, err := serde.Find[T](r)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestFind_PrefersRegisteredSerdes(t *testing.T) {
	r := &serde.Registry{Fallback: serde.JSONCodec}
	serde.Register(r, upper)
	s, err := serde.Find[string](r)
	require.NoError(t, err)
	b, err := s.Append(nil, "x")
	require.NoError(t, err)
	assert.Equal(t, "UP", string(b))

	serde.Register[string](r, serde.String)
	found(t, r, upper, serde.Serde[string](serde.String))
}

func TestFind_FallsBack(t *testing.T) {
	s, err := serde.Find[order](&serde.Registry{Fallback: serde.JSONCodec})
	require.NoError(t, err)
	b, err := s.Append(nil, order{"7"})
	require.NoError(t, err)
	assert.Equal(t, `{"ID":"7"}`, string(b))

	own, err := serde.Find[order](&serde.Registry{Fallback: lengths{}})
	require.NoError(t, err)
	b, err = own.Append([]byte("-"), order{"abc"})
	require.NoError(t, err)
	assert.Equal(t, "-\x03", string(b))
	v, err := own.Decode([]byte("xyz"))
	require.NoError(t, err)
	assert.Equal(t, order{"xyz"}, v)
	_, err = own.Append(nil, order{})
	require.ErrorContains(t, err, "no id")
	v, err = own.Decode(nil)
	require.ErrorContains(t, err, "no bytes")
	assert.Zero(t, v, "what a failing codec left behind is not returned")
}

// lengths is a Codec for orders.
type lengths struct{}

func (lengths) Marshal(v any) ([]byte, error) {
	if id := v.(order).ID; id != "" {
		return []byte{byte(len(id))}, nil
	}
	return nil, errors.New("no id")
}

func (lengths) Unmarshal(b []byte, ptr any) error {
	*ptr.(*order) = order{"partial"}
	if len(b) == 0 {
		return errors.New("no bytes")
	}
	*ptr.(*order) = order{string(b)}
	return nil
}

func TestFind_ErrorSaysWhatToDo(t *testing.T) {
	_, err := serde.Find[order](nil)
	require.EqualError(t, err, "no serde for type serde_test.order: name one with WithSerdes, add it with serde.Register, or set Registry.Fallback (serde.JSONCodec takes most types)")
	_, err = serde.Find[name](nil)
	require.ErrorContains(t, err, "no serde for type serde_test.name (string has one, but serde_test.name is another type)")
	_, err = serde.Find[int](nil)
	require.ErrorContains(t, err, "no serde for type int (int64 has one)")

	r := &serde.Registry{}
	serde.Register[order](r, nil)
	_, err = serde.Find[order](r)
	require.ErrorContains(t, err, "the serde registered for type serde_test.order is nil")
}
