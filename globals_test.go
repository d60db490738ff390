package millstream_test

import (
	"context"
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
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

var rows = stream.NewTopic("rows", serde.String, serde.String)

// joined joins each value of "in" with the row that has the value as its key.
func joined(t *testing.T, opts ...store.Option) (*topology.Topology, store.KeyValueRef[string, string]) {
	b := stream.NewBuilder()
	g := table.Global(b, rows, "rows", opts...)
	s := join.StreamGlobalLeft(stream.From(b, in), g,
		func(r stream.Record[string, string]) (string, bool) { return r.Value, true },
		func(v, row string, ok bool) string { return fmt.Sprintf("%s+%s %v", v, row, ok) })
	stream.To(s, out)
	return build(t, b), g.Store()
}

// give writes rows v0 to vn, with the round in their values.
func give(t *testing.T, b *broker.Broker, n, round int) {
	t.Helper()
	var rs []broker.Record
	for i := range n {
		rs = append(rs, broker.Record{Partition: broker.ByKey, Key: fmt.Appendf(nil, "v%d", i), Value: fmt.Appendf(nil, "r%d.%d", i, round)})
	}
	require.NoError(t, b.Produce(t.Context(), "rows", rs...))
}

// Whatever the partition counts, each instance has all rows before it processes anything, and follows the topic then.
func TestGlobalTable(t *testing.T) {
	for name, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("out", 4), broker.Topic("rows", 7))
				give(t, b, 500, 1)
				give(t, b, 500, 2)
				write(t, b, "in", 0, 600)
				top, ref := joined(t, opts...)
				members := []*member{start(t, top, config(t, b)), start(t, top, config(t, b))}
				got := values(await(t, b, "out", 600))
				for i := range 600 {
					want := fmt.Sprintf("v%d+r%d.2 true", i, i)
					if i >= 500 {
						want = fmt.Sprintf("v%d+ false", i)
					}
					require.Equal(t, want, got[fmt.Sprintf("k%d", i)])
				}
				give(t, b, 1, 3)
				time.Sleep(20 * time.Second) // both have their tasks by then
				write(t, b, "in", 0, 1)
				assert.Equal(t, "v0+r0.3 true", values(await(t, b, "out", 601))["k0"])
				for _, m := range members {
					require.NoError(t, m.Ready())
					assert.Empty(t, m.Stats().Dropped)
					rows := ref.In(m)
					v, ok, err := rows.Get("v499")
					require.NoError(t, err)
					assert.True(t, ok)
					assert.Equal(t, "r499.2", v, "each has all")
					n, err := rows.Len()
					require.NoError(t, err)
					assert.EqualValues(t, 500, n)
					require.ErrorIs(t, rows.Put("v0", "x"), millstream.ErrReadOnly)
					var keys []string
					for r, err := range rows.Backward(store.From("v1"), store.Below("v3")) {
						require.NoError(t, err)
						keys = append(keys, r.Key)
					}
					assert.Len(t, keys, 222)
					assert.IsDecreasing(t, keys)
				}
				for _, m := range members {
					m.stop()
					_, _, err := ref.In(m).Get("v1")
					require.ErrorIs(t, err, millstream.ErrNotRunning)
				}
				assert.Nil(t, b.Cluster().TopicInfo("app-rows-changelog"))
			})
		})
	}
}

// A restart reads what its file has not seen; another machine all.
func TestGlobalTablesAreRestoredFromWhereTheyStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 3))
		top, ref := joined(t)
		cfg := config(t, b)
		var mu sync.Mutex
		var last map[int32]millstream.RestoreInfo
		cfg.Events.Restore = func(r millstream.RestoreInfo) {
			mu.Lock()
			defer mu.Unlock()
			last[r.Partition] = r
		}
		restored := func(round int) (n int64, full bool) {
			last = map[int32]millstream.RestoreInfo{}
			write(t, b, "in", round, 1)
			m := start(t, top, cfg)
			await(t, b, "out", round+1)
			v, _, err := ref.In(m).Get("v7")
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintf("r7.%d", round), v)
			m.stop()
			assert.Len(t, last, 3)
			for _, r := range last {
				assert.Equal(t, r.End, r.Done)
				assert.Equal(t, "rows", r.Store)
				n, full = n+r.Records, full || r.Full
			}
			assert.Equal(t, n, m.Stats().Restored)
			return n, full
		}
		give(t, b, 100, 0)
		n, full := restored(0)
		assert.EqualValues(t, 100, n)
		assert.True(t, full)
		give(t, b, 10, 1)
		n, full = restored(1)
		assert.EqualValues(t, 10, n, "the rest was in the file")
		assert.False(t, full)
		cfg.StateDir = t.TempDir()
		give(t, b, 10, 2)
		n, full = restored(2)
		assert.EqualValues(t, 120, n)
		assert.True(t, full)
	})
}

