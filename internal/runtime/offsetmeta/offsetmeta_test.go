package offsetmeta

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The strings are what Kafka Streams' format gives, byte by byte.
func TestEncode_Golden(t *testing.T) {
	cases := []struct {
		name      string
		time      int64
		operators map[string]int64
		raw       string
		want      string
	}{
		{"no record seen", -1, nil, "\x02\xff\xff\xff\xff\xff\xff\xff\xff", "Av//////////"},
		{"a partition's time", 1500, nil, "\x02\x00\x00\x00\x00\x00\x00\x05\xdc", "AgAAAAAAAAXc"},
		{"an operator", 1500, map[string]int64{"key1": 10},
			"\x02\x00\x00\x00\x00\x00\x00\x05\xdc\x00\x00\x00\x01\x00\x00\x00\x04key1\x00\x00\x00\x00\x00\x00\x00\x0a",
			"AgAAAAAAAAXcAAAAAQAAAARrZXkxAAAAAAAAAAo="},
		{"two operators in order of name", 0, map[string]int64{"b": -1, "a": 1},
			"\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" +
				"\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01b\xff\xff\xff\xff\xff\xff\xff\xff", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := Encode(c.time, c.operators)
			raw, err := base64.StdEncoding.DecodeString(got)
			require.NoError(t, err)
			assert.Equal(t, c.raw, string(raw))
			if c.want != "" {
				assert.Equal(t, c.want, got)
			}
			at, operators, err := Decode(got)
			require.NoError(t, err)
			assert.Equal(t, c.time, at)
			assert.Equal(t, c.operators, operators)
		})
	}
}

func TestDecode_DamagedMetadata(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	cases := []struct {
		name, in  string
		time      int64
		operators map[string]int64
		fails     bool
	}{
		{name: "an empty string", in: "", time: Unknown},
		{name: "version 1", in: b64("\x01\x00\x00\x00\x00\x00\x00\x05\xdc"), time: 1500},
		{name: "version 1 with something behind", in: b64("\x01\x00\x00\x00\x00\x00\x00\x05\xdcmore"), time: 1500},
		{name: "a later version", in: b64("\x03\x00\x00\x00\x00\x00\x00\x05\xdc"), time: Unknown, fails: true},
		{name: "another client's text", in: "consumed by host-1", time: Unknown, fails: true},
		{name: "half a time", in: b64("\x02\x00\x00"), time: Unknown, fails: true},
		{name: "half a count", in: b64("\x02\x00\x00\x00\x00\x00\x00\x05\xdc\x00"), time: 1500, fails: true},
		{name: "a second operator that ends early", time: 1500, operators: map[string]int64{"a": 1}, fails: true,
			in: b64("\x02\x00\x00\x00\x00\x00\x00\x05\xdc\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01b")},
		{name: "a negative length", time: 1500, operators: map[string]int64{}, fails: true,
			in: b64("\x02\x00\x00\x00\x00\x00\x00\x05\xdc\x00\x00\x00\x01\xff\xff\xff\xff12345678")},
		{name: "a huge count", time: 1500, operators: map[string]int64{}, fails: true,
			in: b64("\x02\x00\x00\x00\x00\x00\x00\x05\xdc\x7f\xff\xff\xff")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			at, operators, err := Decode(c.in)
			assert.Equal(t, c.fails, err != nil, "%v", err)
			assert.Equal(t, c.time, at)
			assert.Equal(t, c.operators, operators)
		})
	}
}

func TestCheck(t *testing.T) {
	assert.NoError(t, Check(nil, Program{}, MaxSize))
	fits := []string{strings.Repeat("n", 3072-headerSize-4-4-8)}
	assert.NoError(t, Check(fits, Program{}, MaxSize))
	assert.Len(t, Encode(1, map[string]int64{fits[0]: 1}), MaxSize)
	assert.ErrorIs(t, Check([]string{fits[0] + "n"}, Program{}, MaxSize), ErrTooLarge)
}

func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add(Encode(-1, nil))
	f.Add(Encode(1500, map[string]int64{OperatorKey("late"): 3, "store": 4}))
	f.Fuzz(func(t *testing.T, s string) {
		at, operators, err := Decode(s)
		if err != nil {
			return
		}
		again, same, err := Decode(Encode(at, operators))
		require.NoError(t, err)
		assert.Equal(t, at, again)
		assert.Equal(t, len(operators), len(same))
		for name, v := range operators {
			assert.Equal(t, v, same[name])
		}
	})
}
