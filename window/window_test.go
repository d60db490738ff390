package window_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/window"
)

const ms = time.Millisecond

func key(k string, start, end int64) window.Key[string] {
	return window.Key[string]{Key: k, Start: time.UnixMilli(start), End: time.UnixMilli(end)}
}

func ExampleKey_String() {
	day := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	fmt.Println(window.Key[string]{Key: "card-1", Start: day, End: day.Add(90 * time.Minute)})
	fmt.Println(window.Key[string]{Key: "card-1", Start: day, End: time.UnixMilli(math.MaxInt64)})
	// Output:
	// card-1@2026-01-02T10:00:00Z/2026-01-02T11:30:00Z
	// card-1@2026-01-02T10:00:00Z/..
}

func ExampleTimeKey() {
	s := window.TimeKey(serde.String, window.Tumbling(10*time.Millisecond))
	b, _ := s.Append(nil, window.Key[string]{Key: "a", Start: time.UnixMilli(250), End: time.UnixMilli(260)})
	k, _ := s.Decode(b)
	fmt.Printf("%x %d\n", b, k.End.UnixMilli())
	// Output: 6100000000000000fa 260
}

func ExampleSessionKey() {
	s := window.SessionKey(serde.String)
	b, _ := s.Append(nil, window.Key[string]{Key: "a", Start: time.UnixMilli(3), End: time.UnixMilli(10)})
	fmt.Printf("%x\n", b)
	// Output: 61000000000000000a0000000000000003
}

func TestKeySerde_RoundTrip(t *testing.T) {
	for _, tt := range []struct {
		serde serde.Serde[window.Key[string]]
		key   window.Key[string]
	}{
		{window.TimeKey(serde.String, window.Tumbling(10*ms)), key("", 0, 10)},
		{window.TimeKey(serde.String, window.Hopping(10*ms, 3*ms).Grace(time.Hour).OnClose()), key("with@all/kinds\x00of", 3, 13)},
		{window.TimeKey(serde.String, window.Sliding(10*ms)), key("a", 7, 17)},
		{window.TimeKey(serde.String, window.Unlimited(time.UnixMilli(5))), key("a", 5, math.MaxInt64)},
		{window.SessionKey(serde.String), key("a", 7, 7000)},
	} {
		b, err := tt.serde.Append([]byte("x"), tt.key)
		require.NoError(t, err)
		got, err := tt.serde.Decode(b[1:])
		require.NoError(t, err)
		assert.True(t, got == tt.key, "%v is not %v", got, tt.key)
		assert.Equal(t, tt.key.Key, string(tt.serde.(interface{ Base([]byte) []byte }).Base(b[1:])))
	}
}

func TestKeySerde_RefusesInvalidBytes(t *testing.T) {
	_, err := window.TimeKey(serde.String, window.Tumbling(ms)).Decode(make([]byte, 7))
	assert.ErrorContains(t, err, "windowed key of 7 bytes; its window alone takes 8")
	_, err = window.SessionKey(serde.String).Decode(make([]byte, 15))
	assert.ErrorContains(t, err, "windowed key of 15 bytes; its window alone takes 16")
	_, err = window.SessionKey(serde.Int64).Decode(make([]byte, 17))
	assert.Error(t, err, "the key itself")
}

func TestKeySerde_OfNilIsNil(t *testing.T) {
	assert.Nil(t, window.TimeKey[string](nil, window.Tumbling(ms)))
	assert.Nil(t, window.TimeKey(serde.String, nil))
	assert.Nil(t, window.SessionKey[string](nil))
}

// bound is another serde for each topic.
type bound struct{ serde.Serde[string] }

func (b bound) Bind(topic string, isKey bool) (serde.Serde[string], error) {
	if topic == "" {
		return nil, errors.New("no topic")
	}
	return serde.Func(func(dst []byte, v string) ([]byte, error) { return append(append(dst, topic...), v...), nil }, nil), nil
}

