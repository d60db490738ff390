package app_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

const abortedForDead = "aborted the transaction of a process that has died"

// mortal is a member that dies, as by kill -9, when it passes a crash point for the nth time after it was armed.
type mortal struct {
	*member
	at   atomic.Int64
	left atomic.Int64
	dead atomic.Bool
}

func startMortal(t *testing.T, top *topology.Topology, cfg millstream.Config) *mortal {
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	m := &mortal{member: &member{App: app, t: t, done: make(chan error, 1)}}
	ctx, cancel := context.WithCancel(noSync(t.Context()))
	m.cancel = cancel
	ctx = crashpoint.With(ctx, func(p crashpoint.Point) {
		if m.dead.Load() || int64(p) == m.at.Load() && m.left.Add(-1) == 0 {
			m.dead.Store(true)
			panic(crashpoint.Dead)
		}
	})
	go func() { m.done <- app.Run(ctx) }()
	return m
}

func (m *mortal) arm(at crashpoint.Point, nth int) {
	m.left.Store(int64(nth))
	m.at.Store(int64(at))
}

// died waits until it has.
func (m *mortal) died() {
	m.t.Helper()
	require.ErrorIs(m.t, <-m.done, crashpoint.Dead)
	m.cancel()
}

// ready waits until members run.
func ready(t *testing.T, members ...*member) {
	t.Helper()
	for range 600 {
		all := true
		for _, m := range members {
			all = all && m.State() == millstream.Running && len(m.Tasks()) > 0 && m.Ready() == nil
		}
		if all {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.Fail(t, "not running")
}

// What a process leaves open when it dies holds up others no longer than its session lasts, although its time-out is longer: those that
// get its tasks, and those that read what it wrote. Where brokers do not allow that, they wait for the time-out, and the log says so.
func TestExactlyOnce_DeadProcessHoldsUpNobody(t *testing.T) {
	for name, c := range map[string]struct {
		refused *kerr.Error
		atLeast time.Duration
		atMost  time.Duration
	}{
		"ended":       {nil, 0, 8500 * time.Millisecond},
		"not allowed": {kerr.ClusterAuthorizationFailed, 9500 * time.Millisecond, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
				if c.refused != nil {
					b.Cluster().ControlKey(int16(kmsg.ListTransactions), func(r kmsg.Request) (kmsg.Response, error, bool) {
						b.Cluster().KeepControl()
						resp := r.ResponseKind().(*kmsg.ListTransactionsResponse)
						resp.ErrorCode = c.refused.Code
						return resp, nil, true
					})
				}
				top, _ := counting(t)
				cfg := exactlyOnce(t, b)
				cfg.SessionTimeout = 6 * time.Second
				log := logTo(&cfg)
				lives := start(t, top, cfg)
				other := cfg
				other.StateDir = t.TempDir()
				logTo(&other)
				dies := startMortal(t, top, other)
				ready(t, lives, dies.member)
				write(t, b, "in", 0, 40)
				await(t, b, "counts", 40)
				dies.arm(crashpoint.OffsetsAccepted, 1)
				write(t, b, "in", 40, 40)
				dies.died()
				killed := time.Now()
				write(t, b, "in", 80, 40)
				await(t, b, "counts", 120)
				took := time.Since(killed)
				t.Logf("everything was counted %v after the kill", took)
				assert.Greater(t, took, c.atLeast)
				assert.Less(t, took, c.atMost)
				time.Sleep(10 * time.Second)
				lives.stop()
				want := map[string]int64{}
				for i := range 120 {
					want[fmt.Sprint("v", i)] = 1
				}
				assert.Equal(t, want, latest(t, b, "counts"))
				assert.Equal(t, want, latest(t, b, "app-counts-changelog"))
				assert.Equal(t, c.refused == nil, len(log.lines(abortedForDead)) > 0, log.String())
				cannot := log.lines("cannot be ended before it times out")
				assert.LessOrEqual(t, len(cannot), 1)
				assert.Equal(t, c.refused != nil, len(cannot) == 1)
				assert.NotContains(t, log.String(), "begin again")
			})
		})
	}
}

// Members that come and go, and look for transactions of the dead, leave those of the living alone, however long they take.
func TestExactlyOnce_LivingProcessesKeepTheirTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 6), broker.Topic("counts", 6))
		cfg := exactlyOnce(t, b)
		cfg.CommitInterval = 5 * time.Second // a transaction is open nearly always
		log := logTo(&cfg)
		builder := stream.NewBuilder()
		slow := stream.Peek(stream.From(builder, in), func(rec) { time.Sleep(20 * time.Millisecond) })
		stream.To(table.ToStream(table.Count(stream.GroupByKey(slow), "counts")), counts)
		top := build(t, builder)
		members := make([]*member, 3)
		another := func(i int) {
			c := cfg
			c.StateDir = t.TempDir()
			members[i] = start(t, top, c)
		}
		for i := range members {
			another(i)
		}
		ready(t, members...)
		for i := range 6 {
			write(t, b, "in", 500*i, 500)
			time.Sleep(2 * time.Second)
			members[i%3].stop()
			another(i % 3)
			time.Sleep(time.Second)
		}
		await(t, b, "counts", 3000)
		for _, m := range members {
			m.stop()
		}
		for _, text := range []string{abortedForDead, "begin again", "cannot be ended"} {
			assert.NotContains(t, log.String(), text)
		}
		assert.Len(t, latest(t, b, "counts"), 3000)
	})
}

