package kswire_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/serde"
)

var responses = kswire.ResponseSerde[string](serde.String)

func TestHash_IsThatOfKafkaStreams(t *testing.T) {
	// Murmur3.hash128 in Kafka Streams 4.3, of the bytes 0, 7, 14 ....
	for n, want := range map[int]string{
		0:   "9d2764a018e329428c3cf3b035938518",
		1:   "bf6631567482f28638e702af0fbf73cd",
		7:   "1f434e3c6bc0baa7d91c3f302e5270e1",
		8:   "81bae03b5232ecea89e59e54c599b349",
		9:   "26c6227eed7bc8d308513690387277e1",
		15:  "1d29b57a9fb733ded3d4521ce38016e1",
		16:  "bbd03604f288bf70905d83f163e195e9",
		17:  "1bfac5021695ec7ce399ab403c904e9f",
		31:  "1c0489f4ae1e8bcdf6f60c28d2c9e756",
		32:  "de9396681b0fbf2344bdd5fab5f9a22a",
		33:  "e3ba0d909c2dc64c9a98b5b318b2f2bf",
		100: "64b72912115143238eecc1cdc1fff4fb",
	} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i * 7)
		}
		sum := kswire.HashOf(b).Sum
		assert.Equal(t, want, hex.EncodeToString(sum[:]), "%d bytes", n)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestSubscription_BytesAreThoseOfKafkaStreams(t *testing.T) {
	hash := kswire.HashOf([]byte("f|a"))
	for want, s := range map[string]kswire.Subscription{
		"0103939d6e5f234b5320ab673873244f63dd6b3100000000": {Hash: hash, Instruction: kswire.SubscribeAndRespondIfPresent, Key: []byte("k1")},
		"81016b3100000007":                     {Instruction: kswire.UnsubscribeAndRespond, Key: []byte("k1"), Partition: 7},
		"80006b31":                             {Instruction: kswire.Unsubscribe, Key: []byte("k1"), Partition: -1},
		"0002939d6e5f234b5320ab673873244f63dd": {Hash: hash, Instruction: kswire.SubscribeAndRespond, Key: []byte{}, Partition: -1},
	} {
		b, err := kswire.SubscriptionSerde.Append([]byte("before"), s)
		require.NoError(t, err)
		assert.Equal(t, "before"+string(unhex(t, want)), string(b))
		back, err := kswire.SubscriptionSerde.Decode(unhex(t, want))
		require.NoError(t, err)
		assert.Equal(t, s, back)
	}
	for _, bad := range []string{"", "01", "81", "0201", "8104", "8201000000", "810100", "0103ffff", "8101ffffffff"} {
		_, err := kswire.SubscriptionSerde.Decode(unhex(t, bad))
		assert.Error(t, err, bad)
	}
}

func TestResponse_BytesAreThoseOfKafkaStreams(t *testing.T) {
	hash := kswire.HashOf([]byte("f|a"))
	for want, r := range map[string]kswire.Response[string]{
		"00939d6e5f234b5320ab673873244f63dd58": {Hash: hash, Value: "X", HasValue: true},
		"00939d6e5f234b5320ab673873244f63dd":   {Hash: hash},
		"80":                                   {},
	} {
		b, err := responses.Append([]byte("before"), r)
		require.NoError(t, err)
		assert.Equal(t, "before"+string(unhex(t, want)), string(b))
		back, err := responses.Decode(unhex(t, want))
		require.NoError(t, err)
		assert.Equal(t, r, back)
	}
	for _, bad := range []string{"", "00", "01", "81", "00939d"} {
		_, err := responses.Decode(unhex(t, bad))
		assert.Error(t, err, bad)
	}
}

func FuzzSubscription(f *testing.F) {
	f.Add([]byte{1, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 'k', 0, 0, 0, 1})
	f.Add([]byte{0x81, 1, 'k', 0, 0, 0, 0})
	f.Add([]byte{0x80, 2, 'k'})
	f.Fuzz(func(t *testing.T, b []byte) {
		given := bytes.Clone(b)
		s, err := kswire.SubscriptionSerde.Decode(b)
		require.Equal(t, given, b)
		if err != nil {
			return
		}
		again, err := kswire.SubscriptionSerde.Append(nil, s)
		require.NoError(t, err)
		require.Equal(t, given, again)
	})
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte{0x80})
	f.Add([]byte{0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 'v'})
	f.Fuzz(func(t *testing.T, b []byte) {
		given := bytes.Clone(b)
		r, err := responses.Decode(b)
		require.Equal(t, given, b)
		if err != nil {
			return
		}
		again, err := responses.Append(nil, r)
		require.NoError(t, err)
		require.Equal(t, given, again)
	})
}