// However often and wherever it is killed while it reads its global table, and while it follows: in the end the rows are those of the
// topic.
func TestGlobalTablesSurviveCrashes(t *testing.T) {
	for _, p := range []crashpoint.Point{
		crashpoint.RestoreHalf, crashpoint.RestoreDone, crashpoint.FlushBegin, crashpoint.FlushHalf, crashpoint.FlushDone, crashpoint.StopSettled,
	} {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 3))
				top, ref := joined(t)
				cfg := config(t, b)
				for round := range 5 {
					give(t, b, 200, round)
					crashing(t, top, cfg, p, round+1)
				}
				require.NoError(t, b.Produce(t.Context(), "rows", broker.Record{Partition: broker.ByKey, Key: []byte("v5")}))
				m := start(t, top, cfg)
				time.Sleep(30 * time.Second) // the session of the dead
				require.NoError(t, m.Ready())
				n := 0
				for r, err := range ref.In(m).All() {
					require.NoError(t, err)
					assert.Equal(t, "r"+r.Key[1:]+".4", r.Value)
					n++
				}
				assert.Equal(t, 199, n)
				m.stop()
			})
		})
	}
}

func TestGlobalTablesOutliveTheirBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.DataDir(t.TempDir()), broker.Topic("in", 2), broker.Topic("out", 2), broker.Topic("rows", 3))
		top, ref := joined(t)
		give(t, b, 100, 0)
		m := start(t, top, config(t, b))
		for round := 1; round < 4; round++ {
			require.NoError(t, b.Restart())
			give(t, b, 100, round)
			time.Sleep(time.Minute)
			require.NoError(t, m.Ready())
			v, _, err := ref.In(m).Get("v9")
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintf("r9.%d", round), v)
		}
		m.stop()
	})
}

// The topic is deleted and made again: an App that runs stops, and the next one has the rows of the new topic and no others.
func TestAGlobalTopicThatIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 2))
		give(t, b, 100, 0)
		top, ref := joined(t)
		cfg := config(t, b)
		m := start(t, top, cfg)
		time.Sleep(time.Second)
		require.NoError(t, m.Ready())
		administer(t, b, func(a kafka.Admin) error { return a.DeleteTopics(t.Context(), "rows") })
		time.Sleep(time.Second)
		require.NoError(t, b.CreateTopic("rows", 3))
		for i := range 10 { // by a client that has not seen the old topic
			transact(t, b, "rows", kgo.TryCommit, kgo.Record{Key: fmt.Appendf(nil, "v%d", i), Value: []byte("x")})
		}
		select {
		case err := <-m.done:
			require.ErrorContains(t, err, `global store "rows" cannot follow rows[`)
		case <-time.After(10 * time.Minute):
			require.Fail(t, "the App does not notice")
		}
		m = start(t, top, cfg)
		time.Sleep(time.Second)
		n, err := ref.In(m).Len()
		require.NoError(t, err)
		assert.EqualValues(t, 10, n)
		m.stop()
	})
}

func TestAGlobalTopicGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 2))
		give(t, b, 10, 0)
		top, ref := joined(t)
		cfg := config(t, b)
		m := start(t, top, cfg)
		time.Sleep(time.Second)
		grow(t, b, "rows", 5)
		time.Sleep(5 * time.Minute)
		for p := range int32(5) {
			r := broker.Record{Partition: p, Key: fmt.Appendf(nil, "new%d", p), Value: []byte("x")}
			require.NoError(t, b.Produce(t.Context(), "rows", r))
		}
		time.Sleep(time.Second)
		n, err := ref.In(m).Len()
		require.NoError(t, err)
		assert.EqualValues(t, 15, n)
		m.stop()
		m = start(t, top, cfg)
		time.Sleep(time.Second)
		n, err = ref.In(m).Len()
		require.NoError(t, err)
		assert.EqualValues(t, 15, n)
		assert.Zero(t, m.Stats().Restored)
		m.stop()
	})
}