// What a Java program has left open when it was killed, which ran the application before, holds up nobody for longer than its session.
// That of another application, whose name begins like this one's, is left alone.
func TestExactlyOnce_TransactionOfKafkaStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1), broker.Topic("others", 1))
		const process = "6cbda5e4-c9ae-4b83-8405-324f9ca0f3e3-1"
		for id, topic := range map[string]string{"app-" + process: "in", "app-other-" + process: "others"} {
			c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.Dialer(b.Dialer()), kgo.TransactionalID(id),
				kgo.TransactionTimeout(time.Minute), kgo.DefaultProduceTopic(topic), kgo.DisableClientMetrics())
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.BeginTransaction())
			require.NoError(t, c.ProduceSync(t.Context(), kgo.StringRecord("uncommitted")).FirstErr())
		}
		write(t, b, "in", 0, 10)
		cfg := exactlyOnce(t, b)
		log := logTo(&cfg)
		began := time.Now()
		m := start(t, simple(t), cfg)
		await(t, b, "counts", 10)
		assert.Less(t, time.Since(began), 15*time.Second)
		m.stop()
		assert.Len(t, latest(t, b, "counts"), 10)
		aborted := log.lines(abortedForDead)
		require.Len(t, aborted, 1)
		assert.Contains(t, aborted[0], "transactional_id=app-"+process)
	})
}

// A process that comes back with fewer workers ends at its start what all those have left open that it had.
func TestExactlyOnce_FewerWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		cfg := exactlyOnce(t, b)
		cfg.Workers = 3
		cfg.CommitInterval = time.Second
		dies := startMortal(t, simple(t), cfg)
		ready(t, dies.member)
		write(t, b, "in", 0, 100)
		await(t, b, "counts", 100)
		// Each worker has all of its transaction written.
		dies.arm(crashpoint.OffsetsAccepted, 3)
		write(t, b, "in", 100, 100)
		dies.died()
		open := func() (ids []string) {
			administer(t, b, func(a kafka.Admin) error {
				// The addresses of brokers are known only after a first request.
				if _, err := a.Topics(t.Context()); err != nil {
					return err
				}
				_, err := a.OpenTransactions(t.Context(), func(id string) bool {
					ids = append(ids, id[strings.LastIndex(id, "-"):])
					return false
				})
				return err
			})
			return ids
		}
		require.NotEmpty(t, open())
		cfg.Workers = 1
		m := start(t, simple(t), cfg)
		time.Sleep(time.Second)
		assert.Empty(t, open())
		await(t, b, "counts", 200)
		m.stop()
		assert.Len(t, latest(t, b, "counts"), 200)
	})
}

// A look for transactions of an earlier run, which began before the group was known, is answered late. What the process has begun
// meanwhile is its own.
func TestExactlyOnce_OwnTransactionIsNoEarlierRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		began := time.Now()
		b.Cluster().ControlKey(int16(kmsg.OffsetFetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			if time.Since(began) > time.Second { // it is waited for, and why is asked
				return nil, nil, false
			}
			req := r.(*kmsg.OffsetFetchRequest)
			resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			for _, g := range req.Groups {
				resp.Groups = append(resp.Groups, kmsg.OffsetFetchResponseGroup{Group: g.Group, ErrorCode: resp.ErrorCode})
			}
			return resp, nil, true
		})
		var lists atomic.Int64
		b.Cluster().ControlKey(int16(kmsg.ListTransactions), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			if lists.Add(1) == 2 {
				b.Cluster().SleepControl(func() { time.Sleep(10 * time.Second) })
			}
			return nil, nil, false
		})
		builder := stream.NewBuilder()
		slow := stream.Peek(stream.From(builder, in), func(rec) { time.Sleep(50 * time.Millisecond) })
		stream.To(table.ToStream(table.Count(stream.GroupByKey(slow), "counts")), counts)
		cfg := exactlyOnce(t, b)
		cfg.Workers, cfg.CommitInterval = 1, 5*time.Second
		log := logTo(&cfg)
		write(t, b, "in", 0, 500)
		m := start(t, build(t, builder), cfg)
		await(t, b, "counts", 500)
		m.stop()
		assert.GreaterOrEqual(t, lists.Load(), int64(2))
		for _, text := range []string{abortedForDead, "begin again"} {
			assert.NotContains(t, log.String(), text)
		}
	})
}
