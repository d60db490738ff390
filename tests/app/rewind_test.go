package app_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
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
	"github.com/millstream-go/millstream/testdriver/broker"
)

// The coordinator has committed a transaction, and says that the producer is fenced: whether it was committed cannot be known. What it had
// counts once, since the tasks are opened at the offsets that are committed.
func TestExactlyOnce_LostEndMayHaveCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		m := start(t, simple(t), exactlyOnce(t, b))
		write(t, b, "in", 0, 10)
		time.Sleep(time.Second)
		require.EqualValues(t, 10, onceCommitted(t, b, 10))
		other, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.Dialer(b.Dialer()), kgo.DisableClientMetrics())
		require.NoError(t, err)
		defer other.Close()
		const raisesEpoch = 5 // the version from which on an end does
		var asked, done atomic.Bool
		committed := make(chan error, 1)
		b.Cluster().ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			req := r.(*kmsg.EndTxnRequest)
			if req.Version >= raisesEpoch || done.Load() {
				return nil, nil, false
			}
			if !asked.Swap(true) {
				end := kmsg.NewPtrEndTxnRequest()
				end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit
				go func() {
					resp, err := end.RequestWith(t.Context(), other)
					if err == nil {
						err = kerr.ErrorForCode(resp.ErrorCode)
					}
					done.Store(true)
					committed <- err
				}()
			}
			resp := req.ResponseKind().(*kmsg.EndTxnResponse)
			resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
			return resp, nil, true
		})
		write(t, b, "in", 0, 10)
		require.NoError(t, <-committed)
		time.Sleep(10 * time.Second)
		write(t, b, "in", 0, 10)
		m.stopAfter(time.Second)
		want := map[string]int64{}
		for i := range 10 {
			want[fmt.Sprint("k", i)] = 3
		}
		assert.Equal(t, want, latest(t, b, "counts"))
		assert.Equal(t, want, latest(t, b, "app-counts-changelog"))
		updates, err := b.Read(t.Context(), "counts")
		require.NoError(t, err)
		assert.Len(t, updates, 30, "each update is there once")
	})
}

// A file is found damaged while a commit is in flight, which then succeeds: what that had has settled, in the tasks that begin again.
func TestExactlyOnce_CommitInFlightWhenATaskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := exactlyOnce(t, b)
		cfg.Workers = 1
		count := func(partition int, n int) {
			for range n {
				require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: int32(partition), Key: keyOf(partition, 2), Value: []byte("v")}))
			}
		}
		count(0, 5)
		count(1, 5)
		runToEnd(t, simple(t), cfg)
		damageStore(t, filepath.Join(cfg.StateDir, "app", "counts", "1"), damages["without leaves"])
		m := startMortal(t, simple(t), cfg)
		ready(t, m.member)
		began := time.Now()
		b.Cluster().ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			req, until := r.(*kmsg.EndTxnRequest), began.Add(4*time.Second)
			if req.Commit {
				until = began.Add(2 * time.Second)
			}
			if !time.Now().Before(until) {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.EndTxnResponse)
			resp.ErrorCode = kerr.ConcurrentTransactions.Code
			return resp, nil, true
		})
		count(0, 7)
		time.Sleep(time.Second)
		require.EqualValues(t, 10, committed(t, b, "app", "in"), "the commit is in flight")
		count(1, 7)
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 1, m.Stats().Damaged)
		count(0, 1)
		count(1, 1)
		time.Sleep(time.Second)
		m.stop()
		want := map[string]int64{string(keyOf(0, 2)): 13, string(keyOf(1, 2)): 13}
		assert.Equal(t, want, latest(t, b, "counts"))
		assert.Equal(t, want, latest(t, b, "app-counts-changelog"))
		updates, err := b.Read(t.Context(), "counts")
		require.NoError(t, err)
		assert.Len(t, updates, 26, "each update is there once")
	})
}

// What makes each transaction fail does not have the tasks begin again without a pause.
func TestExactlyOnce_FailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		cfg := exactlyOnce(t, b)
		log := logTo(&cfg)
		m := start(t, upper(t), cfg)
		ready(t, m)
		refused := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddOffsetsToTxn}, Err: kerr.TransactionAbortable, TopLevel: true, Count: -1})
		write(t, b, "in", 0, 1)
		time.Sleep(time.Minute)
		times := len(log.lines("begin again"))
		assert.Greater(t, times, 10)
		assert.Less(t, times, 30, "after 0, 0.1, 0.2 ... 5 s")
		refused.Remove()
		await(t, b, "out", 1)
		assert.Equal(t, millstream.Running, m.State())
		m.stopAfter(time.Second)
		assert.EqualValues(t, 1, committed(t, b, "app", "in"))
	})
}

// A coordinator refuses the first request of a producer as that of one that was replaced. The producer asks again, and its tasks begin.
func TestExactlyOnce_BeginIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		refused := 0
		b.Cluster().ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			req := r.(*kmsg.InitProducerIDRequest)
			if req.TransactionalID == nil || refused == 2 {
				return nil, nil, false
			}
			refused++
			resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
			resp.ErrorCode = kerr.ProducerFenced.Code
			return resp, nil, true
		})
		cfg := exactlyOnce(t, b)
		cfg.Workers = 1
		m := start(t, simple(t), cfg)
		write(t, b, "in", 0, 10)
		time.Sleep(time.Minute)
		assert.Len(t, latest(t, b, "counts"), 10)
		m.stop()
	})
}
