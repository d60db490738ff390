package assign

import (
	"flag"
	"math"
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
		Subtopologies: []Subtopology{
			{Topics: []string{"clicks"}, Stores: []string{"counts"}},
			{Patterns: []string{"log-.*"}},
		},
		Owned:      []graph.TaskID{{Subtopology: 0, Partition: 0}, {Subtopology: 0, Partition: 3}, {Subtopology: 1, Partition: 0}},
		Partitions: []kafka.TopicPartition{{Topic: "clicks", Partition: 0}, {Topic: "clicks", Partition: 3}, {Topic: "log-a", Partition: 0}},
		Generation: 7, Stored: []graph.TaskID{{Subtopology: 0, Partition: 200}}, Round: 300, Changes: true, Standby: true,
		Tags: map[string]string{"zone": "eu-1a", "cluster": "k8s-2"}, Leaving: []graph.TaskID{{Subtopology: 0, Partition: 1}},
		Standbys: []graph.TaskID{{Subtopology: 0, Partition: 1}}, Positions: []Position{{graph.TaskID{Subtopology: 0, Partition: 1}, []int64{17}}, {graph.TaskID{Subtopology: 0, Partition: 200}, []int64{-1}}},
	}
}

func TestSubscription_KafkaFormat(t *testing.T) {
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

func TestAssignment_KafkaFormat(t *testing.T) {
	want := Assignment{
		Tasks:      []graph.TaskID{{Subtopology: 0, Partition: 1}, {Subtopology: 2, Partition: 0}},
		Partitions: []kafka.TopicPartition{{Topic: "a", Partition: 1}, {Topic: "b", Partition: 0}, {Topic: "b", Partition: 1}}, Moving: 5,
		Standbys: []graph.TaskID{{Subtopology: 0, Partition: 2}, {Subtopology: 0, Partition: 3}}, WarmUps: []graph.TaskID{{Subtopology: 0, Partition: 3}}, AcceptableLag: 12_345,
		Unneeded: []graph.TaskID{{Subtopology: 0, Partition: 9}}, Replacing: []graph.TaskID{{Subtopology: 0, Partition: 2}}, Leaving: []graph.TaskID{{Subtopology: 0, Partition: 4}},
	}
	b := want.Encode(subscription())
	var m kmsg.ConsumerMemberAssignment
	require.NoError(t, m.ReadFrom(b))
	require.Len(t, m.Topics, 2)
	assert.Equal(t, []int32{0, 1}, m.Topics[1].Partitions)
	got, err := DecodeAssignment(b, subscription().Subtopologies)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	got, err = DecodeAssignment(nil, nil)
	require.NoError(t, err)
	assert.Empty(t, got)
}

// What a later version of this module may add must not stop this one.
func TestDecode_UnknownFields(t *testing.T) {
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

func TestDecode_OldVersions(t *testing.T) {
	want := subscription()
	for version := range int16(3) {
		m := kmsg.NewConsumerMemberMetadata()
		require.NoError(t, m.ReadFrom(want.Encode()))
		m.Version = version
		got, err := DecodeSubscription(m.AppendTo(nil))
		require.NoError(t, err)
		assert.Equal(t, want.Subtopologies, got.Subtopologies)
		if version < 2 {
			assert.Equal(t, int32(-1), got.Generation)
		}
	}
}

// A task that such a partition implied would be another one after it was written and read.
func TestDecode_NegativePartition(t *testing.T) {
	m := kmsg.NewConsumerMemberMetadata()
	require.NoError(t, m.ReadFrom(subscription().Encode()))
	m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "clicks", Partitions: []int32{0, -1}}}
	_, err := DecodeSubscription(m.AppendTo(nil))
	assert.ErrorContains(t, err, `partition -1 of topic "clicks"`)

	a := kmsg.NewConsumerMemberAssignment()
	a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "clicks", Partitions: []int32{math.MinInt32}}}
	_, err = DecodeAssignment(a.AppendTo(nil), subscription().Subtopologies)
	assert.ErrorContains(t, err, `partition -2147483648 of topic "clicks"`)
}

