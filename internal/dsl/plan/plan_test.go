package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

type (
	strs = stream.KStream[string, string]
	rec  = stream.Record[string, string]
)

func text(name string) stream.Topic[string, string] {
	return stream.NewTopic(name, serde.String, serde.String)
}

func build(t *testing.T, program func(b *stream.Builder)) *graph.Graph {
	t.Helper()
	b := stream.NewBuilder()
	program(b)
	top, err := b.Build()
	require.NoError(t, err)
	return (*graph.Handle)(top).Graph()
}

func buildError(t *testing.T, program func(b *stream.Builder)) string {
	t.Helper()
	b := stream.NewBuilder()
	program(b)
	_, err := b.Build()
	require.Error(t, err)
	return err.Error()
}

func value(_, v string) string { return v }

// subs lists the names of the nodes of each sub-topology.
func subs(g *graph.Graph) []string {
	var out []string
	for i, s := range g.Subtopologies {
		var names []string
		for _, n := range s.Nodes {
			if n.Subtopology != i || s.ID != i {
				names = append(names, "wrong id:")
			}
			names = append(names, n.Name)
		}
		out = append(out, strings.Join(names, " "))
	}
	return out
}

func TestSubtopologies_EndAtTopics(t *testing.T) {
	g := build(t, func(b *stream.Builder) {
		a, c := stream.From(b, text("a")), stream.From(b, text("c"))
		n := table.Count(stream.GroupBy(a, value), "n")
		stream.To(stream.Filter(c, func(string, string) bool { return true }), text("out"))
		stream.To(table.ToStream(n), stream.NewTopic("counts", serde.String, serde.Int64))
	})
	assert.Equal(t, []string{
		"source-1 group-1 n-repartition-filter n-repartition-sink",
		"source-2 filter-1 sink-1",
		"n-repartition-source n to-stream-1 sink-2",
	}, subs(g))
	require.Len(t, g.Subtopologies[2].Stores, 1)
	assert.Equal(t, 2, g.Stores[0].Subtopology)
	assert.Equal(t, []*graph.Node{g.Nodes[0]}, g.Subtopologies[0].Sources())
}

func TestSubtopologies_JoinedBySharedStores(t *testing.T) {
	seen := store.NewKeyValue("seen", serde.String, serde.String)
	start := func(*stream.Context[string, string]) (func(rec) error, error) {
		return func(rec) error { return nil }, nil
	}
	g := build(t, func(b *stream.Builder) {
		stream.Process(stream.From(b, text("a")), "pa", start, seen)
		stream.ForEach(stream.From(b, text("c")), func(rec) {})
		stream.Process(stream.From(b, text("d")), "pd", start, seen)
	})
	assert.Equal(t, []string{"source-1 pa source-3 pd", "source-2 for-each-1"}, subs(g))
}

func TestCoPartitioning_TopicsThatMustAgree(t *testing.T) {
	same := func(s, _ string) string { return s }
	for _, c := range []struct {
		name    string
		program func(b *stream.Builder)
		want    [][]string
	}{
		{"a join's two sides", func(b *stream.Builder) {
			join.StreamTable(stream.From(b, text("s")), table.From(b, text("t"), "t"), "j", same)
		}, [][]string{{"s", "t"}}},
		{"a join's repartition topic and the table's", func(b *stream.Builder) {
			s := stream.SelectKey(stream.From(b, text("s")), value)
			join.StreamTable(s, table.From(b, text("t"), "t"), "j", same)
		}, [][]string{{"j-repartition", "t"}}},
		{"topics that are aggregated together", func(b *stream.Builder) {
			all := stream.Merge(stream.From(b, text("x"), text("y")), stream.From(b, text("z")))
			table.Count(stream.GroupByKey(all), "n")
		}, [][]string{{"x", "y", "z"}}},
		{"nothing where one topic is read", func(b *stream.Builder) {
			s := stream.From(b, text("x"))
			table.Count(stream.GroupByKey(stream.Merge(s, s)), "n")
		}, nil},
		{"nothing where keys change", func(b *stream.Builder) {
			table.Count(stream.GroupBy(stream.From(b, text("x"), text("y")), value), "n")
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, build(t, c.program).CoPartitioned) })
	}
}

func TestNames_GeneratedAvoidUserNames(t *testing.T) {
	all := func(string, string) bool { return true }
	g := build(t, func(b *stream.Builder) {
		s := stream.Filter(stream.From(b, text("in")), all)
		s = stream.Filter(s, all)
		stream.Filter(stream.Filter(s, all).Named("filter-1"), all).Named("filter-2")
	})
	var names []string
	for _, n := range g.Nodes {
		names = append(names, n.Name)
	}
	assert.Equal(t, []string{"source-1", "filter-3", "filter-4", "filter-1", "filter-2"}, names)
}

func TestGrouping_SeveralUsersShareOneTopic(t *testing.T) {
	counts := func(name string) func(b *stream.Builder) {
		return func(b *stream.Builder) {
			g := stream.GroupBy(stream.From(b, text("in")), value)
			if name != "" {
				g = g.Named(name)
			}
			table.Count(g, "one")
			table.Count(g, "two")
		}
	}
	assert.Contains(t, buildError(t, counts("")), "they share one repartition topic; give the grouping a name with Named")
	g := build(t, counts("by-value"))
	require.Len(t, g.Topics, 1)
	assert.Equal(t, "by-value-repartition", g.Topics[0].Name)
	assert.Len(t, g.Subtopologies, 2)
}

