package stream_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

type (
	ints     = stream.KStream[int64, int64]
	intRec   = stream.Record[int64, int64]
	context2 = stream.Context[int64, int64]
)

// still is the environment of a task in which nothing fails, for measuring the steps alone.
type still struct {
	graph.Env
	drops int
}

func (s *still) Drop(*graph.Node, string) { s.drops++ }
func (s *still) Context() context.Context { return context.Background() }
func (s *still) Current() *graph.Input    { return nil }
func (s *still) RecordTime() int64        { return 0 }

// chain wires a program that reads numbers, as a task does, and returns what sends a record to its
// steps.
func chain(t testing.TB, program func(ints)) func(intRec) error {
	top := build(t, func(b *stream.Builder) {
		program(stream.From(b, stream.NewTopic("numbers", serde.Int64, serde.Int64)))
	})
	env, inlets := &still{}, map[*graph.Node]any{}
	outs := func(n *graph.Node) (outs []any) {
		for _, p := range n.Ports {
			var in []any
			for _, c := range p.Children {
				in = append(in, inlets[c])
			}
			outs = append(outs, p.Broadcast(in))
		}
		return outs
	}
	nodes := (*graph.Handle)(top).Graph().Nodes
	for _, n := range slices.Backward(nodes[1:]) {
		inlet, err := n.Wire(n, env, outs(n))
		require.NoError(t, err)
		inlets[n] = inlet
	}
	return outs(nodes[0])[0].(wire.Outlet[int64, int64])
}

// pair is a sequence made once: what the user's function allocates is not ours.
func pair(yield func(int64) bool) { _ = yield(1) && yield(2) }

var operators = map[string]func(ints) ints{
	"Filter":           func(s ints) ints { return stream.Filter(s, func(k, v int64) bool { return k <= v }) },
	"FilterNot":        func(s ints) ints { return stream.FilterNot(s, func(k, v int64) bool { return k > v }) },
	"FilterRecords":    func(s ints) ints { return stream.FilterRecords(s, stream.HasValue[int64, int64]) },
	"Map":              func(s ints) ints { return stream.Map(s, func(k, v int64) (int64, int64) { return v, k }) },
	"MapValues":        func(s ints) ints { return stream.MapValues(s, func(v int64) int64 { return v + 1 }) },
	"MapValuesWithKey": func(s ints) ints { return stream.MapValuesWithKey(s, func(k, v int64) int64 { return k + v }) },
	"MapKeys":          func(s ints) ints { return stream.MapKeys(s, func(k int64) int64 { return k + 1 }) },
	"MapRecords":       func(s ints) ints { return stream.MapRecords(s, func(r intRec) intRec { return intRec{Key: r.Value} }) },
	"MapRecordValues": func(s ints) ints {
		return stream.MapRecordValues(s, func(r intRec) (int64, bool) { return r.Key, false })
	},
	"FlatMap": func(s ints) ints {
		seq := iter.Seq2[int64, int64](func(yield func(int64, int64) bool) { _ = yield(1, 1) && yield(2, 2) })
		return stream.FlatMap(s, func(_, _ int64) iter.Seq2[int64, int64] { return seq })
	},
	"FlatMapValues": func(s ints) ints { return stream.FlatMapValues(s, func(int64) iter.Seq[int64] { return pair }) },
	"FlatMapRecords": func(s ints) ints {
		seq := iter.Seq[intRec](func(yield func(intRec) bool) { _ = yield(intRec{}) && yield(intRec{Key: 1}) })
		return stream.FlatMapRecords(s, func(intRec) iter.Seq[intRec] { return seq })
	},
	"FlatMapRecordValues": func(s ints) ints {
		seq := iter.Seq2[int64, bool](func(yield func(int64, bool) bool) { _ = yield(1, true) && yield(2, false) })
		return stream.FlatMapRecordValues(s, func(intRec) iter.Seq2[int64, bool] { return seq })
	},
	"SelectKey": func(s ints) ints { return stream.SelectKey(s, func(_, v int64) int64 { return v }) },
	"Peek":      func(s ints) ints { return stream.Peek(s, func(intRec) {}) },
	"Merge":     func(s ints) ints { return stream.Merge(s, s) },
	"Branch": func(s ints) ints {
		yes, no := stream.Branch(s, func(r intRec) bool { return r.Key > 0 })
		return stream.Merge(yes, no)
	},
	"Split": func(s ints) ints {
		of, _ := stream.Split(s, func(r intRec) bool { return r.Key > 9 }, stream.HasKey[int64, int64])
		return of[1]
	},
	"Process": func(s ints) ints {
		o := stream.NewOutput("o", serde.Int64, serde.Int64)
		p := stream.Process(s, "p", func(c *context2) (func(intRec) error, error) {
			o := o.In(c)
			return func(r intRec) error { c.Forward(r); o(r); c.Forward(intRec{}); return nil }, nil
		}, o)
		return stream.Merge(p, stream.Side(p, o))
	},
	"ProcessValues": func(s ints) ints {
		return stream.ProcessValues(s, "p", func(c *stream.ValueContext[int64]) (func(intRec) error, error) {
			return func(r intRec) error { c.Forward(r.Value); c.ForwardTombstone(); return nil }, nil
		})
	},
	"TryMapValues": func(s ints) ints {
		return stream.TryMapValues(s, func(_ context.Context, r intRec) (int64, error) { return r.Value, nil })
	},
	"TryMapRecords": func(s ints) ints {
		return stream.TryMapRecords(s, func(_ context.Context, r intRec) (intRec, error) { return r, nil })
	},
	"TryMapRecordValues": func(s ints) ints {
		return stream.TryMapRecordValues(s, func(_ context.Context, r intRec) (int64, bool, error) { return r.Value, true, nil })
	},
	"TryFilterRecords": func(s ints) ints {
		return stream.TryFilterRecords(s, func(context.Context, intRec) (bool, error) { return true, nil })
	},
	"TryFlatMapRecords": func(s ints) ints {
		return stream.TryFlatMapRecords(s, func(_ context.Context, r intRec, emit func(intRec)) error { emit(r); emit(r); return nil })
	},
}

