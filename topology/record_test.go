package topology_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/topology"
)

func ExampleHeaders() {
	h := topology.Headers{}.With("trace", []byte("1")).With("trace", []byte("2"))
	v, ok := h.Get("trace")
	fmt.Println(string(v), ok, len(h.Without("trace")))
	// Output: 2 true 0
}

func ExampleWithValue() {
	r := topology.Record[string, int]{Key: "anna", Value: 7}
	fmt.Println(topology.WithValue(r, "seven").Value, r.Value)
	// Output: seven 7
}

func TestHeaders_NeverChangeInPlace(t *testing.T) {
	base := make(topology.Headers, 0, 4).With("a", nil)
	x, y := base.With("b", []byte("x")), base.With("b", []byte("y"))
	v, _ := x.Get("b")
	assert.Equal(t, "x", string(v))
	v, _ = y.Get("b")
	assert.Equal(t, "y", string(v))
	assert.Equal(t, topology.Headers{{Name: "a"}}, x.Without("b"))
	assert.Len(t, x, 2)

	v, ok := x.Get("a")
	assert.True(t, ok)
	assert.Nil(t, v, "null is not empty")
	_, ok = x.Get("none")
	assert.False(t, ok)
}

func TestRecord_MethodsLeaveTheRestAsItIs(t *testing.T) {
	src := topology.Source{Topic: "in", Partition: 1, Offset: 2}
	r := topology.Record[string, int]{Key: "k", Value: 1, Time: time.UnixMilli(5), Headers: topology.Headers{{Name: "h"}}}.From(src)

	v := topology.WithValue(r.Deleted(), "v")
	assert.Equal(t, "v", v.Value)
	assert.False(t, v.Tombstone, "a value was given")
	assert.Equal(t, r.Headers, v.Headers)
	assert.Equal(t, src, v.Source())

	k := topology.WithKey(r.Keyless().Deleted(), 9)
	assert.Equal(t, 9, k.Key)
	assert.False(t, k.NoKey, "a key was given")
	assert.True(t, k.Tombstone)
	assert.Zero(t, k.Value)
	assert.Equal(t, time.UnixMilli(5), k.Time)

	assert.Empty(t, r.Keyless().Key)
	assert.Equal(t, time.UnixMilli(6), r.At(time.UnixMilli(6)).Time)
	assert.Len(t, r.With("x", nil).Headers, 2)
	assert.Len(t, r.Headers, 1)
}

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	one := &topology.Error{Op: "stream.Filter", Name: "big", Pos: "main.go:7", Err: cause}
	two := &topology.Error{Op: "stream.To", Err: errors.New("other")}
	err := error(topology.Errors{one, two})
	assert.Equal(t, "main.go:7: stream.Filter \"big\": cause\nstream.To: other", err.Error())
	require.ErrorIs(t, err, cause)
	var first *topology.Error
	require.ErrorAs(t, err, &first)
	assert.Equal(t, "big", first.Name)
}
