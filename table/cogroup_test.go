package table_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

var counted = stream.NewTopic("counted", serde.String, serde.Int64)

// both adds texts as they are, and numbers as a dot for each.
func both(b *stream.Builder) table.Cogrouped[string, string] {
	return table.Cogroup(
		table.Add(byKey(b), func(_, v, agg string) string { return agg + v }),
		table.Add(stream.GroupByKey(stream.From(b, counted)), func(_ string, n int64, agg string) string { return agg + "........."[:n] }))
}

func sendNumber(d *testdriver.Driver, k string, n, at int64) {
	testdriver.Input(d, counted).At(time.UnixMilli(at)).Send(k, n)
}

func TestCogroup_FoldsAllItsStreams(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		c := table.AggregateCogroup(both(b), "all", table.Zero)
		stream.To(table.ToStream(c.DeleteWhen(func(_, v string) bool { return len(v) > 4 })), results)
	})
	send(d, texts, "a=x@5", "b=y@1")
	sendNumber(d, "a", 2, 3)
	send(d, texts, "a@9", "=z@9")
	d.Restart()
	sendNumber(d, "a", 2, 7)
	sendNumber(d, "a", 1, 8)
	assert.Equal(t, "a=x@5 b=y@1 a=x..@5 a@7 a=.@8", taken(d, results))
	assert.Equal(t, map[string]int{"record without key": 1, "record without value": 1}, d.Dropped())
}

func TestCogroup_OldValues(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		c := table.AggregateCogroup(both(b), "all", table.Zero)
		stream.To(table.ToStream(table.Filter(c, func(_, v string) bool { return len(v) != 2 })), results)
	})
	send(d, texts, "a=x@1")
	sendNumber(d, "a", 1, 2)
	sendNumber(d, "a", 1, 3)
	assert.Equal(t, "a=x@1 a@2 a=x..@3", taken(d, results))
}

func TestCogroupWindows_EachStreamHasItsOwnStreamTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder) windowedText
		want string
	}{
		{"tumbling", func(b *stream.Builder) windowedText {
			return table.AggregateCogroupWindows(both(b), tumbling(0), "all", table.Zero, store.Retention(time.Hour))
		}, "a[0,10]=x@1 a[30,40]=y@30 a[0,10]=x.@2"},
		{"sliding", func(b *stream.Builder) windowedText {
			return table.AggregateCogroupWindows(both(b), window.Sliding(ms(10)), "all", table.Zero, store.Retention(time.Hour))
		}, "a[0,10]=x@1 a[20,30]=y@30 a[2,12]=.@2 a[0,10]=x.@2"},
		{"sessions", func(b *stream.Builder) windowedText {
			return table.AggregateCogroupSessions(both(b), window.Sessions(ms(5)), "all", table.Zero, func(_, x, y string) string { return x + y }, store.Retention(time.Hour))
		}, "a[1,1]=x@1 a[30,30]=y@30 a[1,1]@1 a[1,2]=x.@2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) { shown(tt.f(b)) })
			send(d, texts, "a=x@1", "a=y@30")
			d.Restart()
			sendNumber(d, "a", 1, 2) // late for texts, not for numbers
			send(d, texts, "a=z@2")
			assert.Equal(t, tt.want, taken(d, results))
			assert.Equal(t, map[string]int{tooLate: 1}, d.Dropped())
		})
	}
}

// TestCogroupWindows_StreamFarBehindFindsItsWindowsExpired: the store keeps them as long as the
// newest of all streams needs.
func TestCogroupWindows_StreamFarBehindFindsItsWindowsExpired(t *testing.T) {
	for name, w := range map[string]func(table.Cogrouped[string, string]) windowedText{
		"tumbling": func(c table.Cogrouped[string, string]) windowedText {
			return table.AggregateCogroupWindows(c, tumbling(0), "all", table.Zero)
		},
		"sessions": func(c table.Cogrouped[string, string]) windowedText {
			return table.AggregateCogroupSessions(c, window.Sessions(ms(5)), "all", table.Zero, func(_, x, y string) string { return x + y })
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) { shown(w(both(b))) })
			send(d, texts, "a=y@30000")
			taken(d, results)
			sendNumber(d, "a", 1, 2)
			assert.Empty(t, taken(d, results))
			assert.Equal(t, map[string]int{tooLate: 1}, d.Dropped())
		})
	}
}

