package assign

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

var update = flag.Bool("update", false, "write the golden files")

func subscription() Subscription {
	return Subscription{
		Topics: []string{"clicks", "users"}, Process: [16]byte{1, 2, 3, 15: 16}, Workers: 4, Rack: "eu-1",
		Subs: []Sub{
			{Topics: []string{"clicks"}, Stores: []string{"counts"}},
			{Patterns: []string{"log-.*"}},
		},
		Owned:      []graph.TaskID{{Sub: 0, Partition: 0}, {Sub: 0, Partition: 3}, {Sub: 1, Partition: 0}},
		Partitions: []kafka.TopicPartition{{Topic: "clicks", Partition: 0}, {Topic: "clicks", Partition: 3}, {Topic: "log-a", Partition: 0}},
		Generation: 7, Stored: []graph.TaskID{{Sub: 0, Partition: 200}}, Round: 300,
	}
}

func TestSubscriptionIsKafkas(t *testing.T) {
	want := subscription()
	b := want.Encode()
	var m kmsg.ConsumerMemberMetadata
	require.NoError(t, m.ReadFrom(b))
	assert.Equal(t, int16(3), m.Version)
	assert.Equal(t, want.Topics, m.Topics)
	assert.Equal(t, int32(7), m.Generation)
	assert.Equal(t, "eu-1", *m.Rack)
	require.Len(t, m.OwnedPartitions, 2)
	assert.Equal(t, "clicks", m.OwnedPartitions[0].Topic)
	assert.Equal(t, []int32{0, 3}, m.OwnedPartitions[0].Partitions)
	assert.Equal(t, b, m.AppendTo(nil))

	got, err := DecodeSubscription(b)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestAssignmentIsKafkas(t *testing.T) {
	want := Assignment{
		Tasks:      []graph.TaskID{{Sub: 0, Partition: 1}, {Sub: 2, Partition: 0}},
		Partitions: []kafka.TopicPartition{{Topic: "a", Partition: 1}, {Topic: "b", Partition: 0}, {Topic: "b", Partition: 1}}, Moving: 5,
	}
	b := want.Encode()
	var m kmsg.ConsumerMemberAssignment
	require.NoError(t, m.ReadFrom(b))
	require.Len(t, m.Topics, 2)
	assert.Equal(t, []int32{0, 1}, m.Topics[1].Partitions)
	got, err := DecodeAssignment(b)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	got, err = DecodeAssignment(nil)
	require.NoError(t, err)
	assert.Empty(t, got)
}

// What a later version of this module may add must not stop this one.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	want := subscription()
	m := kmsg.NewConsumerMemberMetadata()
	require.NoError(t, m.ReadFrom(want.Encode()))
	m.Version = 9
	m.UserData = appendField(m.UserData, 1000, []byte("lag of each task"))
	b := append(m.AppendTo(nil), "fields of version 9"...)
	got, err := DecodeSubscription(b)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestOldSubscriptions(t *testing.T) {
	want := subscription()
	for version := range int16(3) {
		m := kmsg.NewConsumerMemberMetadata()
		require.NoError(t, m.ReadFrom(want.Encode()))
		m.Version = version
		got, err := DecodeSubscription(m.AppendTo(nil))
		require.NoError(t, err)
		assert.Equal(t, want.Subs, got.Subs)
		if version < 2 {
			assert.Equal(t, int32(-1), got.Generation)
		}
	}
}

func TestForeignUserDataIsAnError(t *testing.T) {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = 3
	m.UserData = []byte("\x00\x00\x00\x09java")
	m.Generation = 3
	m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "a", Partitions: []int32{0}}}
	s, err := DecodeSubscription(m.AppendTo(nil))
	assert.ErrorContains(t, err, "unknown version")
	ours := Subscription{Workers: 1, Subs: []Sub{{Topics: []string{"a"}}}, Generation: -1}
	got := Assign(map[string]Subscription{"theirs": s, "ours": ours}, map[string]int{"a": 2})
	assert.Equal(t, []graph.TaskID{{Partition: 1}}, got["ours"].Tasks, "the other is owned")
}

func FuzzDecodeSubscription(f *testing.F) {
	f.Add(subscription().Encode())
	f.Add(Subscription{Generation: -1}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSubscription(b)
		if err != nil {
			return
		}
		once := s.Encode()
		again, err := DecodeSubscription(once)
		require.NoError(t, err)
		assert.Equal(t, once, again.Encode())
	})
}

func FuzzDecodeAssignment(f *testing.F) {
	f.Add(Assignment{Tasks: []graph.TaskID{{Sub: 1, Partition: 2}}, Moving: 1}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAssignment(b)
		if err != nil {
			return
		}
		once := a.Encode()
		again, err := DecodeAssignment(once)
		require.NoError(t, err)
		assert.Equal(t, once, again.Encode())
	})
}

func TestTruncatedMessagesAreErrors(t *testing.T) {
	b := subscription().Encode()
	for n := range b {
		_, err := DecodeSubscription(b[:n])
		assert.Error(t, err, "%d of %d bytes", n, len(b))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		c := append([]byte(nil), b...)
		c[r.IntN(len(c))] ^= byte(1 + r.IntN(255))
		_, _ = DecodeSubscription(c) // must not panic
	}
}

// Members of an older version send what the golden files hold: it must be readable for ever. -update writes them anew, which is right
// for a new version byte only.
func TestGolden(t *testing.T) {
	a := Assignment{
		Tasks:      []graph.TaskID{{Sub: 0, Partition: 0}, {Sub: 0, Partition: 3}, {Sub: 1, Partition: 0}},
		Partitions: subscription().Partitions, Moving: 2,
	}
	for name, b := range map[string][]byte{"subscription-v1.bin": subscription().Encode(), "assignment-v1.bin": a.Encode()} {
		path := filepath.Join("testdata", name)
		if *update {
			require.NoError(t, os.WriteFile(path, b, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, want, b, name)
	}
	b, err := os.ReadFile("testdata/subscription-v1.bin")
	require.NoError(t, err)
	s, err := DecodeSubscription(b)
	require.NoError(t, err)
	assert.Equal(t, subscription(), s)
	b, err = os.ReadFile("testdata/assignment-v1.bin")
	require.NoError(t, err)
	got, err := DecodeAssignment(b)
	require.NoError(t, err)
	assert.Equal(t, a, got)
}
