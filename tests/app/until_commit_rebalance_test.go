package app_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// untilCommit counts words in two steps that both hold back until a commit, with a repartition topic between.
func untilCommit(t *testing.T) (*topology.Topology, store.KeyValueRef[string, int64]) {
	b := stream.NewBuilder()
	n := table.Count(stream.GroupByKey(stream.From(b, in)), "words", store.UntilCommit())
	total := table.GroupBy(n, func(w string, n int64) (string, int64, bool) { return w[:1], n, true })
	add := func(_ string, n, sum int64) int64 { return sum + n }
	remove := func(_ string, n, sum int64) int64 { return sum - n }
	sums := table.AggregateRows(total, "totals", table.Zero, add, remove, store.UntilCommit())
	stream.To(table.ToStream(n), counts)
	stream.To(table.ToStream(sums), stream.NewTopic("totals", serde.String, serde.Int64))
	return build(t, b), n.Store()
}

// TestUntilCommit_Rebalance: handing a task over is a commit, which sends everything, and once.
func TestUntilCommit_Rebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4), broker.Topic("totals", 1))
		top, _ := untilCommit(t)
		cfg := config(t, b)
		cfg.CommitInterval = time.Second
		sum, written := map[string]int64{}, int64(0)
		first := start(t, top, cfg)
		feed := func(rounds int) {
			for range rounds {
				writeWords(t, b, r, 100, sum)
				written += 100
				time.Sleep(5 * time.Millisecond) // no idle moment: only the interval commits
			}
		}
		feed(300)
		other := cfg
		other.StateDir = t.TempDir()
		second := start(t, top, other)
		feed(3000)
		assert.NotEmpty(t, second.Tasks())
		first.stop()
		feed(3000)
		time.Sleep(20 * time.Second)
		second.stop()
		assert.Equal(t, sum, latest(t, b, "counts"))
		assert.Equal(t, map[string]int64{"w": written}, latest(t, b, "totals"), "old values are what was sent before")
		out, err := b.Read(t.Context(), "counts")
		require.NoError(t, err)
		assert.Less(t, len(out), int(written/20), "one update for each of 20 keys and a commit")
		seen := map[string]int64{}
		for _, x := range out {
			n, err := serde.Int64.Decode(x.Value)
			require.NoError(t, err)
			assert.Greater(t, n, seen[string(x.Key)], "each update once, and none lost")
			seen[string(x.Key)] = n
		}
	})
}

// TestUntilCommit_SurvivesCrashes at every point of a commit.
func TestUntilCommit_SurvivesCrashes(t *testing.T) {
	for p := crashpoint.CutBegin; p <= crashpoint.SettleDone; p++ {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(p), 9))
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4), broker.Topic("totals", 1))
				top, ref := untilCommit(t)
				cfg := config(t, b)
				cfg.CommitInterval = 5 * time.Millisecond
				sum := map[string]int64{}
				writeWords(t, b, r, 300, sum)
				runToEnd(t, top, cfg)
				require.Equal(t, sum, latest(t, b, "counts"))
				writeWords(t, b, r, 300, sum)
				require.True(t, runUntilCrash(t, top, cfg, p, 1), "the point is passed")
				time.Sleep(15 * time.Second) // the session of the dead
				writeWords(t, b, r, 10, sum)
				m := start(t, top, cfg)
				time.Sleep(15 * time.Second)
				got := map[string]int64{}
				for row, err := range ref.In(m).All() {
					require.NoError(t, err)
					got[row.Key] = row.Value
				}
				m.stop()
				for w, n := range sum {
					assert.GreaterOrEqual(t, got[w], n, "lost: %s", w)
					assert.LessOrEqual(t, got[w], 2*n, "counted more often than it was delivered: %s", w)
				}
				assert.Equal(t, got, latest(t, b, "counts"), "outputs and table")
			})
		})
	}
}