func TestCogroup_StreamsAreRepartitionedOneByOne(t *testing.T) {
	b := stream.NewBuilder()
	byValue := stream.GroupBy(stream.From(b, texts), func(_, v string) string { return v })
	c := table.Cogroup(
		table.Add(byValue, func(_, v, agg string) string { return agg + v }),
		table.Add(stream.GroupByKey(stream.From(b, counted)), func(_ string, _ int64, agg string) string { return agg + "." }),
		table.Add(stream.GroupBy(stream.From(b, questions), func(_, v string) string { return v }).Named("asked"), func(_, v, agg string) string { return agg + "?" }))
	stream.To(table.ToStream(table.AggregateCogroup(c, "all", table.Zero)), results)
	top, err := b.Build()
	require.NoError(t, err)
	assert.Equal(t, [][]string{{"all-repartition", "asked-repartition", "counted"}}, (*graph.Handle)(top).Graph().CoPartitioned[len((*graph.Handle)(top).Graph().CoPartitioned)-1:])
	d := testdriver.New(t, top, testdriver.Partitions(3))
	send(d, texts, "a=x@5", "b=y@1")
	sendNumber(d, "x", 2, 3)
	send(d, questions, "c=x@4")
	assert.Equal(t, "x=x@5 y=y@1 x=x.@5 x=x.?@5", taken(d, results))
	assert.Subset(t, d.Topics(), []string{"testdriver-all-repartition", "testdriver-asked-repartition"})
}

func TestCogroup_Mistakes(t *testing.T) {
	keep := func(_, _, agg string) string { return agg }
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"nothing to add", func(b *stream.Builder) {
			table.From(b, texts, "t")
			table.AggregateCogroup(table.Cogroup[string, string](), "all", table.Zero)
		}, "zero handle"},
		{"a zero part", func(b *stream.Builder) {
			table.AggregateCogroup(table.Cogroup(table.Add(byKey(b), keep), table.Cogrouped[string, string]{}), "all", table.Zero)
		}, "zero handle"},
		{"a zero grouping", func(b *stream.Builder) {
			table.From(b, texts, "t")
			table.Add(groupedAs{}, keep)
		}, "zero handle"},
		{"no function", func(b *stream.Builder) { table.Add[string, string, string](byKey(b), nil) }, "its function is nil"},
		{"no zero", func(b *stream.Builder) { table.AggregateCogroup(table.Add(byKey(b), keep), "all", nil) }, "its function is nil"},
		{"emission on close", func(b *stream.Builder) {
			table.AggregateCogroupWindows(both(b), tumbling(0).OnClose(), "all", table.Zero)
		}, "do not agree on when a window is closed; use table.SuppressUntilClose"},
		{"two streams with new keys and no names", func(b *stream.Builder) {
			first := func(b *stream.Builder, in stream.Topic[string, string]) table.Cogrouped[string, string] {
				return table.Add(stream.GroupBy(stream.From(b, in), func(_, v string) string { return v }), keep)
			}
			table.AggregateCogroup(table.Cogroup(first(b, texts), first(b, questions)), "all", table.Zero)
		}, "both go through a repartition topic; give their groupings names with Named"},
		{"streams of two builders", func(b *stream.Builder) {
			table.AggregateCogroup(table.Cogroup(table.Add(byKey(b), keep), table.Add(byKey(stream.NewBuilder()), keep)), "all", table.Zero)
		}, "another builder"},
		{"an impossible window", func(b *stream.Builder) {
			table.AggregateCogroupSessions(both(b), window.Sessions(0), "all", table.Zero, func(_, x, y string) string { return x + y })
		}, "the gap of its sessions is 0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "cogroup_test.go:")
		})
	}
}
