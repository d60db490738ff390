package millstream_test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

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
