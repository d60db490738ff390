package join_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// stores is what the nodes of a benchmark see of a task: its stores in memory.
type stores struct {
	graph.Env
	graph *graph.Graph
	open  map[string]storage.Handle
	time  graph.OperatorTime
}

func (s *stores) OperatorTime(*graph.Node) *graph.OperatorTime { return &s.time }

func (s *stores) Drop(*graph.Node, string) {}

func (s *stores) Store(name string) (storage.Handle, error) {
	if h, ok := s.open[name]; ok {
		return h, nil
	}
	spec := s.graph.Store(name)
	e, err := segmented.Wrap(spec, memtable.New(nil))
	if err != nil {
		return storage.Handle{}, err
	}
	h, err := segmented.Handle(spec, e, nil)
	s.open[name] = h
	return h, err
}

type numbers = stream.KStream[string, int64]

// streamStreamTask wires a join of two streams and returns where their records go in.
func streamStreamTask(tb testing.TB, f func(l, r numbers) numbers) (left, right wire.Outlet[string, int64]) {
	b := stream.NewBuilder()
	f(stream.From(b, stream.NewTopic("l", serde.String, serde.Int64)), stream.From(b, stream.NewTopic("r", serde.String, serde.Int64)))
	top, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	e := &stores{graph: (*graph.Handle)(top).Graph(), open: map[string]storage.Handle{}, time: graph.OperatorTime{Time: -1}}
	inlets := map[string]any{}
	nodes := e.graph.Nodes
	for i := range nodes {
		n := nodes[len(nodes)-1-i]
		if n.Kind == graph.Source {
			continue
		}
		var children []any
		for _, c := range n.Ports[0].Children {
			children = append(children, inlets[c.Name])
		}
		if inlets[n.Name], err = n.Wire(n, e, []any{n.Ports[0].Broadcast(children)}); err != nil {
			tb.Fatal(err)
		}
	}
	return inlets["j-join-this"].(wire.Outlet[string, int64]), inlets["j-join-other"].(wire.Outlet[string, int64])
}

func sum(l, r int64) int64 { return l + r }

var hour = window.Within(time.Second).Grace(time.Second)

var windowedJoins = map[string]func(l, r numbers) numbers{
	"inner": func(l, r numbers) numbers { return join.StreamStream(l, r, hour, "j", sum) },
	"left": func(l, r numbers) numbers {
		return join.StreamStreamLeft(l, r, hour, "j", func(l, r int64, ok bool) int64 { return l + r })
	},
	"outer": func(l, r numbers) numbers {
		return join.StreamStreamOuter(l, r, hour, "j", func(l, r join.Maybe[int64]) int64 { return l.V + r.V })
	},
}

// each sends a pair of records: the left one finds no partner, the right one finds it. Every tenth
// right one finds none.
func each(tb testing.TB, f func(l, r numbers) numbers) func(i int) {
	left, right := streamStreamTask(tb, f)
	keys := make([]string, 10000)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	return func(i int) {
		r := stream.Record[string, int64]{Key: keys[i%len(keys)], Value: 1, Time: time.UnixMilli(int64(i))}
		if err := left(r); err != nil {
			tb.Fatal(err)
		}
		if i%10 == 0 {
			r.Key = "nobody's"
		}
		if err := right(r); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkStreamStream is a pair of records, one of each side.
func BenchmarkStreamStream(b *testing.B) {
	for name, f := range windowedJoins {
		b.Run(name, func(b *testing.B) {
			pair := each(b, f)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				pair(i)
			}
		})
	}
}

func TestStreamStream_DoesNotAllocate(t *testing.T) {
	for name, f := range windowedJoins {
		pair := each(t, f)
		for i := range 20000 { // maps and buffers grow
			pair(i)
		}
		i := 20000
		if n := testing.AllocsPerRun(2000, func() { pair(i); i++ }); n != 0 {
			t.Errorf("%s: %v allocations a pair of records", name, n)
		}
	}
}