func TestGrouping_OneUserNamesTheTopic(t *testing.T) {
	g := build(t, func(b *stream.Builder) { table.Count(stream.GroupBy(stream.From(b, text("in")), value), "one") })
	require.Len(t, g.Topics, 1)
	assert.Equal(t, "one-repartition", g.Topics[0].Name)
}

func TestNames_TopicsDoNotDependOnPosition(t *testing.T) {
	topics := func(extra bool) (names []string) {
		g := build(t, func(b *stream.Builder) {
			s := stream.From(b, text("in"))
			if extra {
				s = stream.Peek(stream.SelectKey(s, value), func(rec) {})
			}
			table.Count(stream.GroupBy(s, value), "n")
		})
		for _, x := range g.Topics {
			names = append(names, x.Name)
		}
		return names
	}
	assert.Equal(t, topics(false), topics(true))
}

func TestKeyChanged_StaysUntilARepartition(t *testing.T) {
	for name, c := range map[string]struct {
		f    func(s strs) strs
		want int
	}{
		"none":                {func(s strs) strs { return stream.MapValues(s, strings.ToUpper) }, 0},
		"a changed key":       {func(s strs) strs { return stream.MapValues(stream.MapKeys(s, strings.ToUpper), strings.ToUpper) }, 1},
		"one side of a merge": {func(s strs) strs { return stream.Merge(s, stream.SelectKey(s, value)) }, 1},
		"behind a repartition": {func(s strs) strs {
			return stream.Peek(stream.Repartition(stream.SelectKey(s, value), "rp"), func(rec) {})
		}, 1},
		"behind an assumption": {func(s strs) strs { return stream.AssumePartitioned(stream.SelectKey(s, value)) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := build(t, func(b *stream.Builder) { table.Count(stream.GroupByKey(c.f(stream.From(b, text("in")))), "n") })
			assert.Len(t, g.Topics, c.want)
		})
	}
}

func TestBuildErrors_BetweenSteps(t *testing.T) {
	for _, c := range []struct {
		name, want string
		program    func(b *stream.Builder)
	}{
		{"a topic as stream and table", `topic "in" is read as a stream and as a table, at `, func(b *stream.Builder) {
			stream.From(b, text("in"))
			table.From(b, text("in"), "t")
		}},
		{"a topic as two tables", `topic "in" is read as a table at `, func(b *stream.Builder) {
			table.From(b, text("in"), "t")
			table.From(b, text("in"), "u")
		}},
		{"a store's name twice", `"n" `, func(b *stream.Builder) {
			s := stream.GroupByKey(stream.From(b, text("in")))
			table.Count(s, "n")
			table.Count(s, "n")
		}},
		{"a repartition topic's name twice", `repartition topic "n-repartition" is already made at `, func(b *stream.Builder) {
			s := stream.From(b, text("in"))
			stream.Repartition(s, "n")
			table.Count(stream.GroupBy(s, value), "n")
		}},
		{"a zero grouping", "zero handle", func(b *stream.Builder) {
			stream.From(b, text("in"))
			table.Count(stream.Grouped[string, string]{}, "n")
		}},
		{"no serde for a key", "stream.GroupBy: no serde for its keys", func(b *stream.Builder) {
			table.Count(stream.GroupBy(stream.From(b, text("in")), func(_, v string) struct{ X string } { return struct{ X string }{v} }), "n")
		}},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Contains(t, buildError(t, c.program), c.want) })
	}
}

func TestBuild_ManyPathsAreFast(t *testing.T) {
	build(t, func(b *stream.Builder) {
		s := stream.From(b, text("in"))
		for range 60 { // 2^60 paths from the source
			s = stream.Merge(s, stream.Peek(s, func(rec) {}))
		}
		table.Count(stream.GroupByKey(s), "n")
	})
}

func TestBuild_TwiceMakesEqualGraphs(t *testing.T) {
	b := stream.NewBuilder()
	table.Count(stream.GroupBy(stream.From(b, text("in")), value), "n")
	one, err := b.Build()
	require.NoError(t, err)
	two, err := b.Build()
	require.NoError(t, err)
	assert.Equal(t, one.String(), two.String())
	assert.NotSame(t, (*graph.Handle)(one).Graph().Nodes[0], (*graph.Handle)(two).Graph().Nodes[0])
}

func TestNames_Check(t *testing.T) {
	for _, ok := range []string{"a", "A.b_c-1", strings.Repeat("x", 249)} {
		require.NoError(t, plan.CheckName(ok))
	}
	for _, bad := range []string{"", ".", "..", "a b", "ä", "a/b", strings.Repeat("x", 250)} {
		require.Error(t, plan.CheckName(bad), fmt.Sprintf("%q", bad))
	}
}

// What the offsets remember has to fit what brokers keep with an offset.
func TestBuildErrors_ProgramTooLargeForOffsets(t *testing.T) {
	many := func(n int) error {
		b := stream.NewBuilder()
		s := stream.GroupByKey(stream.From(b, stream.NewTopic("in", serde.String, serde.String)))
		for i := range n {
			table.Count(s, fmt.Sprint("counts-", i))
		}
		_, err := b.Build()
		return err
	}
	require.NoError(t, many(300))
	require.ErrorContains(t, many(400), "400 stores")
}