// grow gives a topic more partitions.
func grow(t *testing.T, b *broker.Broker, topic string, n int32) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.Dialer(b.Dialer()), kgo.DisableClientMetrics())
	require.NoError(t, err)
	defer c.Close()
	r := kmsg.NewCreatePartitionsRequest()
	x := kmsg.NewCreatePartitionsRequestTopic()
	x.Topic, x.Count = topic, n
	r.Topics, r.TimeoutMillis = append(r.Topics, x), 1000
	_, err = r.RequestWith(t.Context(), c)
	require.NoError(t, err)
}

// What aborted transactions wrote is no row, and a topic that ends in a marker is read to its end.
func TestGlobalTablesReadWhatIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		give(t, b, 2, 0)
		transact(t, b, "rows", kgo.TryAbort, kgo.Record{Key: []byte("v0"), Value: []byte("aborted")})
		transact(t, b, "rows", kgo.TryCommit, kgo.Record{Key: []byte("v1"), Value: []byte("committed")})
		top, ref := joined(t)
		m := start(t, top, config(t, b))
		time.Sleep(time.Second)
		require.NoError(t, m.Ready())
		for k, want := range map[string]string{"v0": "r0.0", "v1": "committed"} {
			v, _, err := ref.In(m).Get(k)
			require.NoError(t, err)
			assert.Equal(t, want, v)
		}
		m.stop()
	})
}

// numbers keeps the numbers of "rows" twice: doubled, and as they are.
func numbers(t *testing.T, policy failure.Policy, f func(v int64) error) (*topology.Topology, store.KeyValueRef[string, int64]) {
	topic := stream.NewTopic("rows", serde.String, serde.Int64).OnDecodeError(policy)
	own := store.NewKeyValue("own", serde.String, serde.Int64)
	double := store.NewKeyValue("double", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.GlobalStore(b, topic, "keep", func(t *topology.Task) (func(stream.Record[string, int64]) error, error) {
		own, double := own.In(t), double.In(t)
		return func(r stream.Record[string, int64]) error {
			if err := f(r.Value); err != nil {
				return err
			}
			return errors.Join(own.Put(r.Key, r.Value), double.Put(r.Key, 2*r.Value))
		}, nil
	}, own, double)
	stream.To(stream.Process(stream.From(b, in), "look-up", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		own, double := own.In(c), double.In(c)
		return func(r stream.Record[string, string]) error {
			x, _, err := own.Get("n")
			y, _, err2 := double.Get("n")
			c.Forward(stream.WithValue(r, fmt.Sprint(x, " ", y)))
			return errors.Join(err, err2)
		}, nil
	}, own, double), out)
	return build(t, b), own
}

func number(t *testing.T, b *broker.Broker, n int64) {
	v, _ := serde.Int64.Append(nil, n)
	require.NoError(t, b.Produce(t.Context(), "rows", broker.Record{Key: []byte("n"), Value: v}))
}

func TestGlobalStoresOfAProcessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 1), broker.Topic("rows", 1), broker.Topic("letters", 1))
		number(t, b, 21)
		require.NoError(t, b.Produce(t.Context(), "rows", broker.Record{Key: []byte("n"), Value: []byte("no number")}))
		top, ref := numbers(t, failure.DeadLetter("letters"), func(int64) error { return nil })
		cfg := config(t, b)
		for round := range 2 {
			m := start(t, top, cfg)
			write(t, b, "in", round, 1)
			assert.Equal(t, "21 42", string(await(t, b, "out", round+1)[round].Value))
			v, _, err := ref.In(m).Get("n")
			require.NoError(t, err)
			assert.EqualValues(t, 21, v)
			assert.Equal(t, round == 0, m.Stats().Dropped["record does not decode"] == 1, "a restart begins behind it")
			m.stop()
		}
		rs, err := b.Read(t.Context(), "letters")
		require.NoError(t, err)
		assert.Empty(t, rs, "each instance would write it")
	})
}

