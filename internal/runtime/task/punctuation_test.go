package task_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/processor"
	"github.com/millstream-go/millstream/topology"
)

// ticks is a step that records the calls of a punctuation.
func ticks(kind graph.Clock, every time.Duration, calls *[]int64) func(*graph.Node, graph.Env, outlet) outlet {
	return func(n *graph.Node, env graph.Env, out outlet) outlet {
		env.Schedule(n, kind, every, func(now int64) error {
			*calls = append(*calls, now)
			return out(rec{Key: "tick", Value: fmt.Sprint(env.Current() == nil), Time: time.UnixMilli(env.RecordTime())})
		})
		return out
	}
}

// What Kafka Streams does with an interval of 10: it fires at 3, 12, 55 and 60.
func TestPunctuation_StreamTimeGridBeginsAtZero(t *testing.T) {
	var calls []int64
	r := startGraph(t, graphWith(t, ticks(graph.StreamTime, 10*time.Millisecond, &calls)))
	require.NoError(t, r.PunctuateStreamTime())
	r.now = time.UnixMilli(1000)
	require.NoError(t, r.Punctuate())
	assert.Empty(t, calls, "stream time is not known, and wall clock is another clock")
	r.run(t, batch("in", 0, "a=@3"))
	assert.Equal(t, []string{"out[0] a=@3", "out[0] tick=true@3"}, r.out.drain(), "after the record, with its time")
	r.run(t, batch("in", 1, "a=@9", "a=@12", "a=@12", "a=@55", "a=@40", "a=@59", "a=@60"))
	assert.Equal(t, []int64{3, 12, 55, 60}, calls)
}

// What Kafka Streams does when 35 ms pass after the call at 10: one call at 45, and the grid stays.
func TestPunctuation_WallClockGridBeginsAtSchedule(t *testing.T) {
	var calls []int64
	r := startGraph(t, graphWith(t, ticks(graph.WallClock, 10*time.Millisecond, &calls)))
	for _, now := range []int64{0, 9, 10, 45, 49, 50, 50, 60} {
		r.now = time.UnixMilli(now)
		require.NoError(t, r.Punctuate())
	}
	assert.Equal(t, []int64{10, 45, 50, 60}, calls)
	at, ok := r.NextWake()
	assert.True(t, ok)
	assert.Equal(t, time.UnixMilli(70), at)
	r.run(t, batch("in", 0, "a=@1000"))
	assert.Len(t, calls, 4, "records are another clock")
}

func TestPunctuation_Stop(t *testing.T) {
	calls := 0
	var stop [3]func()
	r := startGraph(t, graphWith(t, func(n *graph.Node, env graph.Env, out outlet) outlet {
		for i := range stop {
			stop[i] = env.Schedule(n, graph.WallClock, 10*time.Millisecond, func(int64) error {
				calls++
				stop[1]() // itself, or another one that is due
				return nil
			})
		}
		return out
	}))
	stop[2]()
	r.now = time.UnixMilli(10)
	require.NoError(t, r.Punctuate())
	assert.Equal(t, 1, calls)
	stop[0]()
	stop[0]()
	_, ok := r.NextWake()
	assert.False(t, ok)
}

func TestPunctuation_Failure(t *testing.T) {
	g := graphWith(t, func(n *graph.Node, env graph.Env, out outlet) outlet {
		c := &topology.Task{}
		(*processor.Task)(c).Init(env, n)
		c.EveryWallClock(time.Second, func(time.Time) error { return errors.New("no luck") })
		return out
	})
	r := startGraph(t, g)
	r.now = time.UnixMilli(1000)
	assert.EqualError(t, r.Punctuate(), `task 0_0, map-values "step" (main.go:31): no luck`)

	step(g).Policy = failure.Skip()
	r = startGraph(t, g)
	r.now = time.UnixMilli(1000)
	require.NoError(t, r.Punctuate())
	assert.Equal(t, map[string]int64{graph.ProcessSkipped: 1}, r.drops)

	// A fatal error, of a store say, is not asked about.
	step(g).Wire = func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		env.Schedule(n, graph.WallClock, time.Second, func(int64) error { return errors.New("disk on fire") })
		return outs[0], nil
	}
	r = startGraph(t, g)
	r.now = time.UnixMilli(1000)
	assert.ErrorContains(t, r.Punctuate(), "disk on fire")
}
