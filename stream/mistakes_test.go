package stream_test

import (
	"context"
	"fmt"
	"iter"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

// line returns the line of its caller's caller's call.
func line(skip int) int {
	_, _, n, _ := runtime.Caller(skip + 1)
	return n
}

func yes(_, _ string) bool { return true }

func TestBuild_Mistakes(t *testing.T) {
	refuse := func(*context1) (each, error) { return nil, nil }
	for _, c := range []struct {
		name    string
		program func(b *stream.Builder, s strs)
		want    []string // one for each mistake, in order
	}{
		{"no name for a topic", func(b *stream.Builder, _ strs) { stream.From(b, text("")) }, []string{"topic: its name is empty"}},
		{"a topic's name that Kafka refuses", func(_ *stream.Builder, s strs) { stream.To(s, text("a b")) }, []string{`name "a b" has ' ' in it`}},
		{"no serdes", func(b *stream.Builder, s strs) {
			stream.From(b, stream.NewTopic[string, string]("x", nil, nil))
			stream.To(s, stream.NewTopic("y", serde.String, serde.Serde[string](nil)))
			stream.ToFunc(s, stream.NewTopic[string, string]("", nil, serde.String), func(rec) string { return "z" })
		}, []string{
			`stream.From: topic "x" has no serde for its keys`, `stream.From: topic "x" has no serde for its values`,
			`stream.To: topic "y" has no serde for its values`, `stream.ToFunc: topic "" has no serde for its keys`,
		}},
		{"no topic", func(b *stream.Builder, _ strs) { stream.From[string, string](b) }, []string{"it reads no topic"}},
		{"a topic twice in one call", func(b *stream.Builder, _ strs) { stream.From(b, text("x"), text("x")) }, []string{`topic "x" is given twice`}},
		{"topics that start at different places", func(b *stream.Builder, _ strs) {
			stream.From(b, text("x"), text("y").StartAt(stream.Latest))
		}, []string{`topics "x" and "y" differ in StartAt`}},
		{"overlapping sets of topics", func(b *stream.Builder, _ strs) {
			stream.From(b, text("x"), text("y"))
			stream.From(b, text("y"), text("z"))
		}, []string{`topic "y" is read at `}},
		{"a pattern that matches a topic", func(b *stream.Builder, _ strs) {
			stream.FromPattern(b, stream.NewPattern("i.", serde.String, serde.String))
		}, []string{`topic "in" is read at `}},
		{"a topic that a pattern matches", func(b *stream.Builder, _ strs) {
			stream.FromPattern(b, stream.NewPattern("x.*", serde.String, serde.String))
			stream.From(b, text("x1"))
		}, []string{`topic "x1" is read at `}},
		{"a pattern that is none", func(b *stream.Builder, _ strs) {
			stream.FromPattern(b, stream.NewPattern("(", serde.String, serde.String))
			stream.FromPattern(b, stream.NewPattern("", serde.String, serde.String))
		}, []string{`pattern "(": error parsing regexp`, "its pattern is empty"}},
		{"a topic with two types", func(b *stream.Builder, _ strs) {
			stream.From(b, stream.NewTopic("in", serde.String, serde.Int64))
		}, []string{`topic "in" is read at `}},
		{"a topic with two serdes", func(b *stream.Builder, _ strs) {
			stream.From(b, stream.NewTopic("in", serde.String, serde.JSON[string]()))
		}, []string{"with other types, serdes or settings"}},
		{"a topic with two time functions", func(b *stream.Builder, _ strs) {
			stream.From(b, in.Timestamp(func(rec, time.Time) (time.Time, bool) { return time.Time{}, false }))
		}, []string{"with other types, serdes or settings"}},
		{"a topic with two names", func(b *stream.Builder, _ strs) { stream.From(b, in).Named("other") }, []string{"under another name"}},
		{"a policy that cannot be used", func(b *stream.Builder, s strs) {
			stream.From(b, text("x").OnDecodeError(failure.DeadLetter("")))
			stream.To(s, text("y")).OnError(failure.Retry(0, 1, 1, failure.Stop()))
		}, []string{`OnDecodeError of topic "x": failure.DeadLetter`, "OnError: failure.Retry: 0 attempts"}},
		{"a policy where nothing can fail", func(_ *stream.Builder, s strs) { stream.Filter(s, yes).OnError(failure.Skip()) }, []string{"nothing can fail in it"}},
		{"a name given twice", func(_ *stream.Builder, s strs) { stream.Filter(s, yes).Named("x").Named("y") }, []string{`it is named twice: "x" and "y"`}},
		{"a second name for a step named by position", func(_ *stream.Builder, s strs) {
			stream.Repartition(s, "x").Named("y")
		}, []string{`it already has the name "x"`}},
		{"one name for two steps", func(_ *stream.Builder, s strs) {
			stream.Filter(s, yes).Named("x")
			stream.Filter(s, yes).Named("x")
		}, []string{`name "x" is in use by the step at `}},
		{"one name for a step and a branch", func(_ *stream.Builder, s strs) {
			stream.Filter(s, yes).Named("x")
			a, _ := stream.Branch(s, stream.HasKey)
			a.Named("x")
		}, []string{`name "x" is in use by the step at `}},
		{"names that are none", func(_ *stream.Builder, s strs) {
			stream.Filter(s, yes).Named("a b")
			stream.Filter(s, yes).Named("..")
			stream.Repartition(s, "")
			stream.Process(s, strings.Repeat("x", 250), refuse)
		}, []string{`name "a b" has ' ' in it`, `name ".." is not allowed`, "its name is empty", "longer than 249"}},
		{"a repartition topic made twice", func(_ *stream.Builder, s strs) {
			stream.Repartition(s, "x")
			stream.Repartition(s, "x")
		}, []string{`repartition topic "x-repartition" is already made at `}},
		{"partitions", func(_ *stream.Builder, s strs) {
			stream.Repartition(s, "x", stream.Partitions(0))
			stream.RepartitionBy(s, "y", func(rec, int) int { return 0 }, nil)
		}, []string{"at least 1 partition", "an option is nil"}},
		{"no serde found", func(_ *stream.Builder, s strs) {
			stream.Repartition(stream.MapValues(s, func(string) struct{ X int } { return struct{ X int }{} }), "x")
		}, []string{"no serde for its values, which a step after it writes"}},
		{"an output that is not there", func(_ *stream.Builder, s strs) {
			o := stream.NewOutput("o", serde.String, serde.String)
			stream.Side(s, o)
			p := stream.Process(s, "p", refuse, stream.NewOutput("o", serde.String, serde.Int64))
			stream.Side(p, o)
			stream.To(stream.Side(p, o), text("follow-ups are not reported"))
		}, []string{`has no output "o" of these types`, `has no output "o" of these types`, `has no output "o" of these types`}},
		{"uses that are none", func(_ *stream.Builder, s strs) {
			o := stream.NewOutput("o", serde.String, serde.String)
			stream.Process(s, "p", refuse, nil, o, o, stream.NewOutput("", serde.String, serde.String))
			stream.Process(s, "q", refuse, store.KeyValueRef[string, string]{})
		}, []string{"number 1 of what it uses is a <nil>", `it has two outputs "o"`, "output: its name is empty", "a reference to a store is zero"}},
		{"options of the Try operators", func(_ *stream.Builder, s strs) {
			stream.TryForEach(s, func(context.Context, rec) error { return nil }, stream.Timeout(0), nil)
		}, []string{"stream.Timeout: 0s, want more than 0", "an option is nil"}},
		{"no cases", func(_ *stream.Builder, s strs) { stream.Split(s) }, []string{"it has no cases"}},
		{"two builders", func(_ *stream.Builder, s strs) {
			stream.Merge(s, stream.From(stream.NewBuilder(), in))
		}, []string{"an input belongs to another builder"}},
		{"a zero handle beside another", func(_ *stream.Builder, s strs) { stream.Merge(s, strs{}) }, []string{"an input is the zero handle"}},
		{"a zero handle", func(*stream.Builder, strs) { stream.To(stream.Filter(strs{}, yes), text("out")) }, []string{
			"stream.Filter: an input is the zero handle", "stream.To: an input is the zero handle",
		}},
		{"a nil builder", func(*stream.Builder, strs) { stream.From(nil, in) }, []string{"its builder is nil"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := stream.NewBuilder()
			c.program(b, stream.From(b, in))
			_, err := b.Build()
			var errs topology.Errors
			require.ErrorAs(t, err, &errs)
			require.Len(t, errs, len(c.want), "%v", err)
			for i, e := range errs {
				assert.Contains(t, e.Error(), c.want[i])
				assert.Regexp(t, `/stream/mistakes_test\.go:\d+ \(called from .*/stream/mistakes_test\.go:\d+\)$`, e.Pos)
			}
			_, again := b.Build()
			if c.name != "a zero handle" && c.name != "a nil builder" { // no builder keeps these
				require.Equal(t, err, again)
			}
		})
	}
}

func TestBuild_NilFunctionsAreMistakes(t *testing.T) {
	b := stream.NewBuilder()
	s := stream.From(b, in)
	calls := []func(){
		func() { stream.Filter(s, nil) },
		func() { stream.FilterNot(s, nil) },
		func() { stream.FilterRecords(s, nil) },
		func() { stream.Map(s, (func(string, string) (string, string))(nil)) },
		func() { stream.MapValues(s, (func(string) string)(nil)) },
		func() { stream.MapValuesWithKey(s, (func(string, string) string)(nil)) },
		func() { stream.MapKeys(s, (func(string) string)(nil)) },
		func() { stream.MapRecords(s, (func(rec) rec)(nil)) },
		func() { stream.MapRecordValues(s, (func(rec) (string, bool))(nil)) },
		func() { stream.FlatMap(s, (func(string, string) iter.Seq2[string, string])(nil)) },
		func() { stream.FlatMapValues(s, (func(string) iter.Seq[string])(nil)) },
		func() { stream.FlatMapRecords(s, (func(rec) iter.Seq[rec])(nil)) },
		func() { stream.FlatMapRecordValues(s, (func(rec) iter.Seq2[string, bool])(nil)) },
		func() { stream.SelectKey(s, (func(string, string) string)(nil)) },
		func() { stream.Peek(s, nil) },
		func() { stream.ForEach(s, nil) },
		func() { stream.Branch(s, nil) },
		func() { stream.Split(s, stream.HasKey, nil) },
		func() { stream.GroupBy(s, (func(string, string) string)(nil)) },
		func() { stream.RepartitionBy(s, "rp", nil) },
		func() { stream.ToFunc(s, text(""), nil) },
		func() { stream.Process(s, "p", (func(*context1) (each, error))(nil)) },
		func() { stream.ProcessValues(s, "pv", (func(*stream.ValueContext[string]) (each, error))(nil)) },
		func() { stream.TryMapValues(s, (func(context.Context, rec) (string, error))(nil)) },
		func() { stream.TryMapRecords(s, (func(context.Context, rec) (rec, error))(nil)) },
		func() { stream.TryMapRecordValues(s, (func(context.Context, rec) (string, bool, error))(nil)) },
		func() { stream.TryFlatMapRecords(s, (func(context.Context, rec, func(rec)) error)(nil)) },
		func() { stream.TryFilterRecords(s, nil) },
		func() { stream.TryForEach(s, nil) },
	}
	for _, call := range calls {
		call()
	}
	_, err := b.Build()
	var errs topology.Errors
	require.ErrorAs(t, err, &errs)
	require.Len(t, errs, len(calls))
	for _, e := range errs {
		assert.Regexp(t, `^its function (2 of 2 )?is nil$`, e.Err.Error(), e.Op)
	}
}

func TestBuild_MistakesOfBuilders(t *testing.T) {
	_, err := (*stream.Builder)(nil).Build()
	require.ErrorContains(t, err, "the builder is nil")
	_, err = stream.NewBuilder().Build()
	require.ErrorContains(t, err, "the program has no steps")
	b := stream.NewBuilder(nil)
	stream.From(b, in)
	_, err = b.Build()
	require.ErrorContains(t, err, "stream.NewBuilder: an option is nil")
}

// shout is a helper of a user's, which many calls go through.
func shout(s strs) strs { return stream.Filter(s, nil) }

func TestBuild_PositionsAreThoseOfTheUser(t *testing.T) {
	b := stream.NewBuilder()
	shout(stream.From(b, in))
	called := line(0) - 1
	_, err := b.Build()
	var one *topology.Error
	require.ErrorAs(t, err, &one)
	assert.Equal(t, "stream.Filter", one.Op)
	want := fmt.Sprintf(`mistakes_test\.go:\d+ \(called from .*mistakes_test\.go:%d\)`, called)
	assert.Regexp(t, regexp.MustCompile(want), one.Pos)
}

func TestBuild_MistakesAreInTheOrderOfTheCalls(t *testing.T) {
	b := stream.NewBuilder()
	s := stream.From(b, in)
	stream.To(s, text("a b"))          // found last, when all else is known
	stream.Filter(s, nil)              // found first
	stream.Filter(s, yes).Named("x y") // found with its name
	_, err := b.Build()
	var errs topology.Errors
	require.ErrorAs(t, err, &errs)
	require.Len(t, errs, 3)
	assert.Equal(t, []string{"stream.To", "stream.Filter", "stream.Filter"}, []string{errs[0].Op, errs[1].Op, errs[2].Op})
	assert.ErrorContains(t, errs[2], "x y")
}

func TestBuild_UnusedHandlesAreAllowed(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		s := stream.From(b, in)
		stream.GroupBy(s, func(_, v string) string { return v })
		stream.GroupByKey(s)
		stream.Split(s, stream.HasKey)
		stream.Side(stream.Process(s, "p", func(*context1) (each, error) { return func(rec) error { return nil }, nil },
			stream.NewOutput("o", serde.String, serde.String)), stream.NewOutput("o", serde.String, serde.String))
		stream.Merge(s)
	})
	assert.Empty(t, (*graph.Handle)(top).Graph().Topics)
}

func TestSerdes_AreInheritedWhileTheTypeStays(t *testing.T) {
	b := stream.NewBuilder()
	type odd struct{ X int }
	s := stream.From(b, stream.NewTopic("odd", serde.String, serde.JSON[odd]()))
	same := stream.MapValues(stream.SelectKey(s, func(k string, _ odd) string { return k }), func(o odd) odd { return o })
	yes, _ := stream.Branch(stream.Merge(same, s), stream.HasValue)
	stream.Repartition(stream.Peek(yes, func(stream.Record[string, odd]) {}), "kept")
	other := stream.MapValues(s, func(o odd) []odd { return nil })
	stream.Repartition(other, "given").WithSerdes(nil, serde.JSON[[]odd]())
	stream.Repartition(stream.MapValues(s, func(o odd) int64 { return 1 }), "found")
	_, err := b.Build()
	require.NoError(t, err)
}
