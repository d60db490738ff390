package table_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// env is what the nodes of a benchmark see of a task: stores in memory, and nothing else.
type env struct {
	graph.Env
	stores map[string]*memory.Engine
}

func (e *env) Store(name string) (store.Handle, error) {
	if e.stores[name] == nil {
		e.stores[name] = memory.New(nil)
	}
	return store.Handle{Bytes: e.stores[name], Time: func() int64 { return 0 }}, nil
}

// inlet wires all that follows a node and returns the node's inlet.
func inlet(tb testing.TB, n *graph.Node, e graph.Env) any {
	var outs []any
	for _, p := range n.Ports {
		var next []any
		for _, c := range p.Children {
			next = append(next, inlet(tb, c, e))
		}
		outs = append(outs, p.Fan(next))
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
	e := &env{stores: map[string]*memory.Engine{}}
	in := inlet(tb, top.Graph().Nodes[1], e).(wire.Outlet[string, string])
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

func TestCountingDoesNotAllocate(t *testing.T) {
	in, records := counter(t)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		_ = in(records[i%len(records)])
	}); n != 0 {
		t.Fatalf("%v allocations a record", n)
	}
}