func TestOperators_DoNotAllocate(t *testing.T) {
	for name, f := range operators {
		t.Run(name, func(t *testing.T) {
			n := 0
			send := chain(t, func(s ints) { stream.ForEach(f(s), func(intRec) { n++ }) })
			r := intRec{Key: 1, Value: 2, Time: time.UnixMilli(3)}
			assert.Zero(t, testing.AllocsPerRun(100, func() {
				if err := send(r); err != nil {
					t.Error(err)
				}
			}))
			assert.GreaterOrEqual(t, n, 100)
		})
	}
}

func TestTopology_RunsInSeveralTasksConcurrently(t *testing.T) {
	numbers := stream.NewTopic("numbers", serde.Int64, serde.Int64)
	top := build(t, func(b *stream.Builder) {
		s := stream.From(b, numbers)
		for name, f := range operators {
			if !strings.HasPrefix(name, "Process") { // their names are taken
				stream.ForEach(f(s), func(intRec) {})
			}
		}
	})
	var running sync.WaitGroup
	for range 2 {
		d := testdriver.New(t, top)
		running.Go(func() {
			for i := range int64(50) {
				testdriver.Input(d, numbers).Send(i, i)
			}
		})
	}
	running.Wait()
}

// five is a chain of five operators, all of which pass the record on.
func five(n *int) func(ints) {
	return func(s ints) {
		s = stream.Filter(s, func(k, v int64) bool { return k <= v })
		s = stream.MapValues(s, func(v int64) int64 { return v + 1 })
		s = stream.SelectKey(s, func(k, v int64) int64 { return k + v })
		s = stream.MapRecords(s, func(r intRec) intRec { r.Value *= 2; return r })
		stream.ForEach(s, func(intRec) { *n++ })
	}
}

func BenchmarkFiveOperators(b *testing.B) {
	n := 0
	send := chain(b, five(&n))
	r := intRec{Key: 1, Value: 2, Time: time.UnixMilli(3)}
	b.ReportAllocs()
	for b.Loop() {
		if err := send(r); err != nil {
			b.Fatal(err)
		}
	}
	require.GreaterOrEqual(b, n, b.N)
}

func BenchmarkOperators(b *testing.B) {
	r := intRec{Key: 1, Value: 2, Time: time.UnixMilli(3)}
	for _, name := range []string{"Filter", "MapValues", "MapRecords", "FlatMapValues", "Process", "TryMapValues"} {
		b.Run(name, func(b *testing.B) {
			send := chain(b, func(s ints) { stream.ForEach(operators[name](s), func(intRec) {}) })
			b.ReportAllocs()
			for b.Loop() {
				if err := send(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
