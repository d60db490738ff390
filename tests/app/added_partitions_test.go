package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func whileAdding(t *testing.T, f func(t *testing.T, a adding), topics ...broker.Option) {
	synctest.Test(t, func(t *testing.T) {
		f(t, adding{t, broker.Start(t, append(topics, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))...)})
	})
}

// New partitions of an input are read once their tasks run, whichever member gets them, and those of an output are written to.
func TestAddedPartitions_OfInputsAndOutputs(t *testing.T) {
	whileAdding(t, func(t *testing.T, a adding) {
		members := []*member{start(t, upper(t), config(t, a.b)), start(t, upper(t), config(t, a.b))}
		time.Sleep(10 * time.Second)
		a.each("in", 1, "v")
		a.partitions("in", 6)
		a.partitions("out", 4)
		a.each("in", 6, "v")
		time.Sleep(3 * time.Minute)
		a.has("out", 7, "records of six partitions")
		assert.Len(t, append(members[0].Tasks(), members[1].Tasks()...), 6)
		write(t, a.b, "in", 100, 100)
		time.Sleep(time.Minute)
		all, err := a.b.Read(t.Context(), "out")
		require.NoError(t, err)
		require.Len(t, all, 107)
		written := map[int32]bool{}
		for _, r := range all {
			written[r.Partition] = true
		}
		assert.Len(t, written, 4, "partitions of the output that are written to")
		for _, m := range members {
			assert.NoError(t, m.Ready())
			m.stop()
		}
	})
}

// One topic of a merge grows, and a repartition topic follows it that does not: all is read, and state stays where it was.
func TestAddedPartitions_BehindMergeAndRepartition(t *testing.T) {
	whileAdding(t, func(t *testing.T, a adding) {
		b := stream.NewBuilder()
		both := stream.Merge(stream.From(b, in), stream.From(b, stream.NewTopic("more", serde.String, serde.String)))
		byValue := stream.GroupBy(both, func(_, v string) string { return v })
		n := table.Count(byValue, "counts")
		stream.To(table.ToStream(n), counts)
		top := build(t, b)
		cfg := config(t, a.b)
		m := start(t, top, cfg)
		time.Sleep(10 * time.Second)
		a.each("in", 1, "v")
		a.partitions("more", 5)
		time.Sleep(3 * time.Minute)
		a.each("more", 5, "v")
		a.each("in", 1, "v")
		time.Sleep(10 * time.Second)
		sum, _, err := n.Store().In(m).Get("v")
		require.NoError(t, err)
		assert.EqualValues(t, 7, sum)
		assert.NoError(t, m.Ready())
		m.stop()

		m = start(t, top, cfg) // a start finds the same topics right
		time.Sleep(10 * time.Second)
		assert.NoError(t, m.Ready())
		assert.Len(t, m.Tasks(), 5+2)
		m.stop()
	}, broker.Topic("more", 2), broker.Topic("counts", 1))
}

// One topic of a join grows: the App goes on with the partitions that both have, says why, and reads the rest once the other has as many.
func TestAddedPartitions_OfJoinWaitForOtherTopic(t *testing.T) {
	whileAdding(t, func(t *testing.T, a adding) {
		b := stream.NewBuilder()
		tab := table.From(b, rows, "rows", store.SourceIsChangelog())
		stream.To(join.StreamTable(stream.From(b, in), tab, "join", func(v, row string) string { return v + row }), out)
		m := start(t, build(t, b), config(t, a.b))
		time.Sleep(10 * time.Second)
		a.each("rows", 1, "r")
		time.Sleep(time.Second) // a join does not wait for rows that were written at the same time
		a.partitions("in", 3)
		a.each("in", 3, "v")
		time.Sleep(5 * time.Minute)
		a.has("out", 1, "of the partition that both have")
		assert.Equal(t, millstream.Running, m.State())
		require.Error(t, m.Ready())
		assert.Contains(t, m.Ready().Error(), `topic "in" has 3 partitions and topic "rows" has 1`)

		second := start(t, build(t, b), config(t, a.b)) // what starts now says at once what is wrong
		err := <-second.done
		assert.ErrorContains(t, err, `topic "in" has 3 partitions and topic "rows" has 1`)
		assert.ErrorContains(t, err, "to the count of the changelogs of their stores")

		a.partitions("rows", 3)
		time.Sleep(3 * time.Minute)
		assert.NoError(t, m.Ready())
		a.each("rows", 3, "r")
		time.Sleep(time.Second)
		a.each("in", 3, "v")
		time.Sleep(10 * time.Second)
		a.has("out", 1+3, "of three partitions")
		assert.Len(t, m.Tasks(), 3)
		m.stop()
	}, broker.Topic("rows", 1, compacted))
}

// The rows of a store are placed by the partitions of its input. When those grow, the rows cannot follow: the App says what to do, and
// goes on with the partitions that it has; once the changelog has more, so does a leader that joins meanwhile.
func TestAddedPartitions_OfInputWithState(t *testing.T) {
	whileAdding(t, func(t *testing.T, a adding) {
		members := []*member{start(t, simple(t), config(t, a.b)), start(t, simple(t), config(t, a.b))}
		time.Sleep(10 * time.Second)
		a.partitions("in", 3)
		a.each("in", 3, "v")
		time.Sleep(3 * time.Minute)
		a.has("counts", 1, "of the partition whose rows are here")
		var ready []error
		for _, m := range members {
			assert.Equal(t, millstream.Running, m.State())
			if err := m.Ready(); err != nil {
				ready = append(ready, err)
			}
		}
		require.Len(t, ready, 1, "the leader says so")
		assert.Contains(t, ready[0].Error(), `changelog "app-counts-changelog" has 1 partitions, but an input of its store now has 3`)
		assert.Contains(t, ready[0].Error(), "Repartition with 1 partitions")

		// A rebalance, with another leader or not, does not bring the others down.
		leader := 0
		if members[1].Ready() != nil {
			leader = 1
		}
		members[leader].stop()
		other := members[1-leader]
		time.Sleep(time.Minute)
		assert.Len(t, other.Tasks(), 1)
		assert.ErrorContains(t, other.Ready(), "app-counts-changelog")

		a.partitions("app-counts-changelog", 3)
		time.Sleep(3 * time.Minute)
		assert.NoError(t, other.Ready())
		a.has("counts", 3, "of three partitions")
		other.stop()
	}, broker.Topic("counts", 1))
}

// Partitions that are new to a group which reads the topic already are read from their start, also where a first start skips what is
// there: whether they are found by an App that runs or by one that starts.
func TestAddedPartitions_AreReadFromTheirStart(t *testing.T) {
	whileAdding(t, func(t *testing.T, a adding) {
		a.each("in", 1, "before the first start")
		cfg := config(t, a.b)
		m := start(t, latestOnly(t), cfg)
		time.Sleep(10 * time.Second)
		a.has("out", 0, "what was there is skipped")
		a.partitions("in", 2)
		a.each("in", 2, "v")
		time.Sleep(3 * time.Minute)
		a.has("out", 2, "one of each partition")
		m.stop()

		a.partitions("in", 3)
		a.each("in", 3, "v")
		m = start(t, latestOnly(t), cfg)
		m.stopAfter(10 * time.Second)
		a.has("out", 5, "one more of each partition")
	})
}