func TestWhatFailsInAGlobalStoreStopsTheApp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before bool // it is there when the App starts
		f      func(int64) error
		want   string
	}{
		{"an error at the start", true, func(int64) error { return errors.New("too much") }, "too much"},
		{"an error later", false, func(int64) error { return errors.New("too much") }, "too much"},
		{"a panic", false, func(int64) error { panic("boom") }, "panic: boom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
				top, _ := numbers(t, failure.Policy{}, tt.f)
				if tt.before {
					number(t, b, 1)
				}
				m := start(t, top, config(t, b))
				if !tt.before {
					time.Sleep(time.Second)
					require.NoError(t, m.Ready())
					number(t, b, 1)
				}
				err := <-m.done
				require.ErrorContains(t, err, tt.want)
				require.ErrorContains(t, err, `"keep"`)
				assert.Equal(t, millstream.Failed, m.State())
			})
		})
	}
}

// An App that is stopped while it waits for a global topic's brokers, or reads it, ends at once.
func TestStopWhileAGlobalTableIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		give(t, b, 100, 0)
		entered := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		ctx = crashpoint.With(ctx, func(p crashpoint.Point) {
			if p == crashpoint.RestoreHalf {
				close(entered)
				cancel()
			}
		})
		top, _ := joined(t)
		app, err := millstream.New(top, config(t, b))
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- app.Run(ctx) }()
		<-entered
		before := time.Now()
		require.NoError(t, <-done)
		assert.Less(t, time.Since(before), time.Second)
	})
}

// Nothing but a global table: there are no tasks, and queries are answered.
func TestAnAppOfAGlobalTableAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("rows", 3))
		give(t, b, 10, 0)
		builder := stream.NewBuilder()
		g := table.Global(builder, rows, "rows")
		top := build(t, builder)
		m := start(t, top, config(t, b))
		time.Sleep(time.Second)
		require.NoError(t, m.Ready())
		v, ok, err := g.Store().In(m).Get("v3")
		require.NoError(t, err)
		assert.Equal(t, "r3.0 true", fmt.Sprint(v, " ", ok))
		m.stop()
		toEnd(t, top, config(t, b))
	})
}

func TestAMissingGlobalTopicIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		top, _ := joined(t)
		m := start(t, top, config(t, b))
		require.ErrorContains(t, <-m.done, `"rows"`)
	})
}

// What the program writes to its own global topic comes back to all instances.
func TestAGlobalTopicThatTheProgramWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("rows", 3))
		builder := stream.NewBuilder()
		g := table.Global(builder, rows, "rows")
		stream.To(stream.MapValues(stream.From(builder, in), strings.ToUpper), rows)
		top := build(t, builder)
		members := []*member{start(t, top, config(t, b)), start(t, top, config(t, b))}
		write(t, b, "in", 0, 100)
		time.Sleep(20 * time.Second)
		for _, m := range members {
			n, err := g.Store().In(m).Len()
			require.NoError(t, err)
			assert.EqualValues(t, 100, n)
			m.stop()
		}
	})
}

func TestAGlobalStepThatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		over := make(chan struct{})
		top, _ := numbers(t, failure.Policy{}, func(int64) error { <-over; return nil })
		cfg := config(t, b)
		cfg.MaxProcessingTime, cfg.StopTimeout = time.Minute, 5*time.Second
		number(t, b, 1)
		m := start(t, top, cfg)
		time.Sleep(30 * time.Second)
		require.NoError(t, m.Live())
		require.ErrorContains(t, m.Ready(), "restoring")
		err := <-m.done
		require.ErrorContains(t, err, "longer than Config.MaxProcessingTime")
		require.Error(t, m.Live())
		close(over)
	})
}

// While a global topic's brokers are away before it was read, Ready says what is the matter.
func TestReadySaysWhyAGlobalTableIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		give(t, b, 10, 0)
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: 1 << 20})
		top, _ := joined(t)
		m := start(t, top, config(t, b))
		time.Sleep(30 * time.Second)
		err := m.Ready()
		require.ErrorContains(t, err, "restoring")
		require.ErrorContains(t, err, "not the leader")
		assert.Equal(t, millstream.Restoring, m.State())
		assert.Empty(t, m.Tasks(), "no task before its global tables")
		m.stop()
	})
}
