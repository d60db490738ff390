package testdriver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

func TestIn_Advancing(t *testing.T) {
	topic := stream.NewTopic("in", serde.String, serde.String)
	b := stream.NewBuilder()
	type seen struct {
		value string
		at    time.Duration
	}
	var got []seen
	start := time.UnixMilli(1_600_000_000_000)
	stream.ForEach(stream.From(b, topic), func(r stream.Record[string, string]) { got = append(got, seen{r.Value, r.Time.Sub(start)}) })
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.StartAt(start))
	take := func() []seen {
		defer func() { got = nil }()
		return got
	}

	in := testdriver.Input(d, topic)
	in.SendValues("a", "b")
	assert.Equal(t, []seen{{"a", 0}, {"b", 0}}, take(), "without Advancing times stand still")

	in = in.Advancing(time.Second)
	in.SendValues("a", "b")
	in.Partition(0).Header("h", nil).Send("k", "c")
	in.SendRecords(stream.Record[string, string]{Value: "own", Time: start.Add(time.Hour)}, stream.Record[string, string]{Key: "k", Value: "d"})
	in.AdvanceTime(time.Minute)
	in.SendBytes(nil, []byte("e"))
	assert.Equal(t, []seen{{"a", 0}, {"b", time.Second}, {"c", 2 * time.Second}, {"own", time.Hour}, {"d", 3 * time.Second}, {"e", 64 * time.Second}}, take())

	d.Advance(time.Hour)
	in.SendValue("f")
	at := in.At(start.Add(5 * time.Second))
	at.SendValues("g", "h")
	in.SendValue("i")
	assert.Equal(t, []seen{{"f", 65 * time.Second}, {"g", 5 * time.Second}, {"h", 6 * time.Second}, {"i", 66 * time.Second}}, take(), "At begins a time of its own")
	testdriver.Input(d, topic).At(start).Advancing(-time.Second).SendValues("j", "k")
	assert.Equal(t, []seen{{"j", 0}, {"k", -time.Second}}, take(), "backward, for records out of order")
}

func TestLists_Mistakes(t *testing.T) {
	failed := &recorder{}
	d := testdriver.New(failed, build(t, upper))
	failed.run(func() { testdriver.Input(d, in).At(ms(5)).AdvanceTime(time.Second) })
	testdriver.Input(d, in).Delete("k")
	failed.run(func() { testdriver.Output(d, out).ReadValues() })
	require.Len(t, failed.said, 2)
	assert.Contains(t, failed.said[0], "an In that Advancing returned; use At")
	assert.Contains(t, failed.said[1], `offset 0 of topic "out"[0] is a tombstone and has no value`)
	d.Close()
}

func TestOut_ListsAndTables(t *testing.T) {
	rows := stream.NewTopic("rows", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.ForEach(stream.From(b, rows), func(stream.Record[string, int64]) {})
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.Partitions(2))
	in, o := testdriver.Input(d, rows), testdriver.Output(d, rows)
	assert.True(t, o.IsEmpty(), "a topic that nobody has written to")
	assert.Nil(t, o.ReadValues())
	in.Partition(0).Send("a", 1)
	in.Partition(1).Send("b", 2)
	in.Partition(0).Send("a", 3)
	assert.Equal(t, 3, o.Len())
	assert.Equal(t, 2, o.Partition(0).Len())
	assert.Equal(t, []int64{2}, o.Partition(1).ReadValues())
	assert.True(t, o.Partition(1).IsEmpty())
	assert.False(t, o.IsEmpty())
	assert.Equal(t, map[string]int64{"a": 3}, testdriver.ReadTable(o))
	assert.Empty(t, testdriver.ReadTable(o))
	in.Delete("a")
	in.Send("c", 4)
	assert.Equal(t, map[string]int64{"c": 4}, testdriver.ReadTable(o), "what has changed since, deleted rows left out")
	assert.Equal(t, map[string]int64{"b": 2, "c": 4}, testdriver.Table(o), "the table")
	assert.True(t, o.IsEmpty())
}

func TestDriver_Stores(t *testing.T) {
	lines := stream.NewTopic("lines", serde.String, serde.String)
	b := stream.NewBuilder()
	global := table.Global(b, stream.NewTopic("names", serde.String, serde.String), "names")
	s := stream.From(b, lines)
	counts := table.Count(stream.GroupByKey(s), "counts")
	mine := store.NewKeyValue("a-store", serde.String, serde.Int64)
	closed := false
	stream.Process(s, "step", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		c.OnClose(func() error { closed = true; return nil })
		return func(stream.Record[string, string]) error { return nil }, nil
	}, mine)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	assert.Equal(t, []string{"a-store", "counts", "names"}, d.Stores())
	_, _ = global, counts
	for _, name := range d.Stores() {
		h, err := d.OpenStore(name)
		require.NoError(t, err)
		assert.NotNil(t, h.Bytes, name)
	}
	assert.False(t, closed)
	d.Close()
	assert.True(t, closed, "Close ends the program")
	d.Close()
	assert.ErrorContains(t, testdriver.Input(d, lines).SendBytesErr(nil, nil), "after the end of the test")
}