func TestKeySerde_OfABoundIsBound(t *testing.T) {
	s, ok := window.SessionKey[string](bound{serde.String}).(serde.Bound[window.Key[string]])
	require.True(t, ok)
	_, err := s.Bind("", true)
	require.ErrorContains(t, err, "no topic")
	of, err := s.Bind("t-", true)
	require.NoError(t, err)
	b, err := of.Append(nil, key("a", 0, 0))
	require.NoError(t, err)
	assert.Equal(t, "t-a", string(b[:3]))
}

func TestWindow_Invalid(t *testing.T) {
	for _, tt := range []struct {
		w    window.Windowed
		want string
	}{
		{window.Time{}, "window is zero"},
		{window.Slide{}, "window is zero"},
		{window.Session{}, "window is zero"},
		{window.Landmark{}, "window is zero"},
		{window.Join{}, "window is zero"},
		{window.Tumbling(0), "the size of its windows is 0s"},
		{window.Tumbling(-ms), "the size of its windows is -1ms"},
		{window.Hopping(10*ms, 11*ms), "advance by 11ms; it must be greater than 0 and at most their size, 10ms"},
		{window.Hopping(10*ms, 0), "advance by 0s"},
		{window.Tumbling(10 * ms).Grace(-ms), "grace period of its windows is -1ms"},
		{window.Sliding(-ms), "time difference of its sliding windows is -1ms"},
		{window.Sessions(0), "the gap of its sessions is 0s"},
		{window.Unlimited(time.UnixMilli(-1)), "not be before 1970"},
		{window.Within(ms).Before(-11 * ms).After(10 * ms), "ends before it starts"},
		{window.Within(10 * ms).Grace(-ms), "grace period"},
		{window.Tumbling(10 * ms).IdleAfter(ms), "add OnClose"},
		{window.Sliding(10 * ms).OnClose().IdleAfter(0), "IdleAfter is 0s"},
		{window.Tumbling(1500 * time.Microsecond), "not a whole number of milliseconds"},
		{window.Sessions(ms).Grace(math.MaxInt64), "longer than 50 years"},
		{window.Within(math.MaxInt64), "longer than 50 years"},
		{window.Within(math.MinInt64), "longer than 50 years"},
	} {
		assert.ErrorContains(t, window.WindowsOf(tt.w).Check(), tt.want, "%+v", tt.w)
	}
}

func TestWindow_Valid(t *testing.T) {
	for _, w := range []window.Windowed{
		window.Tumbling(ms), window.Tumbling(ms).IdleAfter(ms).OnClose(), window.Hopping(10*ms, 10*ms), window.Sliding(0), window.Sessions(ms).Grace(50 * 365 * 24 * time.Hour),
		window.Unlimited(time.UnixMilli(0)), window.Within(0), window.Within(10 * ms).Before(-10 * ms), window.Within(ms).After(-ms),
	} {
		assert.NoError(t, window.WindowsOf(w).Check(), "%+v", w)
	}
}

func TestWindow_Retention(t *testing.T) {
	for _, tt := range []struct {
		w    window.Any
		said time.Duration
		want time.Duration // 0: refused
	}{
		{window.Tumbling(10 * ms).Grace(5 * ms), 0, 15 * ms},
		{window.Tumbling(10 * ms).Grace(5 * ms), 14 * ms, 0},
		{window.Tumbling(10 * ms).Grace(5 * ms), time.Hour, time.Hour},
		{window.Sliding(10 * ms), 0, 31 * ms},
		{window.Sliding(10 * ms), 10 * ms, 31 * ms},
		{window.Sliding(10 * ms), 9 * ms, 0},
		{window.Sessions(5 * ms).Grace(10 * ms), 0, 21 * ms},
		{window.Sessions(5 * ms).Grace(10 * ms), 14 * ms, 0},
		{window.Unlimited(time.UnixMilli(0)), ms, spec.Forever},
	} {
		got, err := window.WindowsOf(tt.w).Retention(tt.said)
		assert.Equal(t, tt.want, got)
		assert.Equal(t, tt.want == 0, err != nil)
	}
}
