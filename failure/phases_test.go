package failure_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// flaky fails for whatever has "bad" in it, as often as is left; without end where that is negative.
type flaky struct{ left int }

var errFlaky = errors.New("no luck")

func (f *flaky) fail(s string) error {
	if f.left == 0 || !strings.Contains(s, "bad") {
		return nil
	}
	f.left--
	return errFlaky
}

// words is serde.String, which fails where it is told to.
func (f *flaky) words(append_, decode bool) serde.Serde[string] {
	return serde.Func(func(b []byte, s string) ([]byte, error) {
		if append_ {
			if err := f.fail(s); err != nil {
				return nil, fmt.Errorf("%w: %q", err, s)
			}
		}
		return append(b, s...), nil
	}, func(b []byte) (string, error) {
		if decode {
			if err := f.fail(string(b)); err != nil {
				return "", fmt.Errorf("%w: %q", err, b)
			}
		}
		return string(b), nil
	})
}

func (f *flaky) encodes() serde.Serde[string] { return f.words(true, false) }
func (f *flaky) decodes() serde.Serde[string] { return f.words(false, true) }

type (
	words = stream.KStream[string, string]
	rec   = stream.Record[string, string]
)

var (
	plain = stream.NewTopic("in", serde.String, serde.String)
	side  = stream.NewTopic("side", serde.String, serde.String)
	out   = stream.NewTopic("out", serde.String, serde.String)
	dead  = stream.NewTopic("dead", serde.Bytes, serde.Bytes)
)

func same(v string) string { return v }

func last(_, v string) string { return v }

func rows(t table.KTable[string, string]) words { return table.ToStream(t) }

func counts[A any](t table.KTable[window.Key[string], A]) words {
	return stream.Map(table.ToStream(t), func(k window.Key[string], v A) (string, string) { return k.Key, fmt.Sprint(v) })
}

