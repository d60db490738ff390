package app_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// ticking copies "in" to "out", and counts its calls by the wall clock, one a second.
func ticking(t *testing.T, ticks *atomic.Int64) *topology.Topology {
	b := stream.NewBuilder()
	s := stream.Process(stream.From(b, in), "tick", func(c *stream.Context[string, string]) (func(rec) error, error) {
		c.EveryWallClock(time.Second, func(time.Time) error { ticks.Add(1); return nil })
		return func(r rec) error { c.Forward(r); return nil }, nil
	})
	stream.To(s, out)
	return build(t, b)
}

// A paused App fetches nothing, processes nothing and commits what it had done, for as long as it likes, and goes on where it was.
func TestPause_ProcessesNothing(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		var ticks, fetches atomic.Int64
		b.Cluster().ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			fetches.Add(1)
			return nil, nil, false
		})
		cfg.CommitInterval, cfg.MaxProcessingTime = 3*time.Second, 30*time.Second
		log := logTo(&cfg)
		m := start(t, ticking(t, &ticks), cfg)
		write(t, b, "in", 0, 10)
		await(t, b, "out", 10)
		m.Pause()
		m.Pause() // no change
		assert.True(t, m.Paused())
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 10, committed(t, b, "app", "in"), "what was processed is committed")
		assert.Equal(t, 2, m.Stats().PausedTasks)
		write(t, b, "in", 10, 10)
		fetched, ticked := fetches.Load(), ticks.Load()
		time.Sleep(2 * time.Minute) // longer than a session, Config.MaxProcessingTime and a transaction
		assert.Equal(t, fetched, fetches.Load())
		assert.Equal(t, ticked, ticks.Load())
		assert.EqualValues(t, 10, m.Stats().RecordsIn)
		minutes := log.lines("the last minute")
		require.NotEmpty(t, minutes)
		assert.Contains(t, minutes[len(minutes)-1], " tasks=2 paused=2 records_in=0 ")
		require.NoError(t, m.Ready())
		require.NoError(t, m.Live())
		assert.Equal(t, millstream.Running, m.State())
		for _, task := range m.Tasks() {
			assert.True(t, task.Running && task.Paused, task.ID)
		}
		m.Resume()
		resumed := time.Now()
		assert.False(t, m.Paused())
		await(t, b, "out", 20)
		assert.Zero(t, m.Stats().PausedTasks)
		// Two tasks, each once a second and once at first. How long the reader of "out" takes is not the App's matter.
		most := 2 * (int64(time.Since(resumed)/time.Second) + 2)
		assert.LessOrEqual(t, ticks.Load(), ticked+most, "calls that were missed are not made up for")
		time.Sleep(5 * time.Second)
		m.stop()
		assert.EqualValues(t, 20, committed(t, b, "app", "in"))
		assert.GreaterOrEqual(t, ticks.Load(), ticked+8)
		assert.Len(t, log.lines("millstream: paused"), 1)
		assert.Len(t, log.lines("millstream: resumed"), 1)
	})
}

// A paused App can be stopped, before and after Run begins, and its tasks go to a member that is not paused.
func TestPause_HoldsThroughRebalances(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		var ticks atomic.Int64
		top := ticking(t, &ticks)
		paused, err := millstream.New(top, cfg)
		require.NoError(t, err)
		paused.Pause()
		write(t, b, "in", 0, 10)
		first := run(t, paused)
		time.Sleep(20 * time.Second)
		assert.Equal(t, 2, paused.Stats().PausedTasks, "tasks that arrive are paused")
		assert.Zero(t, paused.Stats().RecordsIn+ticks.Load())
		cfg.StateDir = t.TempDir()
		second := start(t, top, cfg)
		time.Sleep(20 * time.Second)
		assert.Equal(t, 1, paused.Stats().PausedTasks)
		assert.Zero(t, paused.Stats().RecordsIn)
		moved := second.Stats().RecordsIn
		assert.Positive(t, moved, "the other member is not paused")
		second.stop()
		time.Sleep(20 * time.Second)
		assert.Equal(t, 2, paused.Stats().PausedTasks, "and so is the one that comes back")
		assert.EqualValues(t, moved, committed(t, b, "app", "in"))
		first.stop()
		third := start(t, top, cfg)
		await(t, b, "out", 10)
		third.stop()
	})
}

// run runs an App that is there already.
func run(t *testing.T, app *millstream.App) *member {
	m := &member{App: app, t: t, done: make(chan error, 1)}
	var ctx ctx
	ctx, m.cancel = withCancel(t)
	go func() { m.done <- app.Run(ctx) }()
	return m
}

