package op_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/topology"
)

// TestABufferTakesNotMuchMoreThanItsBound, however much goes through it: rows of 100 bytes, none of a key that was there before.
func TestABufferTakesNotMuchMoreThanItsBound(t *testing.T) {
	const bound = 8 << 20
	budget := memory.NewBudget(1 << 30)
	e := memory.New(budget)
	defer func() { assert.NoError(t, e.Close(false)) }()
	s, err := op.OpenSuppress("s", e, serde.Serde[string](serde.String), serde.Serde[string](serde.String))
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
			epoch, err := e.Cut(func(store.Change) error { return nil })
			require.NoError(t, err)
			e.Settle(epoch, store.Checkpoint{})
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
