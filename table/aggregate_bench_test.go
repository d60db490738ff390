package table_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

// env is what the nodes of a benchmark see of a task: stores in memory, and nothing else.
type env struct {
	graph.Env
	g      *graph.Graph
	stores map[string]storage.Engine
	time   graph.OperatorTime
}

func newEnv(g *graph.Graph) *env {
	return &env{g: g, stores: map[string]storage.Engine{}, time: graph.OperatorTime{Time: -1}}
}

func (e *env) Store(name string) (storage.Handle, error) {
	s := e.g.Store(name)
	if e.stores[name] == nil {
		var err error
		if e.stores[name], err = segmented.Wrap(s, memtable.New(nil)); err != nil {
			return storage.Handle{}, err
		}
	}
	return segmented.Handle(s, e.stores[name], func() int64 { return 0 })
}

func (e *env) OnCommit(*graph.Node, func() error) func() { return nil }

func (e *env) OperatorTime(*graph.Node) *graph.OperatorTime { return &e.time }

// inlet wires all that follows a node and returns the node's inlet.
func inlet(tb testing.TB, n *graph.Node, e graph.Env) any {
	var outs []any
	for _, p := range n.Ports {
		var next []any
		for _, c := range p.Children {
			next = append(next, inlet(tb, c, e))
		}
		outs = append(outs, p.Broadcast(next))
	}
	in, err := n.Wire(n, e, outs)
	if err != nil {
		tb.Fatal(err)
	}
	return in
}

func counter(tb testing.TB) (wire.Outlet[string, string], []stream.Record[string, string]) {
	b := stream.NewBuilder()
	n := table.Count(stream.GroupByKey(stream.From(b, texts)), "n")
	table.ToStream(table.MapValues(table.Filter(n, func(_ string, n int64) bool { return n > 1 }), func(n int64) int64 { return -n }))
	top, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	records := make([]stream.Record[string, string], 1000)
	for i := range records {
		records[i] = stream.Record[string, string]{Key: fmt.Sprint("key ", i), Value: "v", Time: time.UnixMilli(int64(i))}
	}
	e := newEnv((*graph.Handle)(top).Graph())
	in := inlet(tb, (*graph.Handle)(top).Graph().Nodes[1], e).(wire.Outlet[string, string])
	for _, r := range records {
		if err := in(r); err != nil {
			tb.Fatal(err)
		}
	}
	return in, records
}

// BenchmarkCount is count, filter with old values, mapped values and stream, over 1,000 keys.
func BenchmarkCount(b *testing.B) {
	in, records := counter(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := in(records[i%len(records)]); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCount_DoesNotAllocate(t *testing.T) {
	in, records := counter(t)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		_ = in(records[i%len(records)])
	}); n != 0 {
		t.Fatalf("%v allocations a record", n)
	}
}

// windowCounter is a count in tumbling windows, over 1,000 keys, with records that come in the
// order of time.
func windowCounter(tb testing.TB, w window.Any) (in wire.Outlet[string, string], record func(i int) stream.Record[string, string]) {
	b := stream.NewBuilder()
	n := table.CountWindows(stream.GroupByKey(stream.From(b, texts)), w, "n")
	table.ToStream(table.MapValues(n, func(n int64) int64 { return -n }))
	top, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	record = func(i int) stream.Record[string, string] {
		return stream.Record[string, string]{Key: keys[i%len(keys)], Value: "v", Time: time.UnixMilli(int64(i))}
	}
	e := newEnv((*graph.Handle)(top).Graph())
	in = inlet(tb, (*graph.Handle)(top).Graph().Nodes[1], e).(wire.Outlet[string, string])
	for i := range keys {
		if err := in(record(i)); err != nil {
			tb.Fatal(err)
		}
	}
	return in, record
}

// BenchmarkCountWindows counts 1,000 keys; each record is a millisecond after the one before.
func BenchmarkCountWindows(b *testing.B) {
	for _, bb := range []struct {
		name string
		w    window.Any
	}{
		{"tumbling", window.Tumbling(time.Minute)},
		{"tumbling on close", window.Tumbling(time.Minute).OnClose()},
		{"hopping in 4", window.Hopping(time.Minute, 15*time.Second)},
		{"sliding", window.Sliding(2 * time.Second)},
		{"sessions", window.Sessions(time.Minute)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in, record := windowCounter(b, bb.w)
			b.ReportAllocs()
			for i := 1000; b.Loop(); i++ {
				if err := in(record(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCountWindows_DoesNotAllocate(t *testing.T) {
	for name, w := range map[string]window.Any{
		"tumbling": window.Tumbling(time.Hour), "hopping": window.Hopping(time.Hour, 15*time.Minute),
		"on close": window.Tumbling(time.Hour).OnClose(), "unlimited": window.Unlimited(time.UnixMilli(0)),
	} {
		in, record := windowCounter(t, w)
		i := 1000
		if n := testing.AllocsPerRun(1000, func() {
			i++
			_ = in(record(i))
		}); n != 0 {
			t.Errorf("%s: %v allocations a record", name, n)
		}
	}
}
