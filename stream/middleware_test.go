package stream_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

// around builds a program with middleware and returns its driver.
func around(t *testing.T, program func(b *stream.Builder, in strs), m ...topology.Middleware) *testdriver.Driver {
	t.Helper()
	b := stream.NewBuilder(stream.Middleware(m...))
	program(b, stream.From(b, in))
	top, err := b.Build()
	require.NoError(t, err)
	return testdriver.New(t, top)
}

// only goes around the step of that name.
func only(name string, f topology.Around) topology.Middleware {
	return func(step topology.Node, _ string) topology.Around {
		if step.Name != name {
			return nil
		}
		return f
	}
}

func TestMiddleware_WrapsEveryStep(t *testing.T) {
	var seen []string
	log := func(who string) topology.Middleware {
		return func(step topology.Node, task string) topology.Around {
			return func(r topology.Passing, next func() error) error {
				key, _ := r.Key()
				value, ok := r.Value()
				seen = append(seen, fmt.Sprint(who, " ", task, " ", step.Op, " ", key, "=", value, " ", ok, " @", r.Time().UnixMilli(), " ", r.Source().Topic))
				err := next()
				seen = append(seen, fmt.Sprint(who, " ", step.Op, " done"))
				return err
			}
		}
	}
	d := around(t, func(_ *stream.Builder, in strs) {
		n := table.Count(stream.GroupByKey(stream.MapValues(in, func(v string) string { return v + "!" })), "n")
		few := table.Filter(n, func(_ string, n int64) bool { return n < 2 })
		stream.To(table.ToStream(few), stream.NewTopic("out", serde.String, serde.Int64))
	}, log("a"), log("b"))
	for ms := range 2 {
		testdriver.Input(d, in).At(time.UnixMilli(int64(ms))).Send("k", "v")
	}
	steps := []string{"source k=v true", "map-values k=v true", "count k=v! true", "filter k=1 true", "to-stream k=1 true", "sink k=1 true"}
	var want []string
	for _, s := range steps {
		want = append(want, "a 0_0 "+s+" @0 in", "b 0_0 "+s+" @0 in")
	}
	for _, op := range []string{"sink", "to-stream", "filter", "count", "map-values", "source"} {
		want = append(want, "b "+op+" done", "a "+op+" done")
	}
	assert.Equal(t, want, seen[:len(seen)/2])
	assert.Contains(t, seen, "a 0_0 to-stream k=0 false @1 in", "a deleted row")
}

func TestMiddleware_ChangesHeaders(t *testing.T) {
	d := around(t, func(_ *stream.Builder, in strs) { stream.To(stream.Peek(in, func(rec) {}).Named("p"), text("out")) },
		only("p", func(r topology.Passing, next func() error) error {
			r.SetHeaders(r.Headers().With("trace", []byte("1")))
			return next()
		}))
	testdriver.Input(d, in).Header("h", []byte("x")).Send("k", "v")
	out := testdriver.Output(d, text("out")).Read()
	require.Len(t, out, 1)
	assert.Equal(t, topology.Headers{{Name: "h", Value: []byte("x")}, {Name: "trace", Value: []byte("1")}}, out[0].Headers)
}

func TestMiddleware_DroppedRecordsAreCounted(t *testing.T) {
	d := around(t, func(_ *stream.Builder, in strs) { stream.To(stream.Peek(in, func(rec) {}).Named("p"), text("out")) },
		only("p", func(r topology.Passing, next func() error) error {
			if k, _ := r.Key(); k == "no" {
				return nil
			}
			return next()
		}))
	testdriver.Input(d, in).Send("no", "v")
	testdriver.Input(d, in).Send("yes", "v")
	assert.Len(t, testdriver.Output(d, text("out")).Read(), 1)
	assert.Equal(t, map[string]int{graph.DroppedByMiddleware: 1}, d.Dropped())
}