// phases are the places where a record can fail for a reason of its own. Each program reads "in",
// and what it makes of a record goes to "out". The key and the value of the second of three records
// have "bad" in them.
var phases = map[string]func(b *stream.Builder, f *flaky) words{
	"decode a key": func(b *stream.Builder, f *flaky) words {
		return stream.From(b, stream.NewTopic("in", f.decodes(), serde.String))
	},
	"decode a value": func(b *stream.Builder, f *flaky) words {
		return stream.From(b, stream.NewTopic("in", serde.String, f.decodes()))
	},
	"decode for a table": func(b *stream.Builder, f *flaky) words {
		return rows(table.From(b, stream.NewTopic("in", serde.String, f.decodes()), "t"))
	},
	"timestamp function": func(b *stream.Builder, f *flaky) words {
		return stream.From(b, plain.Timestamp(func(r rec, _ time.Time) (time.Time, bool) {
			if f.fail(r.Value) != nil {
				return topology.MaxTime().Add(time.Millisecond), true
			}
			return r.Time, true
		}))
	},
	"function": func(b *stream.Builder, f *flaky) words {
		return stream.TryMapValues(stream.From(b, plain), func(_ context.Context, r rec) (string, error) { return r.Value, f.fail(r.Value) })
	},
	"function in flight": func(b *stream.Builder, f *flaky) words {
		return stream.TryMapValues(stream.From(b, plain), func(_ context.Context, r rec) (string, error) { return r.Value, f.fail(r.Value) }, stream.Async(2))
	},
	"function that makes several records": func(b *stream.Builder, f *flaky) words {
		return stream.TryFlatMapRecords(stream.From(b, plain), func(_ context.Context, r rec, emit func(rec)) error {
			emit(r)
			return f.fail(r.Value)
		})
	},
	"processor": func(b *stream.Builder, f *flaky) words {
		return stream.Process(stream.From(b, plain), "p", func(c *stream.Context[string, string]) (func(rec) error, error) {
			return func(r rec) error {
				if err := f.fail(r.Value); err != nil {
					return err
				}
				c.Forward(r)
				return nil
			}, nil
		})
	},
	"punctuation": func(b *stream.Builder, f *flaky) words {
		return stream.Process(stream.From(b, plain), "p", func(c *stream.Context[string, string]) (func(rec) error, error) {
			var now rec
			c.EveryStreamTime(time.Second, func(time.Time) error {
				if err := f.fail(now.Value); err != nil {
					return err
				}
				c.Forward(now)
				return nil
			})
			return func(r rec) error { now = r; return nil }, nil
		})
	},
	"processor that forwards a time that records cannot have": func(b *stream.Builder, f *flaky) words {
		return stream.Process(stream.From(b, plain), "p", func(c *stream.Context[string, string]) (func(rec) error, error) {
			return func(r rec) error {
				if f.fail(r.Value) != nil {
					r.Time = topology.MaxTime().Add(time.Millisecond)
				}
				c.Forward(r)
				return nil
			}, nil
		})
	},
	"processor of values that forwards such a time": func(b *stream.Builder, f *flaky) words {
		return stream.ProcessValues(stream.From(b, plain), "p", func(c *stream.ValueContext[string]) (func(rec) error, error) {
			return func(r rec) error {
				at := r.Time
				if f.fail(r.Value) != nil {
					at = time.UnixMilli(-1)
				}
				c.ForwardAt(r.Value, at)
				return nil
			}, nil
		})
	},
	"map to such a time": func(b *stream.Builder, f *flaky) words {
		return stream.MapRecords(stream.From(b, plain), func(r rec) rec {
			if f.fail(r.Value) != nil {
				return r.At(time.UnixMilli(1 << 62))
			}
			return r
		})
	},
	"function that maps to such a time": func(b *stream.Builder, f *flaky) words {
		return stream.TryMapRecords(stream.From(b, plain), func(_ context.Context, r rec) (rec, error) {
			if f.fail(r.Value) != nil {
				return r.At(time.UnixMilli(1 << 62)), nil
			}
			return r, nil
		})
	},
	"middleware": func(b *stream.Builder, f *flaky) words { return stream.Peek(stream.From(b, plain), func(rec) {}) },
	"processor that writes its store": func(b *stream.Builder, f *flaky) words {
		ref := store.NewKeyValue("s", serde.String, f.encodes())
		return stream.Process(stream.From(b, plain), "p", func(c *stream.Context[string, string]) (func(rec) error, error) {
			s := ref.In(c)
			return func(r rec) error {
				if err := s.Put(r.Key, r.Value); err != nil {
					return err
				}
				c.Forward(r)
				return nil
			}, nil
		}, ref)
	},
	"function of a table": func(b *stream.Builder, f *flaky) words {
		return rows(table.ProcessValues(table.From(b, plain, "t"), "p", func(*topology.Task) (func(string, string, bool) (string, bool, error), error) {
			return func(_, v string, row bool) (string, bool, error) { return v, row, f.fail(v) }, nil
		}))
	},
	"key in a sink": func(b *stream.Builder, f *flaky) words {
		s := stream.From(b, plain)
		stream.To(s, stream.NewTopic("out", f.encodes(), serde.String))
		return words{}
	},
	"value in a sink": func(b *stream.Builder, f *flaky) words {
		stream.To(stream.From(b, plain), stream.NewTopic("out", serde.String, f.encodes()))
		return words{}
	},
	"partitioner of a sink": func(b *stream.Builder, f *flaky) words {
		stream.To(stream.From(b, plain), out.Partitioner(func(r rec, n int) int {
			if f.fail(r.Value) != nil {
				return n
			}
			return 0
		}))
		return words{}
	},
	"topic that a record chooses": func(b *stream.Builder, f *flaky) words {
		stream.ToFunc(stream.From(b, plain), out, func(r rec) string {
			if f.fail(r.Value) != nil {
				return "no such name!"
			}
			return "out"
		})
		return words{}
	},
	"repartition": func(b *stream.Builder, f *flaky) words {
		return stream.MapValues(stream.Repartition(stream.From(b, plain), "r").WithSerdes(nil, f.encodes()), same)
	},
	"read back from a repartition topic": func(b *stream.Builder, f *flaky) words {
		return stream.MapValues(stream.Repartition(stream.From(b, plain), "r").WithSerdes(nil, f.decodes()), same)
	},
	"key of a table's row": func(b *stream.Builder, f *flaky) words {
		return rows(table.ToTable(stream.From(b, plain), "t").WithSerdes(f.encodes(), nil))
	},
	"value of a table's row": func(b *stream.Builder, f *flaky) words {
		return rows(table.ToTable(stream.From(b, plain), "t").WithSerdes(nil, f.encodes()))
	},
	"value of a version": func(b *stream.Builder, f *flaky) words {
		return rows(table.ToTable(stream.From(b, plain), "t", store.Versions(time.Hour)).WithSerdes(nil, f.encodes()))
	},
	"row of a table that is held back": func(b *stream.Builder, f *flaky) words {
		return rows(table.ToTable(stream.From(b, plain), "t", store.UntilCommit()).WithSerdes(nil, f.encodes()))
	},
	"reduce": func(b *stream.Builder, f *flaky) words {
		return rows(table.Reduce(stream.GroupByKey(stream.From(b, plain)), "t", last).WithSerdes(nil, f.encodes()))
	},
	"cogroup": func(b *stream.Builder, f *flaky) words {
		g := table.Cogroup(table.Add(stream.GroupByKey(stream.From(b, plain)), func(_, v, _ string) string { return v }))
		return rows(table.AggregateCogroup(g, "t", func() string { return "" }).WithSerdes(nil, f.encodes()))
	},
	"reduce of rows": func(b *stream.Builder, f *flaky) words {
		g := table.GroupBy(table.From(b, plain, "t"), func(k, v string) (string, string, bool) { return k, v, true })
		return rows(table.ReduceRows(g, "r", last, func(agg, _ string) string { return agg }).WithSerdes(nil, f.encodes()))
	},
	"groups of rows": func(b *stream.Builder, f *flaky) words {
		g := table.GroupBy(table.From(b, plain, "t"), func(k, v string) (string, string, bool) { return k, v, true }).WithSerdes(f.encodes(), nil)
		return rows(table.ReduceRows(g, "r", last, func(agg, _ string) string { return agg }).WithSerdes(serde.String, nil))
	},
	"tumbling window": func(b *stream.Builder, f *flaky) words {
		return counts(table.ReduceWindows(stream.GroupByKey(stream.From(b, plain)), window.Tumbling(time.Second), "w", last).WithSerdes(nil, f.encodes()))
	},
	"sliding window": func(b *stream.Builder, f *flaky) words {
		return counts(table.ReduceWindows(stream.GroupByKey(stream.From(b, plain)), window.Sliding(time.Millisecond), "w", last).WithSerdes(nil, f.encodes()))
	},
	"session": func(b *stream.Builder, f *flaky) words {
		return counts(table.ReduceWindows(stream.GroupByKey(stream.From(b, plain)), window.Sessions(time.Second), "w", last).WithSerdes(nil, f.encodes()))
	},
	"suppression": func(b *stream.Builder, f *flaky) words {
		return rows(table.SuppressFor(table.From(b, plain, "t"), 0, "s", table.Unbounded()).WithSerdes(nil, f.encodes()))
	},
	"join with a table": func(b *stream.Builder, f *flaky) words {
		t := table.ToTable(stream.From(b, side), "t").WithSerdes(f.encodes(), nil)
		return join.StreamTableLeft(stream.From(b, plain), t, "j", func(v, _ string, _ bool) string { return v })
	},
	"join of a stream with a global table": func(b *stream.Builder, f *flaky) words {
		g := table.Global(b, side, "g").WithSerdes(f.encodes(), nil)
		return join.StreamGlobalLeft(stream.From(b, plain), g, func(r rec) (string, bool) { return r.Key, true }, func(v, _ string, _ bool) string { return v })
	},
	"join of tables": func(b *stream.Builder, f *flaky) words {
		t := table.ToTable(stream.From(b, side), "t").WithSerdes(f.encodes(), nil)
		return rows(join.TableTableLeft(table.From(b, plain, "l"), t, func(v, _ string, _ bool) string { return v }))
	},
	"join that reads what a function makes": func(b *stream.Builder, f *flaky) words {
		t := table.ProcessValues(table.From(b, side, "t"), "p", func(*topology.Task) (func(string, string, bool) (string, bool, error), error) {
			return func(k, v string, row bool) (string, bool, error) { return v, row, f.fail(k) }, nil
		})
		return join.StreamTableLeft(stream.From(b, plain), t, "j", func(v, _ string, _ bool) string { return v })
	},
	"join of streams": func(b *stream.Builder, f *flaky) words {
		l, r := stream.From(b, plain).WithSerdes(nil, f.encodes()), stream.From(b, side)
		return join.StreamStreamLeft(l, r, window.Within(0), "j", func(v, _ string, _ bool) string { return v })
	},
	"buffer of a join": func(b *stream.Builder, f *flaky) words {
		t := table.From(b, side, "t", store.Versions(time.Hour))
		return join.StreamTableLeft(stream.From(b, plain).WithSerdes(nil, f.encodes()), t, "j", func(v, _ string, _ bool) string { return v }, join.Grace(time.Millisecond))
	},
	"foreign key": func(b *stream.Builder, f *flaky) words {
		r := table.ToTable(stream.From(b, side), "r").WithSerdes(f.encodes(), nil)
		return rows(join.ForeignKeyLeft(table.From(b, plain, "l"), r, "j", func(k, _ string) (string, bool) { return k, true }, func(v, _ string, _ bool) string { return v }))
	},
	"left row of a foreign-key join": func(b *stream.Builder, f *flaky) words {
		r := table.ToTable(stream.From(b, side), "r")
		l := table.MapValues(table.From(b, plain, "l"), same).WithSerdes(nil, f.encodes())
		return rows(join.ForeignKeyLeft(l, r, "j", func(k, _ string) (string, bool) { return k, true }, func(v, _ string, _ bool) string { return v }))
	},
}

