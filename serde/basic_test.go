package serde_test

import (
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
)

var someUUID = [16]byte{0x01, 0x23, 0xab, 0xcd, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab}

// golden checks the bytes of a value both ways. The bytes were written by the serializers of Kafka
// 4.3.0 where it has one.
func golden[T any](s serde.Serde[T], v T, want string) func(*testing.T) {
	return func(t *testing.T) {
		b, err := s.Append([]byte("before"), v)
		require.NoError(t, err)
		require.Equal(t, "before", string(b[:6]), "what stood before is kept")
		assert.Equal(t, want, hex.EncodeToString(b[6:]))
		got, err := s.Decode(b[6:])
		require.NoError(t, err)
		assert.Equal(t, v, got)
	}
}

func TestBasic_Golden(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"string":                    golden(serde.String, "grüß €😀", "6772c3bcc39f20e282acf09f9880"),
		"empty string":              golden(serde.String, "", ""),
		"string that is not UTF-8":  golden(serde.String, "\xff\x00", "ff00"),
		"bytes":                     golden(serde.Bytes, []byte{1, 2}, "0102"),
		"empty bytes are not nil":   golden(serde.Bytes, []byte{}, ""),
		"true":                      golden(serde.Bool, true, "01"),
		"false":                     golden(serde.Bool, false, "00"),
		"int16":                     golden(serde.Int16, -2, "fffe"),
		"greatest int16":            golden(serde.Int16, math.MaxInt16, "7fff"),
		"int32":                     golden(serde.Int32, 305419896, "12345678"),
		"negative int32":            golden(serde.Int32, -2, "fffffffe"),
		"int64":                     golden(serde.Int64, 81985529216486895, "0123456789abcdef"),
		"negative int64":            golden(serde.Int64, -2, "fffffffffffffffe"),
		"float32":                   golden(serde.Float32, -1.5, "bfc00000"),
		"float64":                   golden(serde.Float64, math.Pi, "400921fb54442d18"),
		"negative float64":          golden(serde.Float64, -1.5, "bff8000000000000"),
		"uuid":                      golden(serde.UUID, someUUID, "30313233616263642d343536372d383961622d636465662d303132333435363738396162"),
		"none":                      golden(serde.None, serde.Void{}, ""),
		"time":                      golden(serde.Time, time.UnixMilli(1).UTC(), "0000000000000001"),
		"zero time":                 golden(serde.Time, time.Time{}, "ffffc77cedd32800"),
		"list of int32":             golden(serde.Slice(serde.Int32), []int32{1, -1}, "00000000000000000200000001ffffffff"),
		"list of int64":             golden(serde.Slice(serde.Int64), []int64{1}, "0000000000000000010000000000000001"),
		"list of int16":             golden(serde.Slice(serde.Int16), []int16{1}, "0000000000000000010001"),
		"list of float32":           golden(serde.Slice(serde.Float32), []float32{1}, "0000000000000000013f800000"),
		"list of float64":           golden(serde.Slice(serde.Float64), []float64{1}, "0000000000000000013ff0000000000000"),
		"list of uuids":             golden(serde.Slice(serde.UUID), [][16]byte{{7: 1, 15: 2}}, "00000000000000000130303030303030302d303030302d303030312d303030302d303030303030303030303032"),
		"list of bool":              golden(serde.Slice(serde.Bool), []bool{true, false}, "010000000200000001010000000100"),
		"list of strings":           golden(serde.Slice(serde.String), []string{"a", "", "bc"}, "0100000003000000016100000000000000026263"),
		"list of bytes":             golden(serde.Slice(serde.Bytes), [][]byte{{1, 2}}, "0100000001000000020102"),
		"empty list of int32":       golden(serde.Slice(serde.Int32), []int32{}, "000000000000000000"),
		"empty list of strings":     golden(serde.Slice(serde.String), []string{}, "0100000000"),
		"list of lists":             golden(serde.Slice(serde.Slice(serde.Int32)), [][]int32{{7}, {}}, "01000000020000000d0000000000000000010000000700000009000000000000000000"),
		"json":                      golden(serde.JSON[map[string]any](), map[string]any{"a": "<&>", "b": nil}, hex.EncodeToString([]byte(`{"a":"<&>","b":null}`))),
		"list of json has lengths":  golden(serde.Slice(serde.JSON[int]()), []int{1, 22}, "01000000020000000131000000023232"),
		"time in a list has length": golden(serde.Slice(serde.Time), []time.Time{time.UnixMilli(1).UTC()}, "0100000001000000080000000000000001"),
	} {
		t.Run(name, test)
	}
}

func TestFloat64_NaNIsJavas(t *testing.T) {
	for _, nan := range []float64{math.NaN(), math.Float64frombits(0xfff8000000000123)} {
		b, err := serde.Float64.Append(nil, nan)
		require.NoError(t, err)
		assert.Equal(t, "7ff8000000000000", hex.EncodeToString(b))
	}
	b, err := serde.Float32.Append(nil, math.Float32frombits(0x7fc00001))
	require.NoError(t, err)
	assert.Equal(t, "7fc00001", hex.EncodeToString(b), "a float keeps its bits, in Java too")
}

// refuses checks that b does not decode and that the error says why.
func refuses[T any](s serde.Serde[T], b, want string) func(*testing.T) {
	return func(t *testing.T) {
		raw, err := hex.DecodeString(b)
		require.NoError(t, err)
		v, err := s.Decode(raw)
		require.ErrorContains(t, err, want)
		assert.Zero(t, v)
	}
}

