package join_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// env is what the nodes of a benchmark see of a task: one store in memory, and nothing else.
type env struct {
	graph.Env
	rows *memtable.Engine
}

func (e *env) Store(string) (storage.Handle, error) {
	return storage.Handle{Bytes: e.rows, Time: func() int64 { return 0 }}, nil
}

func joiner(tb testing.TB) (wire.Outlet[string, int64], []stream.Record[string, int64]) {
	b := stream.NewBuilder()
	t := table.From(b, stream.NewTopic("prices", serde.String, serde.Int64), "prices")
	join.StreamTable(stream.From(b, orders), t, "j", func(n, price int64) int64 { return n * price })
	top, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	e := &env{rows: memtable.New(nil)}
	records := make([]stream.Record[string, int64], 1000)
	for i := range records {
		k := fmt.Sprint("key ", i)
		records[i] = stream.Record[string, int64]{Key: k, Value: 1, Time: time.UnixMilli(1)}
		if err := e.rows.Put([]byte(k), binary.BigEndian.AppendUint64(nil, 7), 1); err != nil {
			tb.Fatal(err)
		}
	}
	var n *graph.Node
	for _, x := range (*graph.Handle)(top).Graph().Nodes {
		if x.Op == "join" {
			n = x
		}
	}
	in, err := n.Wire(n, e, []any{n.Ports[0].Broadcast(nil)})
	if err != nil {
		tb.Fatal(err)
	}
	return in.(wire.Outlet[string, int64]), records
}

// BenchmarkStreamTable is an inner join with a table of 1,000 rows.
func BenchmarkStreamTable(b *testing.B) {
	in, records := joiner(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := in(records[i%len(records)]); err != nil {
			b.Fatal(err)
		}
	}
}

func TestStreamTable_DoesNotAllocate(t *testing.T) {
	in, records := joiner(t)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		_ = in(records[i%len(records)])
	}); n != 0 {
		t.Fatalf("%v allocations a record", n)
	}
}

func globalJoiner(tb testing.TB) (wire.Outlet[string, int64], []stream.Record[string, int64]) {
	b := stream.NewBuilder()
	t := table.Global(b, stream.NewTopic("prices", serde.String, serde.Int64), "prices")
	join.StreamGlobal(stream.From(b, orders), t, func(r stream.Record[string, int64]) (string, bool) { return r.Key, true },
		func(n, price int64) int64 { return n * price })
	top, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	e := &env{rows: memtable.New(nil)}
	records := make([]stream.Record[string, int64], 1000)
	for i := range records {
		k := fmt.Sprint("key ", i)
		records[i] = stream.Record[string, int64]{Key: k, Value: 1, Time: time.UnixMilli(1)}
		if err := e.rows.Put([]byte(k), binary.BigEndian.AppendUint64(nil, 7), 1); err != nil {
			tb.Fatal(err)
		}
	}
	for _, n := range (*graph.Handle)(top).Graph().Nodes {
		if n.Op == "global-join" {
			in, err := n.Wire(n, e, []any{n.Ports[0].Broadcast(nil)})
			if err != nil {
				tb.Fatal(err)
			}
			return in.(wire.Outlet[string, int64]), records
		}
	}
	panic("there is no join")
}

// BenchmarkStreamGlobal is an inner join with a global table of 1,000 rows, without the lock that
// an App has around it.
func BenchmarkStreamGlobal(b *testing.B) {
	in, records := globalJoiner(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := in(records[i%len(records)]); err != nil {
			b.Fatal(err)
		}
	}
}

func TestStreamGlobal_DoesNotAllocate(t *testing.T) {
	in, records := globalJoiner(t)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		_ = in(records[i%len(records)])
	}); n != 0 {
		t.Fatalf("%v allocations a record", n)
	}
}