// RunToEnd waits for Resume.
func TestPause_RunToEnd(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		var ticks atomic.Int64
		app, err := millstream.New(ticking(t, &ticks), cfg)
		require.NoError(t, err)
		app.Pause()
		write(t, b, "in", 0, 10)
		time.AfterFunc(time.Minute, app.Resume)
		began := time.Now()
		require.NoError(t, app.RunToEnd(t.Context()))
		assert.InDelta(t, time.Minute, time.Since(began), float64(5*time.Second))
		assert.EqualValues(t, 10, committed(t, b, "app", "in"))
	})
}

// A part of the topology is paused, and the rest goes on.
func TestPause_Subtopologies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		log := logTo(&cfg)
		top, _ := counting(t)
		m := start(t, top, cfg)
		write(t, b, "in", 0, 10)
		await(t, b, "counts", 10)
		require.NoError(t, m.PauseSubtopologies(1))
		assert.False(t, m.Paused())
		time.Sleep(time.Second)
		write(t, b, "in", 10, 10)
		time.Sleep(time.Minute)
		assert.Equal(t, 2, m.Stats().PausedTasks)
		assert.EqualValues(t, 20, committed(t, b, "app", "in"), "the other sub-topology goes on")
		assert.Len(t, latest(t, b, "counts"), 10)
		// Both pauses count, and each ends by itself.
		m.Pause()
		time.Sleep(time.Second)
		assert.Equal(t, 4, m.Stats().PausedTasks)
		require.NoError(t, m.ResumeSubtopologies(1))
		time.Sleep(time.Second)
		assert.Equal(t, 4, m.Stats().PausedTasks)
		assert.Contains(t, log.lines("resumed")[0], `subtopologies=[1] still_paused="all, by App.Pause"`)
		require.NoError(t, m.PauseSubtopologies(0, 1))
		m.Resume()
		assert.Contains(t, log.lines("resumed")[1], `still_paused="[0 1]"`)
		time.Sleep(time.Second)
		assert.Equal(t, 4, m.Stats().PausedTasks)
		require.NoError(t, m.ResumeSubtopologies(1))
		assert.Contains(t, log.lines("resumed")[2], "subtopologies=[1] still_paused=[0]")
		require.NoError(t, m.ResumeSubtopologies(0))
		assert.NotContains(t, log.lines("resumed")[3], "still_paused")
		await(t, b, "counts", 20)
		assert.Zero(t, m.Stats().PausedTasks)

		require.EqualError(t, m.PauseSubtopologies(0, 2), "millstream: there is no sub-topology 2: "+
			"those of this topology have the numbers 0 to 1, see Topology.Describe")
		require.Error(t, m.ResumeSubtopologies(-1))
		time.Sleep(time.Second)
		assert.Zero(t, m.Stats().PausedTasks, "a mistake pauses nothing")
		m.stop()
	})
}

func TestPause_GlobalStoresFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		top, ref := globalJoin(t)
		app, err := millstream.New(top, config(t, b))
		require.NoError(t, err)
		app.Pause()
		m := run(t, app)
		writeRows(t, b, 10, 1)
		time.Sleep(10 * time.Second)
		row, ok, err := ref.In(app).Get("v3")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, "r3.1", row)
		for _, sub := range top.Subtopologies() {
			if sub.Global {
				require.ErrorContains(t, app.PauseSubtopologies(sub.ID), "is that of a global store, which has no tasks and cannot be paused")
			}
		}
		m.stop()
	})
}

// What was written during a pause is not too late after it: the task looks where its inputs end before it goes on.
func TestPause_OrderAcrossTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("rows", 1))
		var app *millstream.App
		var seen []string
		builder := stream.NewBuilder()
		stream.ForEach(stream.Merge(stream.From(builder, in), stream.From(builder, rows)), func(r rec) {
			switch r.Value {
			case "slow": // so that a round is of one record
				time.Sleep(100 * time.Millisecond)
				return
			case "a1":
				app.Pause()
			}
			seen = append(seen, r.Value)
		})
		base := time.Now()
		produce := func(topic, value string, at time.Duration) {
			require.NoError(t, b.Produce(t.Context(), topic, broker.Record{Value: []byte(value), Time: base.Add(at)}))
		}
		for range 40 {
			produce("in", "slow", 0)
		}
		produce("in", "a1", time.Second)
		produce("in", "a3", 3*time.Second)
		var err error
		app, err = millstream.New(build(t, builder), config(t, b))
		require.NoError(t, err)
		m := run(t, app)
		time.Sleep(20 * time.Second)
		assert.Equal(t, 1, m.Stats().PausedTasks)
		assert.EqualValues(t, 41, m.Stats().RecordsIn)
		produce("rows", "b2", 2*time.Second)
		time.Sleep(5 * time.Second)
		m.Resume()
		time.Sleep(10 * time.Second)
		m.stop()
		assert.Equal(t, "a1 b2 a3", strings.Join(seen, " "))
	})
}