func TestBasic_Refuses(t *testing.T) {
	text := func(s string) string { return hex.EncodeToString([]byte(s)) }
	for name, test := range map[string]func(*testing.T){
		"short bool":         refuses(serde.Bool, "", "serde.Bool: got 0 bytes, want 1"),
		"bool of 2":          refuses(serde.Bool, "02", "byte 0x02 is neither 0 nor 1"),
		"long int16":         refuses(serde.Int16, "000001", "serde.Int16: got 3 bytes, want 2"),
		"short int32":        refuses(serde.Int32, "01", "serde.Int32: got 1 byte, want 4"),
		"int64 of an int32":  refuses(serde.Int64, "00000001", "serde.Int64: got 4 bytes, want 8"),
		"short float32":      refuses(serde.Float32, "", "serde.Float32: got 0 bytes, want 4"),
		"long float64":       refuses(serde.Float64, "000000000000000000", "serde.Float64: got 9 bytes, want 8"),
		"short time":         refuses(serde.Time, "00", "serde.Time: got 1 byte, want 8"),
		"key where none is":  refuses(serde.None, "00", "serde.None: got 1 byte, want 0"),
		"raw uuid":           refuses(serde.UUID, "000102030405060708090a0b0c0d0e0f", "serde.UUID: got 16 bytes, want 36"),
		"uuid without dash":  refuses(serde.UUID, text("0123abcd_4567-89ab-cdef-0123456789ab"), "no dash at place 8"),
		"uuid with a letter": refuses(serde.UUID, text("0123abcd-4567-89ab-cdef-0123456789ax"), "invalid byte: U+0078"),
		"json null":          refuses(serde.JSON[*int](), text(" null\n"), "null is not a value"),
		"no json":            refuses(serde.JSON[int](), "", "unexpected end"),
		"json and more":      refuses(serde.JSON[int](), text("1 2"), "after top-level value"),
		"json of a part":     refuses(serde.JSON[struct{ A, B int }](), text(`{"A":1,"B":"x"}`), "cannot unmarshal string"),
		"empty list":         refuses(serde.Slice(serde.Int32), "", "serde.Slice: 1 more bytes wanted, 0 left"),
		"list of strategy 2": refuses(serde.Slice(serde.Int32), "0200000000", "strategy 2 is neither"),
		"list with null":     refuses(serde.Slice(serde.Int32), "000000000100000001000000020000000100000003", "1 elements are null"),
		"null string":        refuses(serde.Slice(serde.String), "01000000020000000161ffffffff", "element 1 of 2: null"),
		"negative count":     refuses(serde.Slice(serde.String), "01ffffffff", "number of elements -1"),
		"huge count":         refuses(serde.Slice(serde.Int64), "00000000007fffffff", "element 0 of 2147483647: 8 more bytes wanted, 0 left"),
		"negative length":    refuses(serde.Slice(serde.String), "0100000001fffffffe", "-2 more bytes wanted"),
		"list and more":      refuses(serde.Slice(serde.Int16), "000000000000000001000100", "1 byte after the last of 1 element"),
		"no lengths":         refuses(serde.Slice(serde.String), "000000000000000000", "no constant size"),
	} {
		t.Run(name, test)
	}
}

func TestUUID_UpperCase(t *testing.T) {
	v, err := serde.UUID.Decode([]byte("0123ABCD-4567-89AB-CDEF-0123456789AB"))
	require.NoError(t, err)
	assert.Equal(t, someUUID, v)
}

func TestTime_IsTruncatedToMilliseconds(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 1_999_999, time.FixedZone("x", 3600))
	b, err := serde.Time.Append(nil, at)
	require.NoError(t, err)
	got, err := serde.Time.Decode(b)
	require.NoError(t, err)
	assert.Equal(t, time.Date(2026, 5, 1, 11, 0, 0, 1_000_000, time.UTC), got)

	for _, end := range []time.Time{time.UnixMilli(math.MaxInt64), time.UnixMilli(math.MinInt64)} {
		b, err := serde.Time.Append(nil, end)
		require.NoError(t, err)
		got, err := serde.Time.Decode(b)
		require.NoError(t, err)
		assert.True(t, end.Equal(got))
	}
	for _, far := range []time.Time{time.Unix(math.MaxInt64/1000+1, 0), time.Unix(math.MinInt64/1000-1, 0)} {
		_, err = serde.Time.Append(nil, far)
		require.ErrorContains(t, err, "do not fit")
	}
}

func TestBytes_Aliases(t *testing.T) {
	b := []byte{1, 2}
	v, err := serde.Bytes.Decode(b)
	require.NoError(t, err)
	b[0] = 9
	assert.Equal(t, []byte{9, 2}, v)
}

// allocs counts the allocations of an Append to a buffer that is large enough.
func allocs[T any](t *testing.T, s serde.Serde[T], v T, want float64) {
	t.Helper()
	buf := make([]byte, 0, 256)
	got := testing.AllocsPerRun(100, func() {
		if _, err := s.Append(buf, v); err != nil {
			t.Error(err)
		}
	})
	assert.Equal(t, want, got, "%T", s)
}

func TestBasic_AppendDoesNotAllocate(t *testing.T) {
	allocs(t, serde.String, "text", 0)
	allocs(t, serde.Bytes, []byte("text"), 0)
	allocs(t, serde.Bool, true, 0)
	allocs(t, serde.Int16, 1, 0)
	allocs(t, serde.Int32, 1, 0)
	allocs(t, serde.Int64, 1, 0)
	allocs(t, serde.Float32, 1, 0)
	allocs(t, serde.Float64, 1, 0)
	allocs(t, serde.UUID, someUUID, 0)
	allocs(t, serde.Time, time.UnixMilli(1), 0)
	allocs(t, serde.None, serde.Void{}, 0)
	allocs(t, serde.Slice(serde.Int64), []int64{1, 2}, 0)
	allocs(t, serde.Slice(serde.String), []string{"a", "b"}, 0)
}
