package app_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// observed counts "in" by key, behind a repartition topic, and joins it with a global table.
func observed(t *testing.T) *topology.Topology {
	b := stream.NewBuilder(stream.Serdes(&serde.Registry{Fallback: serde.JSONCodec}))
	names := table.Global(b, stream.NewTopic("names", serde.String, serde.String), "names")
	s := stream.Filter(stream.From(b, in), func(_, v string) bool { return v != "drop" }).Named("wanted")
	s = join.StreamGlobalLeft(s, names, func(r rec) (string, bool) { return r.Key, true },
		func(v, _ string, _ bool) string { return v })
	perValue := table.Count(stream.GroupBy(s, func(_, v string) string { return v }), "counts")
	stream.To(table.ToStream(perValue), counts)
	return build(t, b)
}

func step(t *testing.T, s millstream.Snapshot, name string) millstream.Step {
	for _, x := range s.Steps {
		if x.Name == name {
			return x
		}
	}
	require.Fail(t, "no such step", "%s in %v", name, s.Steps)
	return millstream.Step{}
}

// inputSum adds up a figure of the input partitions of a topic.
func inputSum(s millstream.Snapshot, topic string, of func(millstream.Partition) int64) (n int64) {
	for _, p := range s.Partitions {
		if p.Topic == topic {
			n += of(p)
		}
	}
	return n
}

// A snapshot shows what every part of an App does: before, during and after Run.
func TestSnapshot(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		require.NoError(t, b.CreateTopic("names", 1))
		var mu sync.Mutex
		var rebalances []millstream.RebalanceInfo
		cfg.Events.Rebalance = func(r millstream.RebalanceInfo) {
			mu.Lock()
			defer mu.Unlock()
			rebalances = append(rebalances, r)
		}
		app, err := millstream.New(observed(t), cfg)
		require.NoError(t, err)
		before := app.Snapshot()
		assert.Equal(t, millstream.Created, before.State)
		assert.Empty(t, before.Tasks)
		assert.EqualValues(t, -1, before.Generation)
		assert.Equal(t, "millstream: created", before.NotReady)
		assert.Zero(t, step(t, before, "wanted").Records)

		write(t, b, "names", 0, 5)
		records := make([]broker.Record, 100)
		for i := range records {
			value := fmt.Appendf(nil, "v%d", i%10)
			if i%4 == 0 {
				value = []byte("drop")
			}
			records[i] = broker.Record{Partition: broker.ByKey, Key: fmt.Appendf(nil, "k%d", i), Value: value}
		}
		require.NoError(t, b.Produce(t.Context(), "in", records...))
		m := run(t, app)
		await(t, b, "counts", 75)
		time.Sleep(5 * time.Second)
		m.Snapshot() // has the members looked up
		time.Sleep(time.Second)
		s := m.Snapshot()
		assert.Equal(t, millstream.Running, s.State)
		assert.Empty(t, s.NotReady)
		assert.True(t, s.Leader)
		require.Len(t, s.Instances, 1)
		assert.Equal(t, s.Member, s.Instances[0].Member)
		assert.Len(t, s.Instances[0].Process, 32)

		require.Len(t, s.Tasks, len(m.Tasks()))
		var ids []string
		for _, task := range s.Tasks {
			ids = append(ids, task.ID)
			assert.Equal(t, millstream.TaskRunning, task.Phase)
			assert.Equal(t, fmt.Sprintf("%d_%d", task.Subtopology, task.Partition), task.ID)
			assert.False(t, task.StreamTime.IsZero(), task.ID)
		}
		assert.ElementsMatch(t, ids, s.Instances[0].Tasks)

		committedOf := func(p millstream.Partition) int64 { return p.Committed }
		assert.EqualValues(t, 100, inputSum(s, "in", committedOf))
		assert.EqualValues(t, 100, inputSum(s, "in", func(p millstream.Partition) int64 { return p.Position }))
		assert.EqualValues(t, 100, inputSum(s, "in", func(p millstream.Partition) int64 { return p.End }))
		assert.Zero(t, inputSum(s, "in", millstream.Partition.Lag))
		assert.Zero(t, inputSum(s, "app-counts-repartition", millstream.Partition.Lag))
		assert.EqualValues(t, 5, inputSum(s, "names", func(p millstream.Partition) int64 { return p.End }))

		assert.EqualValues(t, 100, step(t, s, "wanted").Records)
		assert.EqualValues(t, 75, step(t, s, "counts").Records)
		rows := int64(0)
		for _, st := range s.Stores {
			switch st.Name {
			case "counts":
				assert.Equal(t, millstream.StoreActive, st.Role)
				assert.Equal(t, "key-value", st.Kind)
				assert.Equal(t, "app-counts-changelog", st.Changelog)
				assert.Equal(t, st.Position, st.ChangelogEnd)
				assert.Positive(t, st.MemoryBytes)
				rows += st.Rows
			case "names":
				assert.Equal(t, millstream.StoreGlobal, st.Role)
				assert.EqualValues(t, 5, st.Rows)
				assert.Empty(t, st.Task)
			}
			assert.Nil(t, st.Restore)
		}
		assert.EqualValues(t, 10, rows)

		latency := int64(0)
		for _, sub := range s.Subtopologies {
			latency += sub.Latency.Count()
			assert.Equal(t, sub.Latency.Count(), sub.Late.Count())
		}
		// Stats do not count what a global store is restored from.
		assert.EqualValues(t, s.Stats.RecordsIn+5, latency, "each record counts once, in the sample of its sixteen")
		assert.Equal(t, s.Stats.Commits, s.Commits.Took.Count())
		assert.Zero(t, s.Commits.Failed)

		mu.Lock()
		require.NotEmpty(t, rebalances)
		assert.Equal(t, rebalances[len(rebalances)-1], s.Rebalances.Last)
		assert.EqualValues(t, len(rebalances), s.Rebalances.Took.Count())
		mu.Unlock()
		assert.EqualValues(t, 1, s.Rebalances.Count["start"])
		assert.EqualValues(t, len(s.Tasks), s.Rebalances.Waited.Count())

		m.stop()
		after := m.Snapshot()
		assert.Equal(t, millstream.Stopped, after.State)
		assert.Empty(t, after.Tasks)
		assert.Empty(t, after.Partitions)
		assert.EqualValues(t, 100, step(t, after, "wanted").Records, "what was counted stays")
		assert.EqualValues(t, 75, step(t, after, "counts").Records)
	})
}

