package task_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

func TestDrop_CountedByReason(t *testing.T) {
	r := startGraph(t, graphWith(t, func(n *graph.Node, env graph.Env, out outlet) outlet {
		return func(x rec) error {
			return graph.Do(env, n, graph.Processing, func(x rec) error { return fmt.Errorf("%s: %w", x.Key, failure.Drop("no phone")) }, x)
		}
	}))
	r.run(t, batch("in", 0, "a=1@1", "b=2@2"))
	assert.Equal(t, map[string]int64{"no phone": 2}, r.drops)
	assert.Empty(t, r.failures, "a drop is no failure")
}

func TestStore_OpenedByName(t *testing.T) {
	budget := memtable.NewBudget(1 << 20)
	spec := &graph.Store{Name: "seen", Kind: graph.Plain}
	var missing error
	g := graphWith(t, func(_ *graph.Node, env graph.Env, out outlet) outlet {
		h, err := env.Store("seen")
		require.NoError(t, err)
		_, missing = env.Store("sen")
		assert.True(t, h.Plain)
		return func(r rec) error {
			if err := h.Bytes.Put([]byte(r.Key), []byte(r.Value), h.Time()); err != nil {
				return err
			}
			return out(r)
		}
	}, spec)
	r := startGraph(t, g, func(c *task.Config) {
		c.OpenEngine = func(s *graph.Store) (storage.Engine, error) {
			assert.Equal(t, spec, s)
			return memtable.New(budget), nil
		}
	})
	assert.EqualError(t, missing, `task 0_0 has no store "sen": it has seen`)
	r.run(t, batch("in", 0, "a=1@9"))
	require.Len(t, r.Engines(), 1)
	v, at, ok, err := r.Engines()[0].Get([]byte("a"))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "1", string(v))
	assert.Equal(t, int64(9), at)
	require.NoError(t, r.Engines()[0].Close(false))
}

func TestClose_RunsAllLastFirst(t *testing.T) {
	var order []string
	boom := errors.New("boom")
	g := graphWith(t, func(_ *graph.Node, env graph.Env, out outlet) outlet {
		for _, name := range []string{"first", "second", "third"} {
			env.OnClose(func() error {
				order = append(order, name)
				switch name {
				case "second":
					panic("a panic")
				case "third":
					return boom
				}
				return nil
			})
		}
		return out
	})
	r := startGraph(t, g)
	err := r.Close(true)
	require.ErrorIs(t, err, boom)
	assert.Contains(t, err.Error(), `task 0_0, map-values "step" (main.go:31): close: boom`)
	assert.Contains(t, err.Error(), "panic: a panic")
	assert.Equal(t, []string{"third", "second", "first"}, order)
	_, err = r.Process(1)
	require.ErrorIs(t, err, task.ErrClosed)
	require.NoError(t, r.Close(true), "once")

	order = nil
	assert.NoError(t, startGraph(t, g).Close(false), "what went wrong before is worth more")
	assert.Len(t, order, 3)
}
