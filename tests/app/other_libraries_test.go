package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// The tests of this file are about defects that other libraries for stateful streams in Go have, or had: docs/testing.md says which
// test stands for which defect.

// refusing has the brokers refuse what is written to a partition of out.
func refusing(b *broker.Broker, partition int32) *kfake.FaultHandle {
	return b.Cluster().Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: "out", Partitions: []int32{partition}, Err: kerr.NotEnoughReplicas, Count: -1,
	})
}

// Records that come to nothing are done at once, but what came before them may not be.
func TestOtherLibraries_DroppedRecordsCommitNothingBeforeThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		builder := stream.NewBuilder()
		rows := stream.FilterRecords(stream.From(builder, in), func(r stream.Record[string, string]) bool { return !r.Tombstone })
		stream.To(rows, out)
		top := build(t, builder)
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 2))
		sick := refusing(b, 0)
		cfg := config(t, b)
		cfg.StopTimeout = time.Second
		m := start(t, top, cfg)
		write(t, b, "in", 0, 100)
		for i := range 100 {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: fmt.Appendf(nil, "k%d", i)}))
		}
		time.Sleep(2 * time.Second)
		assert.EqualValues(t, 200, m.Stats().RecordsIn)
		assert.Zero(t, committed(t, b, "app", "in"))
		m.cancel()
		require.Error(t, <-m.done)
		sick.Remove()
		runToEnd(t, top, config(t, b))
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, values(rs), 100)
		assert.EqualValues(t, 200, committed(t, b, "app", "in"))
	})
}

// The App stops at a record that a broker always refuses. Once the cause is repaired it continues where it stopped.
func TestOtherLibraries_FailingProduceThenRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 2))
		slow := refusing(b, 1)
		m := start(t, upper(t), config(t, b))
		write(t, b, "in", 0, 500)
		time.Sleep(2 * time.Second)
		sick := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "out", Partitions: []int32{1}, Err: kerr.MessageTooLarge, Count: -1})
		slow.Remove()
		require.ErrorContains(t, <-m.done, "too large")
		assert.Zero(t, committed(t, b, "app", "in"))
		sick.Remove()
		runToEnd(t, upper(t), config(t, b))
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, values(rs), 500)
		assert.EqualValues(t, 500, committed(t, b, "app", "in"))
	})
}

// Keys stand in partitions that no hash of theirs leads to, as a producer in another language may put them. Their state is found on
// another machine all the same.
func TestOtherLibraries_StateFollowsThePartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, parts = 1000, 4
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", parts), broker.Topic("counts", parts))
		var rs []broker.Record
		for i := range keys {
			rs = append(rs, broker.Record{Partition: int32(i % parts), Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v")})
		}
		for round := range 3 {
			require.NoError(t, b.Produce(t.Context(), "in", rs...))
			runToEnd(t, simple(t), config(t, b)) // each time with an empty directory
			got := latest(t, b, "counts")
			require.Len(t, got, keys)
			for k, n := range got {
				require.EqualValues(t, round+1, n, k)
			}
		}
	})
}

// Inputs and changelogs end in markers, which no reader is given: neither the restore nor RunToEnd may wait for a record there. What
// a transaction wrote that was aborted is no state.
func TestOtherLibraries_TopicsThatEndInMarker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		word := kgo.Record{Key: []byte("w"), Value: []byte("v")}
		transact(t, b, "in", kgo.TryCommit, word, word)
		runToEnd(t, simple(t), config(t, b))
		assert.Equal(t, map[string]int64{"w": 2}, latest(t, b, "counts"))
		assert.EqualValues(t, 3, committed(t, b, "app", "in"), "two records and their marker")

		transact(t, b, "app-counts-changelog", kgo.TryAbort, kgo.Record{Key: []byte("w"), Value: bytes.Repeat([]byte{9}, 8)})
		transact(t, b, "in", kgo.TryAbort, word)
		write(t, b, "in", 0, 1)
		transact(t, b, "in", kgo.TryCommit, word)
		before := time.Now()
		app := runToEnd(t, simple(t), config(t, b))
		assert.Less(t, time.Since(before), 5*time.Second)
		assert.EqualValues(t, 1, app.Stats().Restored, "the aborted record is none")
		assert.Equal(t, map[string]int64{"w": 3, "k0": 1}, latest(t, b, "counts"))
	})
}

// A changelog without records, and one that the store on disk has caught up with, have nothing to wait for.
func TestOtherLibraries_NothingToRestoreTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		cfg := config(t, b)
		for _, what := range []string{"empty", "caught up", "caught up again"} {
			before := time.Now()
			m := start(t, simple(t), cfg)
			write(t, b, "in", 0, 10)
			for m.State() != millstream.Running || m.Stats().RecordsIn < 10 {
				time.Sleep(10 * time.Millisecond)
			}
			assert.Less(t, time.Since(before), 2*time.Second, what)
			assert.Zero(t, m.Stats().Restored, what)
			m.stop()
		}
	})
}

// The first record of a changelog, a deletion that is the last one, and keys that look like names of our own.
func TestOtherLibraries_CheckpointsCountEveryRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1))
		builder := stream.NewBuilder()
		rows := table.From(builder, in, "rows", store.OnDemand())
		ref := table.Materialize(rows, "counted").Store()
		top := build(t, builder)
		cfg := config(t, b)
		want := map[string]string{}
		round := func(what string, restored int, rs ...broker.Record) {
			require.NoError(t, b.Produce(t.Context(), "in", rs...))
			for _, r := range rs {
				if want[string(r.Key)] = string(r.Value); r.Value == nil {
					delete(want, string(r.Key))
				}
			}
			m := start(t, top, cfg)
			time.Sleep(2 * time.Second)
			got := map[string]string{}
			for row, err := range ref.In(m).All() {
				require.NoError(t, err)
				got[row.Key] = row.Value
			}
			m.stop()
			assert.Equal(t, want, got, what)
			assert.EqualValues(t, restored, m.Stats().Restored, what)
		}
		put := func(key string) broker.Record { return broker.Record{Key: []byte(key), Value: []byte("of " + key)} }
		round("the record at offset 0", 0, put("k"))
		round("nothing new", 0)
		round("a deletion", 0, broker.Record{Key: []byte("k")})
		round("still deleted", 0)
		round("names of our own", 0, put(""), put("__offset"), put("checkpoint"), put("version"), put("rows"), put("meta"))
		cfg.StateDir = t.TempDir()
		round("another machine", 8)
	})
}