// What is told of a task goes with it, while counts stay.
func TestSnapshot_TasksThatMove(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		require.NoError(t, b.CreateTopic("names", 1))
		write(t, b, "in", 0, 50)
		first := start(t, observed(t), cfg)
		await(t, b, "counts", 50)
		time.Sleep(2 * time.Second)
		counted := step(t, first.Snapshot(), "wanted").Records
		assert.EqualValues(t, 50, counted)
		cfg.StateDir = t.TempDir()
		second := start(t, observed(t), cfg)
		time.Sleep(30 * time.Second)
		a, c := first.Snapshot(), second.Snapshot()
		seen := map[string]bool{}
		for _, s := range []millstream.Snapshot{a, c} {
			for _, task := range s.Tasks {
				assert.False(t, seen[task.ID], "task %s is shown by both", task.ID)
				seen[task.ID] = true
			}
			for _, p := range s.Partitions {
				assert.True(t, p.Task == "" || seen[p.Task], "a partition of task %s, which is not here", p.Task)
			}
		}
		assert.Len(t, seen, 4)
		assert.Equal(t, counted, step(t, a, "wanted").Records)
		time.Sleep(15 * time.Second) // what was known of the members is looked up again after a rebalance
		first.Snapshot()
		time.Sleep(time.Second)
		assert.Len(t, first.Snapshot().Instances, 2)
		second.stop()
		first.stop()
	})
}

