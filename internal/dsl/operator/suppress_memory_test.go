package operator_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// TestSuppress_MemoryStaysNearItsBound, however much goes through it: rows of 100 bytes, none of a
// key that was there before.
func TestSuppress_MemoryStaysNearItsBound(t *testing.T) {
	const bound = 8 << 20
	budget := memtable.NewBudget(1 << 30)
	e := memtable.New(budget)
	defer func() { assert.NoError(t, e.Close(false)) }()
	s, err := operator.OpenSuppress("s", e, serde.Serde[string](serde.String), serde.Serde[string](serde.String), nil)
	require.NoError(t, err)
	s.Wait, s.MaxBytes = 1<<40, bound
	before, sent, value := heap(), 0, strings.Repeat("v", 100)
	out := func(wire.Change[string, string]) error { sent++; return nil }
	var most int64
	for i := range 200_000 {
		r := topology.Record[string, string]{Key: fmt.Sprintf("key-%016d", i), Value: value, Time: time.UnixMilli(int64(i))}
		if err := s.Change(wire.Change[string, string]{Record: r.From(topology.Source{Topic: "in"})}, int64(i), out); err != nil {
			require.NoError(t, err)
		}
		if i%10_000 == 9_999 {
			epoch, err := e.Cut(func(storage.Change) error { return nil })
			require.NoError(t, err)
			e.Settle(epoch, storage.Checkpoint{})
			most = max(most, budget.Used()+budget.Pinned())
		}
	}
	grown := heap() - before
	t.Logf("%d of 200,000 sent; bound %d MB: the store takes up to %d MB, the order of the keys %d MB", sent, bound>>20, most>>20, grown>>20)
	assert.Positive(t, sent)
	assert.Less(t, most+grown, int64(4*bound))
	runtime.KeepAlive(s)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