// stores are what follows from the records of "in" in stores that nothing else writes.
var stores = map[string]func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string]{
	"decode for a global table": func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string] {
		return table.Global(b, stream.NewTopic("in", serde.String, f.decodes()), "g").WithSerdes(serde.String, serde.String).Store()
	},
	"row of a global table": func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string] {
		return table.Global(b, plain, "g").WithSerdes(nil, f.encodes()).Store()
	},
	"function of a global store": func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string] {
		ref := store.NewKeyValue("g", serde.String, serde.String)
		stream.GlobalStore(b, plain, "keep", func(t *topology.Task) (func(rec) error, error) {
			s := ref.In(t)
			return func(r rec) error {
				if err := f.fail(r.Value); err != nil {
					return err
				}
				return s.Put(r.Key, r.Value)
			}, nil
		}, ref)
		return ref
	},
	"decode for a read-only store": func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string] {
		ref := store.NewKeyValue("g", serde.String, serde.String)
		stream.ReadOnlyStore(b, stream.NewTopic("in", serde.String, f.decodes()), ref)
		return ref
	},
	"row of a read-only store": func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string] {
		ref := store.NewKeyValue("g", serde.String, f.encodes())
		stream.ReadOnlyStore(b, plain, ref)
		return ref
	},
}

// restored are those that are restored from the topic, in each task.
var restored = map[string]func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string]{
	"decode for a read-only store": stores["decode for a read-only store"],
	"row of a read-only store":     stores["row of a read-only store"],
	"decode for a table that its topic restores": func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string] {
		return table.From(b, stream.NewTopic("in", serde.String, f.decodes()), "t", store.SourceIsChangelog()).WithSerdes(nil, serde.String).Store()
	},
	"row of a table that its topic restores": func(b *stream.Builder, f *flaky) store.KeyValueRef[string, string] {
		return table.From(b, plain, "t", store.SourceIsChangelog()).WithSerdes(nil, f.encodes()).Store()
	},
}