// Progress does not wait for the interval when there is nothing else to do.
func TestOtherLibraries_IdleAppCommitsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		cfg := config(t, b)
		cfg.CommitInterval = time.Hour
		m := start(t, upper(t), cfg)
		for i := range 3 {
			write(t, b, "in", i, 1)
			await(t, b, "out", i+1)
			time.Sleep(500 * time.Millisecond)
			assert.EqualValues(t, i+1, committed(t, b, "app", "in"))
		}
		m.stop()
	})
}

// One record in a hundred cannot be processed. The others are processed once each, and no fetched batch waits for a timeout.
func TestOtherLibraries_PoisonRecordsDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("out", 4))
		var mu sync.Mutex
		calls := map[string]int{}
		builder := stream.NewBuilder()
		s := stream.TryMapValues(stream.From(builder, in), func(_ ctx, r stream.Record[string, string]) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			calls[r.Key]++
			if strings.HasSuffix(r.Value, "00") {
				return "", errors.New("a poisoned record")
			}
			return r.Value, nil
		})
		stream.To(s, out)
		cfg := config(t, b)
		cfg.OnProcessError = failure.Skip()
		write(t, b, "in", 0, n)
		before := time.Now()
		m := start(t, build(t, builder), cfg)
		rs := await(t, b, "out", n-n/100+1) // v0 is none
		assert.Less(t, time.Since(before), 3*time.Second)
		m.stop()
		assert.Len(t, values(rs), n-n/100+1)
		assert.EqualValues(t, n, committed(t, b, "app", "in"))
		assert.Len(t, calls, n)
		for k, c := range calls {
			require.Equal(t, 1, c, k)
		}
	})
}

// At least once asks nothing of the brokers that has to do with transactions: clusters may forbid those.
func TestOtherLibraries_AtLeastOnceUsesNoTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		seen := b.Cluster().Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn}, Observe: true, Count: -1},
			kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
				return r.(*kmsg.InitProducerIDRequest).TransactionalID != nil
			}},
		)
		idempotent := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Observe: true, Count: -1})
		write(t, b, "in", 0, 100)
		runToEnd(t, simple(t), config(t, b))
		assert.Zero(t, seen.Hits())
		assert.Positive(t, idempotent.Hits(), "a retry writes nothing twice")
	})
}

// A changelog that may not be read is an error of Run, not a panic of a goroutine.
func TestOtherLibraries_FailedRestoreIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		write(t, b, "in", 0, 100)
		runToEnd(t, simple(t), config(t, b))
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "app-counts-changelog", Err: kerr.TopicAuthorizationFailed, Count: -1})
		m := start(t, simple(t), config(t, b))
		err := <-m.done
		require.ErrorContains(t, err, "app-counts-changelog")
		assert.Equal(t, millstream.Failed, m.State())
		assert.Empty(t, b.Cluster().GroupInfo("app").Members, "the group is left")
	})
}

// A commit in which a store has not changed leaves its checkpoint where it is: at the end of a changelog to which this producer has written
// nothing.
func TestOtherLibraries_CommitWithoutChangesLeavesCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		builder := stream.NewBuilder()
		counted := stream.Filter(stream.From(builder, in), func(k, _ string) bool { return k != "ignored" })
		stream.To(table.ToStream(table.Count(stream.GroupByKey(counted), "counts")), stream.NewTopic("counts", serde.String, serde.Int64))
		top := build(t, builder)
		cfg := config(t, b)
		for i, keys := range [][]string{{"a", "b", "a"}, {"ignored"}, {"ignored", "ignored"}, {}} {
			for _, k := range keys {
				require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte(k), Value: []byte("v")}))
			}
			m := start(t, top, cfg)
			time.Sleep(2 * time.Second)
			m.stop()
			assert.Zero(t, m.Stats().Restored, "start %d: the disk has all of the changelog", i)
			_, end := changelogStart(t, b, "app-counts-changelog")
			assert.EqualValues(t, 2, end, "start %d: nobody took what is in the changelog for what another process wrote", i)
		}
	})
}

// One output partition refuses everything, the other is healthy: offsets must not pass the records that were not written. (goka
// committed 1999 of 2000 here, and lost 999.)
func TestOtherLibraries_SlowOutputPartitionLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 2))
		sick := b.Cluster().Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: "out", Partitions: []int32{0}, Err: kerr.NotEnoughReplicas, Count: -1,
		})
		cfg := config(t, b)
		cfg.StopTimeout = 2 * time.Second
		m := start(t, upper(t), cfg)
		write(t, b, "in", 0, 2000)
		time.Sleep(5 * time.Second)
		assert.Zero(t, committed(t, b, "app", "in"), "nothing may be committed past a record that is not accepted")
		m.cancel()
		require.ErrorContains(t, <-m.done, "Config.StopTimeout")
		sick.Remove()
		again := start(t, upper(t), config(t, b))
		time.Sleep(20 * time.Second)
		again.stop()
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, values(rs), 2000)
		assert.EqualValues(t, 2000, committed(t, b, "app", "in"))
	})
}
