package plan_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

func merged(t *testing.T, program func(b *stream.Builder)) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder(stream.MergeRepartitions())
	program(b)
	top, err := b.Build()
	require.NoError(t, err)
	checkEdges(t, (*graph.Handle)(top).Graph())
	return top
}

// checkEdges sees to it that parents know their children, children their parents, and that parents
// come first.
func checkEdges(t *testing.T, g *graph.Graph) {
	t.Helper()
	seen := map[*graph.Node]bool{}
	for _, n := range g.Nodes {
		for _, p := range n.Parents {
			assert.True(t, seen[p], "%s comes before its parent %s", n.Name, p.Name)
			found := false
			for _, port := range p.Ports {
				for _, c := range port.Children {
					found = found || c == n
				}
			}
			assert.True(t, found, "%s does not know its child %s", p.Name, n.Name)
		}
		seen[n] = true
	}
	for _, n := range g.Nodes {
		for _, port := range n.Ports {
			for _, c := range port.Children {
				assert.Contains(t, c.Parents, n, "%s does not know its parent %s", c.Name, n.Name)
				assert.True(t, seen[c], "%s is gone, but %s leads to it", c.Name, n.Name)
			}
		}
	}
}

func topics(g *graph.Graph) (out []string) {
	for _, t := range g.Topics {
		out = append(out, t.Name)
	}
	return out
}

var counted = stream.NewTopic("counts", serde.String, serde.Int64)

func all(string, string) bool { return true }

func TestMergeRepartitions(t *testing.T) {
	for _, c := range []struct {
		name    string
		program func(b *stream.Builder)
		topics  []string
		subs    []string
	}{
		{"two groupings of one change", func(b *stream.Builder) {
			s := stream.SelectKey(stream.From(b, text("in")), value)
			table.Count(stream.GroupByKey(s), "n")
			table.Count(stream.GroupByKey(s), "m")
		}, []string{"n-repartition"}, []string{
			"source-1 select-key-1 n-repartition-filter n-repartition-sink", "n-repartition-source n m",
		}},
		{"filters and branches between come behind the topic", func(b *stream.Builder) {
			s := stream.SelectKey(stream.From(b, text("in")), value)
			big, small := stream.Branch(stream.Filter(s, all), func(rec) bool { return true })
			table.Count(stream.GroupByKey(stream.Peek(big, func(rec) {})), "n")
			table.Count(stream.GroupByKey(small), "m")
			stream.To(s, text("out"))
		}, []string{"n-repartition"}, []string{
			"source-1 select-key-1 n-repartition-sink sink-1",
			"n-repartition-source filter-1 branch-1 peek-1 n-repartition-filter n m-repartition-filter m",
		}},
		{"a join and a table", func(b *stream.Builder) {
			s := stream.SelectKey(stream.From(b, text("in")), value)
			t := table.ToTable(s, "t")
			join.StreamTable(s, t, "j", func(s, _ string) string { return s })
		}, []string{"t-repartition"}, []string{
			"source-1 select-key-1 t-repartition-filter t-repartition-sink", "t-repartition-source t j",
		}},
		{"one use stays as it is", func(b *stream.Builder) {
			s := stream.Filter(stream.SelectKey(stream.From(b, text("in")), value), all)
			table.Count(stream.GroupByKey(s), "n")
		}, []string{"n-repartition"}, []string{
			"source-1 select-key-1 filter-1 n-repartition-filter n-repartition-sink", "n-repartition-source n",
		}},
		{"other values between keep their topic", func(b *stream.Builder) {
			s := stream.SelectKey(stream.From(b, text("in")), value)
			table.Count(stream.GroupByKey(s), "n")
			table.Count(stream.GroupByKey(stream.MapValues(s, func(v string) string { return v })), "m")
		}, []string{"n-repartition", "m-repartition"}, []string{
			"source-1 select-key-1 n-repartition-filter n-repartition-sink map-values-1 m-repartition-filter m-repartition-sink",
			"n-repartition-source n", "m-repartition-source m",
		}},
		{"behind a merge of streams", func(b *stream.Builder) {
			s := stream.Merge(stream.From(b, text("a")), stream.SelectKey(stream.From(b, text("c")), value))
			table.Count(stream.GroupByKey(s), "n")
			table.Count(stream.GroupByKey(s), "m")
		}, []string{"n-repartition"}, []string{
			"source-1 source-2 select-key-1 merge-1 n-repartition-filter n-repartition-sink", "n-repartition-source n m",
		}},
		{"a step with state between does not move", func(b *stream.Builder) {
			s := stream.Filter(stream.SelectKey(stream.From(b, text("in")), value), all)
			seen := store.NewKeyValue("seen", serde.String, serde.String)
			stream.Process(s, "p", func(*stream.Context[string, string]) (func(rec) error, error) {
				return func(rec) error { return nil }, nil
			}, seen)
			table.Count(stream.GroupByKey(s), "n")
			table.Count(stream.GroupByKey(s), "m")
		}, []string{"n-repartition", "m-repartition"}, []string{
			"source-1 select-key-1 filter-1 p n-repartition-filter n-repartition-sink m-repartition-filter m-repartition-sink",
			"n-repartition-source n", "m-repartition-source m",
		}},
		{"a change within a grouping, used twice", func(b *stream.Builder) {
			in := stream.From(b, text("in"))
			g := stream.GroupBy(in, value).Named("g")
			table.Count(g, "n")
			table.Count(g, "m")
			table.Count(stream.GroupBy(in, value), "o")
		}, []string{"g-repartition", "o-repartition"}, []string{
			"source-1 g g-repartition-filter g-repartition-sink group-1 o-repartition-filter o-repartition-sink",
			"g-repartition-source n m", "o-repartition-source o",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := (*graph.Handle)(merged(t, c.program)).Graph()
			assert.Equal(t, c.topics, topics(g))
			assert.Equal(t, c.subs, subs(g))
			unmerged := build(t, c.program)
			checkEdges(t, unmerged)
			assert.Subset(t, topics(unmerged), topics(g), "the names that uses have alone")
		})
	}
}