// outcome is what becomes of the second of three records.
type outcome struct {
	policy   failure.Policy
	fails    int // -1: always
	stops    bool
	passes   bool
	letters  int
	failures int
}

func outcomes() map[string]outcome {
	retry := func(then failure.Policy) failure.Policy {
		return failure.Retry(3, time.Millisecond, time.Millisecond, then)
	}
	thrice := failure.Decide(func(_ context.Context, r failure.Report) failure.Policy {
		if r.Attempt < 3 {
			return failure.Retry(1, time.Millisecond, time.Millisecond, failure.Stop())
		}
		return failure.Skip()
	})
	return map[string]outcome{
		"Stop":                          {policy: failure.Stop(), fails: -1, stops: true, failures: 1},
		"Skip":                          {policy: failure.Skip(), fails: -1, failures: 1},
		"DeadLetter":                    {policy: failure.DeadLetter("dead"), fails: -1, letters: 1, failures: 1},
		"Decide, Skip":                  {policy: failure.Decide(func(context.Context, failure.Report) failure.Policy { return failure.Skip() }), fails: -1, failures: 1},
		"Decide, worked at the third":   {policy: thrice, fails: 2, passes: true, failures: 2},
		"Decide, Skip at the third":     {policy: thrice, fails: -1, failures: 3},
		"Retry, worked at the second":   {policy: retry(failure.Stop()), fails: 1, passes: true, failures: 1},
		"Retry, worked at the last":     {policy: retry(failure.Stop()), fails: 3, passes: true, failures: 3},
		"Retry, then Stop":              {policy: retry(failure.Stop()), fails: -1, stops: true, failures: 4},
		"Retry, then Skip":              {policy: retry(failure.Skip()), fails: -1, failures: 4},
		"Retry, then DeadLetter":        {policy: retry(failure.DeadLetter("dead")), fails: -1, letters: 1, failures: 4},
		"Retry, then Retry, then Skip":  {policy: retry(failure.Retry(1, 1, 1, failure.Skip())), fails: -1, failures: 5},
		"Retry, then Decide, then Skip": {policy: retry(failure.Decide(func(context.Context, failure.Report) failure.Policy { return failure.Skip() })), fails: -1, failures: 4},
	}
}