func TestMiddleware_ErrorGoesToTheStepsPolicy(t *testing.T) {
	calls := 0
	d := around(t, func(_ *stream.Builder, in strs) {
		s := stream.MapRecords(in, func(r rec) rec { return r }).Named("m").OnError(failure.Retry(2, time.Millisecond, time.Second, failure.Skip()))
		stream.To(s, text("out"))
	}, only("m", func(r topology.Passing, next func() error) error {
		if v, _ := r.Value(); v == "bad" || v == "shaky" && calls < 2 {
			calls++
			return errors.New("no")
		}
		return next()
	}))
	for _, v := range []string{"shaky", "bad"} {
		testdriver.Input(d, in).Send("k", v)
	}
	assert.Len(t, testdriver.Output(d, text("out")).Read(), 1)
	assert.Equal(t, map[string]int{graph.ProcessSkipped: 1}, d.Dropped())
	assert.Equal(t, 5, calls)
}

func TestMiddleware_CannotHideOrRepeatAStep(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		f    topology.Around
		want string
	}{
		"an error after the step": {func(_ topology.Passing, next func() error) error { return errors.Join(next(), boom) }, "middleware fails when its step is done: boom"},
		"a second call":           {func(_ topology.Passing, next func() error) error { return errors.Join(next(), next()) }, "twice for one record"},
		"a panic":                 {func(topology.Passing, func() error) error { panic(boom) }, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			d := around(t, func(_ *stream.Builder, in strs) { stream.To(stream.Peek(in, func(rec) {}).Named("p"), text("out")) }, only("p", c.f))
			err := testdriver.Input(d, in).SendErr(record("k=v"))
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, `"p"`)
		})
	}
	t.Run("what the step returned", func(t *testing.T) {
		d := around(t, func(_ *stream.Builder, in strs) {
			stream.ForEach(stream.Peek(in, func(rec) {}).Named("p"), func(rec) { panic("inner") })
		}, only("p", func(_ topology.Passing, next func() error) error { _ = next(); return nil }))
		require.ErrorContains(t, testdriver.Input(d, in).SendErr(record("k=v")), "inner")
	})
}

func TestMiddleware_NilIsAMistake(t *testing.T) {
	b := stream.NewBuilder(stream.Middleware(nil))
	stream.ForEach(stream.From(b, in), func(rec) {})
	_, err := b.Build()
	require.ErrorContains(t, err, "stream.Middleware: a function is nil")
	require.ErrorContains(t, err, "middleware_test.go:")
}

// surrounded is chain with middleware around the steps.
func surrounded(t testing.TB, program func(ints), m topology.Middleware) func(intRec) error {
	b := stream.NewBuilder(stream.Middleware(m))
	program(stream.From(b, stream.NewTopic("numbers", serde.Int64, serde.Int64)))
	top, err := b.Build()
	require.NoError(t, err)
	g, env, inlets := (*graph.Handle)(top).Graph(), &still{}, map[*graph.Node]any{}
	outs := func(n *graph.Node) (outs []any) {
		for _, p := range n.Ports {
			var in []any
			for _, c := range p.Children {
				in = append(in, p.WrapMiddleware(c, env, inlets[c], g.Middleware(c, graph.TaskID{})))
			}
			outs = append(outs, p.Broadcast(in))
		}
		return outs
	}
	for _, n := range slices.Backward(g.Nodes[1:]) {
		inlet, err := n.Wire(n, env, outs(n))
		require.NoError(t, err)
		inlets[n] = inlet
	}
	return outs(g.Nodes[0])[0].(wire.Outlet[int64, int64])
}

// counting counts the records of all steps.
func counting(n *int) topology.Middleware {
	return func(topology.Node, string) topology.Around {
		return func(_ topology.Passing, next func() error) error {
			*n++
			return next()
		}
	}
}

func TestMiddleware_DoesNotAllocate(t *testing.T) {
	n, passed := 0, 0
	send := surrounded(t, five(&n), counting(&passed))
	r := intRec{Key: 1, Value: 2, Time: time.UnixMilli(3)}
	assert.Zero(t, testing.AllocsPerRun(100, func() { require.NoError(t, send(r)) }))
	assert.Equal(t, 5*n, passed)
}

// BenchmarkFiveOperatorsInMiddleware is BenchmarkFiveOperators with middleware that counts.
func BenchmarkFiveOperatorsInMiddleware(b *testing.B) {
	n, passed := 0, 0
	send := surrounded(b, five(&n), counting(&passed))
	r := intRec{Key: 1, Value: 2, Time: time.UnixMilli(3)}
	b.ReportAllocs()
	for b.Loop() {
		if err := send(r); err != nil {
			b.Fatal(err)
		}
	}
	require.Equal(b, 5*n, passed)
}
