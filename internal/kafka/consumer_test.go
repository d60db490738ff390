package kafka

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSubscriptionRoundTrip(t *testing.T) {
	tests := []Subscription{
		{Generation: -1},
		{Topics: []string{"a", "b"}, UserData: []byte{}, Generation: 7, Rack: "r"},
		{Topics: []string{"a"}, UserData: []byte("x"), Owned: []TopicPartition{{"a", 0}, {"a", 2}, {"b", 1}}, Generation: 1},
	}
	for _, s := range tests {
		got, err := DecodeSubscription(s.AppendTo(nil))
		require.NoError(t, err)
		assert.Equal(t, s, got)
	}
}

func TestAssignmentRoundTrip(t *testing.T) {
	tests := []Assignment{{}, {UserData: []byte{}}, {Partitions: []TopicPartition{{"a", 0}, {"b", 1}}, UserData: []byte("x")}}
	for _, a := range tests {
		got, err := DecodeAssignment(a.AppendTo(nil))
		require.NoError(t, err)
		assert.Equal(t, a, got)
	}
	got, err := DecodeAssignment(nil)
	require.NoError(t, err)
	assert.Equal(t, Assignment{}, got, "a member whom the leader left out gets no bytes")
}

// The bytes are those that Kafka's own clients write.
func TestConsumerProtocolBytes(t *testing.T) {
	s := Subscription{Topics: []string{"in"}, Owned: []TopicPartition{{"in", 3}}, Generation: -1}
	assert.Equal(t, "0003"+"00000001"+"0002696e"+"ffffffff"+"00000001"+"0002696e"+"00000001"+"00000003"+"ffffffff"+"ffff",
		hex.EncodeToString(s.AppendTo(nil)))
	v0, err := hex.DecodeString("0000" + "00000001" + "0002696e" + "00000002" + "abcd")
	require.NoError(t, err)
	got, err := DecodeSubscription(v0)
	require.NoError(t, err)
	assert.Equal(t, Subscription{Topics: []string{"in"}, UserData: []byte{0xab, 0xcd}, Generation: -1}, got)
	a := Assignment{Partitions: []TopicPartition{{"in", 1}, {"in", 0}}}
	assert.Equal(t, "0003"+"00000001"+"0002696e"+"00000002"+"00000000"+"00000001"+"ffffffff", hex.EncodeToString(a.AppendTo(nil)))
}

func FuzzDecodeSubscription(f *testing.F) {
	f.Add(Subscription{Topics: []string{"a"}, Owned: []TopicPartition{{"a", 1}}, UserData: []byte("u"), Rack: "r"}.AppendTo(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSubscription(b)
		if err != nil {
			return
		}
		again, err := DecodeSubscription(s.AppendTo(nil))
		require.NoError(t, err)
		assert.Equal(t, s.AppendTo(nil), again.AppendTo(nil))
	})
}

func FuzzDecodeAssignment(f *testing.F) {
	f.Add(Assignment{Partitions: []TopicPartition{{"a", 1}, {"b", 0}}, UserData: []byte("u")}.AppendTo(nil))
	f.Add([]byte{0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAssignment(b)
		if err != nil {
			return
		}
		again, err := DecodeAssignment(a.AppendTo(nil))
		require.NoError(t, err)
		assert.Equal(t, a.AppendTo(nil), again.AppendTo(nil))
	})
}