// around is middleware that fails before the steps of Peek.
func (f *flaky) around(step topology.Node, _ string) topology.Around {
	if step.Op != "peek" {
		return nil
	}
	return func(p topology.Passing, next func() error) error {
		v, _ := p.Value()
		if err := f.fail(v.(string)); err != nil {
			return err
		}
		return next()
	}
}

func driven(t testdriver.TB, b *stream.Builder, p failure.Policy) *testdriver.Driver {
	top, err := b.Build()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return testdriver.New(t, top, testdriver.OnDecodeError(p), testdriver.OnProcessError(p), testdriver.OnProduceError(p))
}

// Who reads a topic of others may never have heard of policies.
func TestStop_DecodeErrorNamesThePolicies(t *testing.T) {
	b := stream.NewBuilder()
	stream.ForEach(stream.From(b, stream.NewTopic("in", serde.String, serde.Int64)), func(stream.Record[string, int64]) {})
	d := driven(t, b, failure.Policy{})
	err := testdriver.Input(d, stream.NewTopic("in", serde.String, serde.String)).
		SendErr(rec{Key: "a", Value: strings.Repeat("no number ", 10_000), Time: time.UnixMilli(1)})
	require.ErrorContains(t, err, "topic in[0] offset 0: value: serde.Int64: got 100000 bytes, want 8")
	assert.ErrorContains(t, err, "; OnDecodeError of the topic, or Config.OnDecodeError, decides about such records")
}

// sendThree sends a record, one that fails, and another one; a fourth one has what waits go on.
func sendThree(t *testing.T, d *testdriver.Driver, want outcome) {
	in := testdriver.Input(d, plain)
	for i, k := range []string{"a", "bad", "c", "z"} {
		err := in.SendErr(rec{Key: k, Value: k, Time: time.UnixMilli(int64(i+1) * 1000)})
		if err != nil {
			require.True(t, want.stops, "%v", err)
			assert.ErrorContains(t, err, "task ")
			assert.Len(t, d.Failures(), want.failures)
			return
		}
	}
	assert.False(t, want.stops, "it goes on")
}

func remaining(want outcome) []string {
	if want.passes {
		return []string{"a", "bad", "c"}
	}
	return []string{"a", "c"}
}

func checkCounts(t *testing.T, d *testdriver.Driver, want outcome) {
	dropped := 0
	for _, n := range d.Dropped() {
		dropped += n
	}
	if want.passes {
		assert.Zero(t, dropped)
	} else {
		assert.Equal(t, 1, dropped, "%v", d.Dropped())
	}
	assert.Len(t, d.Failures(), want.failures)
	assert.Equal(t, want.letters, testdriver.Output(d, dead).Len())
}

func keysOf(t *testing.T, d *testdriver.Driver, ref store.KeyValueRef[string, string]) (keys []string) {
	for r, err := range ref.In(d).All() {
		require.NoError(t, err)
		if r.Key != "z" {
			keys = append(keys, r.Key)
		}
	}
	return keys
}

func TestPhases_WithEveryPolicy(t *testing.T) {
	for phase, program := range phases {
		for name, want := range outcomes() {
			t.Run(phase+"/"+name, func(t *testing.T) {
				f := &flaky{left: want.fails}
				b := stream.NewBuilder(stream.Middleware(f.around))
				if s := program(b, f); s != (words{}) {
					stream.To(s.WithSerdes(serde.String, serde.String), out)
				}
				d := driven(t, b, want.policy)
				sendThree(t, d, want)
				if want.stops {
					return
				}
				var keys []string
				for _, r := range testdriver.Output(d, out).Read() {
					if r.Key != "z" {
						keys = append(keys, r.Key)
					}
				}
				assert.Equal(t, remaining(want), keys)
				checkCounts(t, d, want)
			})
		}
	}
}