// While an App works off a backlog, a snapshot says how old the record is that comes next, and how many wait.
func TestSnapshot_AgeOfABacklog(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		builder := stream.NewBuilder()
		stream.To(stream.MapValues(stream.From(builder, in), func(v string) string {
			time.Sleep(100 * time.Millisecond)
			return v
		}), out)
		began := time.Now()
		records := make([]broker.Record, 100)
		for i := range records {
			records[i] = broker.Record{Value: []byte("v"), Time: began.Add(time.Duration(i)*time.Second - time.Hour)}
		}
		require.NoError(t, b.Produce(t.Context(), "in", records...))
		m := start(t, build(t, builder), cfg)
		time.Sleep(5 * time.Second)
		s := m.Snapshot()
		seen := false
		for _, p := range s.Partitions {
			if p.Partition != 0 {
				assert.Zero(t, p.Oldest, "nothing waits")
				continue
			}
			seen = true
			require.Positive(t, p.Position)
			assert.EqualValues(t, 100-p.Position, p.Lag())
			assert.EqualValues(t, 100-p.Position, p.Queued)
			assert.Equal(t, records[p.Position].Time.UnixMilli(), p.Oldest.UnixMilli())
			assert.Equal(t, s.At.Sub(p.Oldest), p.LagTime(s.At))
		}
		assert.True(t, seen)
		await(t, b, "out", 100)
		time.Sleep(2 * time.Second)
		for _, p := range m.Snapshot().Partitions {
			assert.Zero(t, p.LagTime(time.Now()), p.Topic)
		}
		m.stop()
	})
}

// While the coordinator does not answer, the members are shown as they were known last.
func TestSnapshot_MembersWhileNobodyAnswers(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		m := start(t, upper(t), cfg)
		time.Sleep(5 * time.Second)
		m.Snapshot()
		time.Sleep(time.Second)
		require.Len(t, m.Snapshot().Instances, 1)
		asked := 0
		b.Cluster().ControlKey(int16(kmsg.DescribeGroups), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			asked++
			resp := r.ResponseKind().(*kmsg.DescribeGroupsResponse)
			group := kmsg.NewDescribeGroupsResponseGroup()
			group.Group, group.ErrorCode = "app", kerr.CoordinatorLoadInProgress.Code
			resp.Groups = append(resp.Groups, group)
			return resp, nil, true
		})
		time.Sleep(15 * time.Second)
		m.Snapshot()
		time.Sleep(15 * time.Second)
		assert.Len(t, m.Snapshot().Instances, 1)
		m.stop()
		assert.Positive(t, asked)
	})
}

// What a paused App does not process is its lag, although nothing is fetched.
func TestSnapshot_LagOfPausedTasks(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		write(t, b, "in", 0, 20)
		m := start(t, upper(t), cfg)
		await(t, b, "out", 20)
		m.Pause()
		time.Sleep(2 * time.Second)
		write(t, b, "in", 20, 30)
		m.Snapshot()
		time.Sleep(time.Second) // while the ends are looked up
		s := m.Snapshot()
		assert.EqualValues(t, 30, inputSum(s, "in", millstream.Partition.Lag))
		assert.EqualValues(t, 20, inputSum(s, "in", func(p millstream.Partition) int64 { return p.Committed }))
		for _, task := range s.Tasks {
			assert.True(t, task.Paused)
		}
		m.Resume()
		await(t, b, "out", 50)
		time.Sleep(2 * time.Second)
		assert.Zero(t, inputSum(m.Snapshot(), "in", millstream.Partition.Lag))
		m.stop()
	})
}

// While a store is restored, a snapshot shows how far it is, and what waits for it.
func TestSnapshot_Restore(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		top, _ := counting(t)
		write(t, b, "in", 0, 200)
		first := start(t, top, cfg)
		await(t, b, "counts", 200)
		first.stop()
		cfg.StateDir = t.TempDir()
		seen := make(chan millstream.Snapshot, 1000)
		var app *millstream.App
		cfg.Events.Restore = func(r millstream.RestoreInfo) {
			if r.Done < r.End {
				seen <- app.Snapshot()
			}
		}
		var err error
		app, err = millstream.New(top, cfg)
		require.NoError(t, err)
		second := run(t, app)
		time.Sleep(10 * time.Second)
		second.stop()
		close(seen)
		restores := 0
		for s := range seen {
			for _, st := range s.Stores {
				if st.Restore == nil {
					continue
				}
				restores++
				assert.Equal(t, "counts", st.Name)
				assert.EqualValues(t, -1, st.Rows)
				assert.Positive(t, st.Restore.End)
				for _, task := range s.Tasks {
					if task.ID == st.Task {
						assert.Equal(t, millstream.TaskRestoring, task.Phase)
					}
				}
			}
		}
		assert.Positive(t, restores)
	})
}