func TestDecode_ForeignUserData(t *testing.T) {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = 3
	m.UserData = []byte("\x00\x00\x00\x09java")
	m.Generation = 3
	m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "a", Partitions: []int32{0}}}
	s, err := DecodeSubscription(m.AppendTo(nil))
	assert.ErrorContains(t, err, "unknown version")
	ours := Subscription{Workers: 1, Subtopologies: []Subtopology{{Topics: []string{"a"}}}, Generation: -1}
	got := Assign(map[string]Subscription{"theirs": s, "ours": ours}, map[string]int{"a": 2}, Options{})
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
	member := subscription()
	subs := member.Subtopologies
	f.Add(Assignment{Tasks: []graph.TaskID{{Subtopology: 1, Partition: 2}}, Moving: 1}.Encode(member))
	f.Add(Assignment{Tasks: subscription().Owned, Partitions: subscription().Partitions}.Encode(member))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAssignment(b, subs)
		if err != nil {
			return
		}
		once := a.Encode(member)
		again, err := DecodeAssignment(once, subs)
		require.NoError(t, err)
		assert.Equal(t, once, again.Encode(member))
	})
}

func TestDecode_Truncated(t *testing.T) {
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

// Members of an older version send what the golden files hold: it must be readable for ever. In v1, tasks were lists.
// -update writes those of the newest version again, which is right for a new one only.
func TestEncode_Golden(t *testing.T) {
	member := subscription()
	subs := member.Subtopologies
	a := Assignment{
		Tasks:      []graph.TaskID{{Subtopology: 0, Partition: 0}, {Subtopology: 0, Partition: 3}, {Subtopology: 1, Partition: 0}},
		Partitions: subscription().Partitions, Moving: 2,
		Standbys: []graph.TaskID{{Subtopology: 0, Partition: 1}, {Subtopology: 0, Partition: 2}}, WarmUps: []graph.TaskID{{Subtopology: 0, Partition: 2}}, AcceptableLag: 10_000,
		Unneeded: []graph.TaskID{{Subtopology: 0, Partition: 9}}, Replacing: []graph.TaskID{{Subtopology: 0, Partition: 1}}, Leaving: []graph.TaskID{{Subtopology: 0, Partition: 5}},
	}
	for name, b := range map[string][]byte{"subscription-v4.bin": subscription().Encode(), "assignment-v4.bin": a.Encode(member)} {
		path := filepath.Join("testdata", name)
		if *update {
			require.NoError(t, os.WriteFile(path, b, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, want, b, name)
	}
	for _, version := range []string{"v1", "v2", "v3", "v4"} {
		member, a := member, a
		if version < "v4" {
			member.Tags, member.Leaving, a.Replacing, a.Leaving = nil, nil, nil, nil
		}
		if version < "v3" { // they knew no standbys
			member.Standby, member.Standbys, member.Positions = false, nil, nil
			a.Standbys, a.WarmUps, a.AcceptableLag, a.Unneeded = nil, nil, 0, nil
		}
		b, err := os.ReadFile("testdata/subscription-" + version + ".bin")
		require.NoError(t, err)
		s, err := DecodeSubscription(b)
		require.NoError(t, err)
		assert.Equal(t, version != "v1", s.Changes)
		s.Changes = true
		assert.Equal(t, member, s, version)
		b, err = os.ReadFile("testdata/assignment-" + version + ".bin")
		require.NoError(t, err)
		got, err := DecodeAssignment(b, subs)
		require.NoError(t, err)
		assert.Equal(t, a, got, version)
	}
}

// Whatever a member owns and stores arrives as it was: also what its partitions do not imply, and what is missing of that.
func TestSubscription_AnyTasks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	subs := []Subtopology{
		{Topics: []string{"a"}}, {Topics: []string{"b", "c"}, Stores: []string{"s"}}, {Topics: []string{"c"}, Stores: []string{"t"}},
		{Patterns: []string{"log-.*"}, Stores: []string{"u"}},
	}
	some := func() (out []graph.TaskID) {
		for sub := range subs {
			for p := range int32(4) {
				if r.IntN(3) == 0 {
					out = append(out, graph.TaskID{Subtopology: sub, Partition: p})
				}
			}
		}
		return out
	}
	for range 500 {
		s := Subscription{Workers: 1, Subtopologies: subs, Generation: 1, Owned: some(), Stored: some(), Changes: true}
		for _, topic := range []string{"a", "b", "c", "log-1"} {
			for p := range int32(4) {
				if r.IntN(2) == 0 {
					s.Partitions = append(s.Partitions, kafka.TopicPartition{Topic: topic, Partition: p})
				}
			}
		}
		got, err := DecodeSubscription(s.Encode())
		require.NoError(t, err)
		require.Equal(t, s, got)
		a := Assignment{Tasks: some(), Partitions: s.Partitions}
		for _, understands := range []bool{true, false} {
			s.Changes = understands
			back, err := DecodeAssignment(a.Encode(s), subs)
			require.NoError(t, err)
			require.Equal(t, a, back)
		}
	}
}

// A short message may imply more tasks than there is memory for: of each of its partitions, one of each sub-topology. It is
// refused. A member that has so many says which ones.
func TestDecode_PartitionsThatImplyTooManyTasks(t *testing.T) {
	member := Subscription{Workers: 1, Generation: -1, Subtopologies: make([]Subtopology, 400), Changes: true}
	for i := range member.Subtopologies {
		member.Subtopologies[i].Topics = []string{"a"}
	}
	subs := member.Subtopologies
	var partitions []kafka.TopicPartition
	for p := range int32(1000) {
		partitions = append(partitions, kafka.TopicPartition{Topic: "a", Partition: p})
	}
	tasks := []graph.TaskID{{Subtopology: 3, Partition: 5}, {Subtopology: 399, Partition: 0}}
	some, all := partitions[:mostImplied/400], partitions

	m := kmsg.NewConsumerMemberMetadata()
	require.NoError(t, m.ReadFrom(member.Encode()))
	m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "a"}}
	for _, tp := range all {
		m.OwnedPartitions[0].Partitions = append(m.OwnedPartitions[0].Partitions, tp.Partition)
	}
	hostile := m.AppendTo(nil)
	assert.Less(t, len(hostile), 10_000)
	s, err := DecodeSubscription(hostile)
	assert.ErrorContains(t, err, "read by more than")
	assert.Equal(t, all, s.Partitions, "what it owns is assigned to nobody else")

	var a kmsg.ConsumerMemberAssignment
	require.NoError(t, a.ReadFrom(Assignment{}.Encode(member)))
	a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "a", Partitions: m.OwnedPartitions[0].Partitions}}
	_, err = DecodeAssignment(a.AppendTo(nil), subs)
	assert.ErrorContains(t, err, "read by more than")

	for name, partitions := range map[string][]kafka.TopicPartition{"as many as may be": some, "more": all} {
		s := member
		s.Owned, s.Stored, s.Partitions = tasks, tasks[:1], partitions
		got, err := DecodeSubscription(s.Encode())
		require.NoError(t, err, name)
		got.Changes = true
		assert.Equal(t, s, got, name)
		a := Assignment{Tasks: tasks, Partitions: partitions}
		back, err := DecodeAssignment(a.Encode(s), subs)
		require.NoError(t, err, name)
		assert.Equal(t, a, back, name)
	}
}

func TestMadeFor(t *testing.T) {
	subs := []Subtopology{{Topics: []string{"a", "b"}, Stores: []string{"s"}}, {Patterns: []string{"c.*"}}}
	member := Subscription{Subtopologies: subs, Changes: true}
	b := Assignment{Tasks: []graph.TaskID{{Subtopology: 0, Partition: 3}}}.Encode(member)
	assert.True(t, MadeFor(b, subs))
	for name, other := range map[string][]Subtopology{
		"the other order": {subs[1], subs[0]},
		"one fewer":       subs[:1],
		"another store":   {{Topics: []string{"a", "b"}, Stores: []string{"s2"}}, subs[1]},
		"none":            nil,
	} {
		assert.False(t, MadeFor(b, other), name)
	}
	for n := range len(b) {
		assert.False(t, MadeFor(b[:n], subs), "cut short after %d bytes", n)
	}
}