func TestPhases_OfTopicStoresWithEveryPolicy(t *testing.T) {
	for phase, program := range stores {
		for name, want := range outcomes() {
			t.Run(phase+"/"+name, func(t *testing.T) {
				f, b := &flaky{left: want.fails}, stream.NewBuilder()
				ref := program(b, f)
				stream.ForEach(stream.From(b, side), func(rec) {})
				d := driven(t, b, want.policy)
				sendThree(t, d, want)
				if want.stops {
					return
				}
				assert.Equal(t, remaining(want), keysOf(t, d, ref))
				if strings.Contains(phase, "global") {
					want.letters = 0 // each instance would write it
				}
				checkCounts(t, d, want)
			})
		}
	}
}

// caught is a test that knows with what it was ended.
type caught struct {
	*testing.T
	text string
}

func (c *caught) Fatalf(format string, args ...any) {
	c.text += fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// A restore meets the records that were processed. What was decoded at a second attempt is so
// again, and what a policy has let pass is let pass. What would end the task ends the restore: its
// row was there, and would be gone.
func TestPhases_RestoreHasThePoliciesOfItsTopic(t *testing.T) {
	for phase, program := range restored {
		for name, want := range outcomes() {
			t.Run(phase+"/"+name, func(t *testing.T) {
				f, b := &flaky{left: want.fails}, stream.NewBuilder()
				if want.stops {
					f.left = 0 // it decoded when it was processed
				}
				ref := program(b, f)
				c := &caught{T: t}
				d := driven(c, b, want.policy)
				sendThree(t, d, outcome{passes: want.passes})
				failures := len(d.Failures())
				f.left = want.fails
				var wg sync.WaitGroup
				wg.Go(d.Restart) // Fatalf ends its goroutine
				wg.Wait()
				if want.stops {
					assert.Contains(t, c.text, "in[0] offset 1")
					assert.Contains(t, c.text, "no luck")
					return
				}
				require.Empty(t, c.text)
				assert.Equal(t, remaining(want), keysOf(t, d, ref))
				assert.Len(t, d.Failures(), failures, "they were reported when they were processed")
			})
		}
	}
}

// Keys and values may be large, and secret: errors quote the beginning of a key, and no more of
// what a serde says, as those of strconv and encoding/json quote what they were given.
func TestPhases_ErrorsTruncateKeysAndValues(t *testing.T) {
	long := strings.Repeat("bad", 14000)
	for phase, program := range phases {
		for what, r := range map[string]rec{
			"key and value that serdes refuse": {Key: long[:30000], Value: long},
			"key that is too long":             {Key: long, Value: "v"},
			"value that is too large":          {Key: "k", Value: strings.Repeat(long, 30)},
		} {
			t.Run(phase+"/"+what, func(t *testing.T) {
				f := &flaky{}
				if strings.Contains(what, "refuse") {
					f.left = -1
				}
				b := stream.NewBuilder(stream.Middleware(f.around))
				if s := program(b, f); s != (words{}) {
					stream.To(s.WithSerdes(serde.String, serde.String), out)
				}
				d := driven(t, b, failure.Stop())
				r.Time = time.UnixMilli(1000)
				err := testdriver.Input(d, plain).SendErr(r)
				if f.left < 0 {
					require.Error(t, err)
				}
				if err != nil {
					assert.Less(t, len(err.Error()), 1500, "%.3000s", err.Error())
				}
			})
		}
	}
}

// A row that cannot be stored and a record that cannot be encoded for an internal topic are
// failures to produce, in tables and joins alike: OnProduceError decides about them, not
// OnProcessError.
func TestPhases_StoresOfTablesAndJoinsAreProduce(t *testing.T) {
	for _, phase := range []string{
		"value of a table's row", "value of a version", "reduce", "cogroup", "reduce of rows", "tumbling window", "session", "suppression",
		"join of streams", "buffer of a join", "left row of a foreign-key join",
	} {
		t.Run(phase, func(t *testing.T) {
			b := stream.NewBuilder()
			stream.To(phases[phase](b, &flaky{left: -1}).WithSerdes(serde.String, serde.String), out)
			top, err := b.Build()
			require.NoError(t, err)
			d := testdriver.New(t, top, testdriver.OnProcessError(failure.Stop()), testdriver.OnProduceError(failure.Skip()))
			in := testdriver.Input(d, plain)
			for i, k := range []string{"a", "bad", "c"} {
				in.SendRecord(rec{Key: k, Value: k, Time: time.UnixMilli(int64(i+1) * 1000)})
			}
			assert.Equal(t, map[string]int{graph.ProduceSkipped: 1}, d.Dropped())
		})
	}
}
