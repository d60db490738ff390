package stream_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

// stamped reads the time of a record from a value like "7:text", and takes the partition's time
// where there is none.
func stamped(r rec, latest time.Time) (time.Time, bool) {
	ms, _, ok := strings.Cut(r.Value, ":")
	if !ok {
		return latest, !latest.IsZero()
	}
	d, err := time.ParseDuration(ms + "ms")
	return time.UnixMilli(d.Milliseconds()), err == nil
}

func TestTopic_TimestampFunction(t *testing.T) {
	var got []string
	collect := func(s strs) { stream.ForEach(s, func(r rec) { got = append(got, render(r)) }) }
	values := []string{"early", "7:a", "late", "3:b", "partition time", "-1:c"}
	dropped := map[string]int{graph.NoTime: 2}

	top := build(t, func(b *stream.Builder) { collect(stream.From(b, in.Timestamp(stamped))) })
	d := testdriver.New(t, top)
	for _, v := range values {
		testdriver.Input(d, in).Send("k", v)
	}
	assert.Equal(t, []string{"k=7:a@7", "k=late@7", "k=3:b@3", "k=partition time@7"}, got)
	assert.Equal(t, dropped, d.Dropped())

	got = nil
	p := stream.NewPattern("i.", serde.String, serde.String).Timestamp(stamped)
	d = testdriver.New(t, build(t, func(b *stream.Builder) { collect(stream.FromPattern(b, p)) }))
	for _, v := range values {
		testdriver.Input(d, p.Topic("in")).Send("k", v)
	}
	assert.Len(t, got, 4)
	assert.Equal(t, dropped, d.Dropped())
}

func TestTopic_RecordWithoutATimeNeedsAFunction(t *testing.T) {
	top := build(t, func(b *stream.Builder) { stream.ForEach(stream.From(b, in), func(rec) {}) })
	err := testdriver.Input(testdriver.New(t, top), in).SendErr(rec{Key: "k", Time: time.UnixMilli(-1)})
	require.ErrorContains(t, err, "its time is 1969-12-31T23:59:59.999Z")
}

func TestTopic_OnDecodeError(t *testing.T) {
	numbers := stream.NewTopic("numbers", serde.String, serde.Int64)
	pattern := stream.NewPattern("p.*", serde.String, serde.Int64).OnDecodeError(failure.DeadLetter("bad"))
	top := build(t, func(b *stream.Builder) {
		drain := func(stream.Record[string, int64]) {}
		stream.ForEach(stream.From(b, numbers.OnDecodeError(failure.Skip())), drain)
		stream.ForEach(stream.FromPattern(b, pattern), drain)
	})
	d := testdriver.New(t, top)
	testdriver.Input(d, numbers).SendBytes(nil, []byte("x"))
	testdriver.Input(d, pattern.Topic("p1")).SendBytes([]byte("k"), []byte("y"))
	assert.Equal(t, map[string]int{graph.DecodeSkipped: 2}, d.Dropped())
	require.Len(t, d.Raw("bad"), 1)
	assert.Equal(t, "y", string(d.Raw("bad")[0].Value))
}

func TestTopic_StartAt(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		stream.From(b, text("a").StartAt(stream.Since(time.Minute)))
		stream.From(b, text("b").StartAt(stream.None))
		stream.FromPattern(b, stream.NewPattern("p.*", serde.String, serde.String).StartAt(stream.Latest))
		stream.From(b, text("d"))
	})
	var got []graph.StartAt
	for _, n := range (*graph.Handle)(top).Graph().Nodes {
		got = append(got, n.Source.Offset)
	}
	assert.Equal(t, []graph.StartAt{{Kind: graph.StartSince, Since: 60_000}, {Kind: graph.StartNone}, {Kind: graph.StartLatest}, {}}, got)
}