func TestMergeRepartitions_MustAgreeWithJoinedTopics(t *testing.T) {
	top := merged(t, func(b *stream.Builder) {
		s := stream.SelectKey(stream.From(b, text("in")), value)
		table.Count(stream.GroupByKey(s), "n")
		join.StreamTable(s, table.From(b, text("t"), "t"), "j", func(s, _ string) string { return s })
	})
	g := (*graph.Handle)(top).Graph()
	assert.Equal(t, [][]string{{"n-repartition", "t"}}, g.CoPartitioned)
}

// A left join wants records without a key and a count does not; a sink behind the same filter wants
// them, too.
func TestMergeRepartitions_SameRecordsForEachUser(t *testing.T) {
	program := func(b *stream.Builder) {
		s := stream.MapRecords(stream.From(b, text("in")), func(r rec) rec {
			if r.Value == "none" {
				return r.Keyless()
			}
			return stream.WithKey(r, r.Value)
		})
		f := stream.Filter(s, all)
		stream.To(f, text("filtered"))
		stream.To(table.ToStream(table.Count(stream.GroupByKey(f), "n")), counted)
		stream.To(table.ToStream(table.Count(stream.GroupByKey(s), "m")), counted)
		stream.To(join.StreamTableLeft(s, table.From(b, text("t"), "t"), "j", func(v, t string, ok bool) string { return v + t }), text("joined"))
	}
	b := stream.NewBuilder()
	program(b)
	apart, err := b.Build()
	require.NoError(t, err)
	want, got := outcome(t, apart), outcome(t, merged(t, program))
	assert.Equal(t, want, got)
	assert.Contains(t, want, "filtered: - none")
	assert.Contains(t, want, "joined: - none")
}

// outcome runs a topology and returns what it writes and drops.
func outcome(t *testing.T, top *topology.Topology) (out []string) {
	t.Helper()
	d := testdriver.New(t, top, testdriver.Partitions(3))
	testdriver.Input(d, text("t")).Send("x", "!")
	in := testdriver.Input(d, text("in"))
	for _, v := range []string{"x", "none", "y", "x", "none"} {
		in.Send("k", v)
	}
	for _, name := range []string{"filtered", "joined"} {
		for _, r := range testdriver.Output(d, text(name)).Read() {
			key := r.Key
			if r.NoKey {
				key = "-"
			}
			out = append(out, name+": "+key+" "+r.Value)
		}
	}
	for _, r := range testdriver.Output(d, counted).Read() {
		out = append(out, "counts: "+r.Key+" "+string(rune('0'+r.Value)))
	}
	for reason, n := range d.Dropped() {
		out = append(out, reason+": "+string(rune('0'+n)))
	}
	slices.Sort(out)
	return out
}
