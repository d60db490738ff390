package app_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestRestore_CountsSurviveRestarts(t *testing.T) {
	for name, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, 2))
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
				top, _ := counting(t, opts...)
				cfg := config(t, b)
				sum := map[string]int64{}
				for round := range 4 {
					if round == 2 {
						cfg.StateDir = t.TempDir() // another machine
					}
					writeWords(t, b, r, 500, sum)
					app := runToEnd(t, top, cfg)
					require.Equal(t, sum, latest(t, b, "counts"), "round %d", round)
					restored := app.Stats().Restored
					if name == "on disk" && round%2 == 1 {
						assert.Zero(t, restored, "round %d: the state was there", round)
					} else if round > 0 {
						assert.Positive(t, restored, "round %d: the state was not there", round)
					}
				}
			})
		})
	}
}

func TestRestore_ChangelogOfKafkaStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		at := time.UnixMilli(1_234_567)
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: 1, Key: []byte("k"), Value: []byte("v"), Time: at}))
		runToEnd(t, simple(t), config(t, b))
		rs, err := b.Read(t.Context(), "app-counts-changelog")
		require.NoError(t, err)
		require.Len(t, rs, 1)
		assert.EqualValues(t, 1, rs[0].Partition, "the task's partition, whatever the key hashes to")
		assert.Equal(t, "k", string(rs[0].Key))
		assert.Equal(t, []byte{0, 0, 0, 0, 0, 0, 0, 1}, rs[0].Value)
		assert.Equal(t, at.UnixMilli(), rs[0].Time.UnixMilli())
	})
}

// crashAt counts words, with a crash at a point on the way and another start after it. It returns the id of the application, how often each
// word was written, and how often the store has counted it.
func crashAt(t *testing.T, b *broker.Broker, cfg millstream.Config, p crashpoint.Point) (application string, sum, got map[string]int64) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(p), 7))
	top, ref := counting(t)
	cfg.CommitInterval = 5 * time.Millisecond
	sum, got = map[string]int64{}, map[string]int64{}
	writeWords(t, b, r, 300, sum)
	runToEnd(t, top, cfg)
	nth := 1
	switch p {
	case crashpoint.RestoreHalf, crashpoint.RestoreDone:
		cfg.StateDir = t.TempDir()
	case crashpoint.StartPositions, crashpoint.StartPositionsCommitted:
		cfg.ApplicationID = "other" // for which nothing has counted yet
	case crashpoint.TransactionalID:
		// Not while it joins: this broker never forgets a member whose join is under way when it dies.
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, TopLevel: true, Count: 1})
		nth = 1 + cfg.Workers
	}
	writeWords(t, b, r, 300, sum)
	require.True(t, runUntilCrash(t, top, cfg, p, nth), "the point is passed")
	time.Sleep(15 * time.Second) // the session of the dead
	writeWords(t, b, r, 10, sum)
	m := start(t, top, cfg)
	time.Sleep(15 * time.Second)
	for row, err := range ref.In(m).All() {
		require.NoError(t, err)
		got[row.Key] = row.Value
	}
	m.stop()
	return cfg.ApplicationID, sum, got
}

// Whatever the point at which a process dies: after the next start every input counts, the table equals its changelog, and what was not
// settled counts at most three times: sent twice to the repartition topic, and counted twice from there the first time.
func TestRestore_CrashAtEveryPoint(t *testing.T) {
	for _, p := range crashpoint.Points() {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
				application, sum, got := crashAt(t, b, config(t, b), p)
				for w, n := range sum {
					assert.GreaterOrEqual(t, got[w], n, "lost: %s", w)
					assert.LessOrEqual(t, got[w], 3*n, "counted more often than it was delivered: %s", w)
				}
				assert.Equal(t, got, latest(t, b, "counts"), "outputs and table")
				changelog := latest(t, b, application+"-counts-changelog")
				assert.Equal(t, changelog, got, "table and changelog")
			})
		})
	}
}

func TestRestore_StateWithoutOffsetsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		write(t, b, "in", 0, 3)
		cfg := config(t, b)
		runToEnd(t, simple(t), cfg)
		deleteGroup(t, b, "app")
		m := start(t, simple(t), cfg)
		require.ErrorContains(t, <-m.done, `store "counts" has state in app-counts-changelog[0], but group "app" has committed no offset for any input`)
	})
}

func deleteGroup(t *testing.T, b *broker.Broker, group string) {
	t.Helper()
	administer(t, b, func(a kafka.Admin) error { return a.DeleteGroup(t.Context(), group) })
}

// An App that was away for days restores nothing, since nobody has written to its changelogs. With exactly once they end with a marker, behind
// the checkpoint.
func TestRestore_NothingAfterDays(t *testing.T) {
	for _, guarantee := range []millstream.Guarantee{millstream.AtLeastOnce, millstream.ExactlyOnce} {
		t.Run(fmt.Sprint(guarantee), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
				top := simple(t)
				cfg := config(t, b)
				cfg.Guarantee = guarantee
				log := logTo(&cfg)
				sum := map[string]int64{}
				writeWords(t, b, rand.New(rand.NewPCG(1, 2)), 500, sum)
				for range 2 {
					m := start(t, top, cfg)
					time.Sleep(10 * time.Second)
					assert.Zero(t, m.Stats().Restored)
					m.stop()
					time.Sleep(30 * time.Hour)
				}
				assert.Empty(t, log.lines("checkpoint not trusted"))
				assert.Equal(t, sum, latest(t, b, "counts"))
			})
		})
	}
}