func TestTopic_Partitioner(t *testing.T) {
	to := text("out").Partitioner(func(r rec, n int) int { return len(r.Value) })
	top := build(t, func(b *stream.Builder) {
		stream.To(stream.From(b, in), to).OnError(failure.Skip()).Named("sink")
	})
	d := testdriver.New(t, top, testdriver.TopicPartitions("out", 2))
	for _, v := range []string{"", "1", "22"} {
		testdriver.Input(d, in).Send("k", v)
	}
	raw := d.Raw("out")
	require.Len(t, raw, 2)
	assert.Equal(t, []int32{0, 1}, []int32{raw[0].Partition, raw[1].Partition})
	require.Len(t, d.Failures(), 1)
	require.ErrorContains(t, d.Failures()[0].Err, `the partitioner chose partition 2 of topic "out", which has 2`)
}

// versioned is a serde that has to be bound to a topic, as those of schema registries.
type versioned struct{ topic string }

func (v versioned) Append(dst []byte, s string) ([]byte, error) {
	return append(append(dst, v.topic+"/"...), s...), nil
}

func (v versioned) Decode(b []byte) (string, error) {
	s, ok := strings.CutPrefix(string(b), v.topic+"/")
	if !ok {
		return "", errors.New("made for another topic")
	}
	return s, nil
}

func (v versioned) Bind(topic string, key bool) (serde.Serde[string], error) {
	if topic == "unknown" {
		return nil, errors.New("no schema")
	}
	return versioned{topic}, nil
}

func TestSerdes_AreBoundToTheirTopic(t *testing.T) {
	bound := func(name string) stream.Topic[string, string] {
		return stream.NewTopic(name, serde.String, versioned{})
	}
	top := build(t, func(b *stream.Builder) {
		s := stream.From(b, bound("a"), bound("b"))
		stream.To(stream.Repartition(s, "rp"), bound("out"))
		stream.ToFunc(s, bound(""), func(r rec) string { return r.Value }).OnError(failure.Skip())
	})
	d := testdriver.New(t, top)
	testdriver.Input(d, text("a")).Send("k", "a/x")
	testdriver.Input(d, text("b")).Send("k", "b/y")
	testdriver.Input(d, text("b")).Send("k", "b/unknown")
	assert.Equal(t, "out/x", string(d.Raw("out")[0].Value))
	assert.Equal(t, "testdriver-rp-repartition/x", string(d.Raw("testdriver-rp-repartition")[0].Value))
	assert.Equal(t, "y/y", string(d.Raw("y")[0].Value))
	require.Len(t, d.Failures(), 1)
	require.ErrorContains(t, d.Failures()[0].Err, "no schema")
}

func TestSerdes_AreFoundByType(t *testing.T) {
	type odd struct{ X int }
	r := &serde.Registry{}
	serde.Register(r, serde.JSON[odd]())
	b := stream.NewBuilder(stream.Serdes(r))
	s := stream.MapValues(stream.From(b, in), func(v string) odd { return odd{len(v)} })
	stream.ForEach(stream.Repartition(s, "rp"), func(stream.Record[string, odd]) {})
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	testdriver.Input(d, in).Send("k", "four")
	assert.JSONEq(t, `{"X":4}`, string(d.Raw("testdriver-rp-repartition")[0].Value))
}

func TestFromPattern_ReadTwiceHasOneSource(t *testing.T) {
	p := stream.NewPattern("p.*", serde.String, serde.String)
	top := build(t, func(b *stream.Builder) {
		stream.ForEach(stream.FromPattern(b, p), func(rec) {})
		stream.ForEach(stream.FromPattern(b, p), func(rec) {})
	})
	assert.Len(t, (*graph.Handle)(top).Graph().Nodes, 3)

	b := stream.NewBuilder()
	stream.FromPattern(b, p)
	stream.FromPattern(b, p.StartAt(stream.Latest))
	_, err := b.Build()
	require.ErrorContains(t, err, `pattern "p.*" is read at`)
}

func TestTopic_Name(t *testing.T) { assert.Equal(t, "in", in.Name()) }
