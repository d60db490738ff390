package millstream_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// fragile panics at the value "panic".
func fragile(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	s := stream.MapValues(stream.From(b, in), func(v string) string {
		if v == "panic" {
			panic("a poisoned record")
		}
		return v
	})
	stream.To(s, out)
	return build(t, b)
}

func TestPanicStopsTheAppAndCommitsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
		var states []millstream.State
		cfg := config(t, b)
		cfg.CommitInterval = time.Hour
		cfg.Events.State = func(_, now millstream.State) { states = append(states, now) }
		m := start(t, fragile(t), cfg)
		for range 10 {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: 0, Value: []byte("fine")}, broker.Record{Partition: 1, Value: []byte("fine")}))
		}
		await(t, b, "out", 20)
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: 1, Value: []byte("panic")}, broker.Record{Partition: 1, Value: []byte("never")}))
		err := <-m.done
		require.ErrorContains(t, err, "a poisoned record")
		assert.ErrorContains(t, err, "in[1] offset 10")
		assert.ErrorContains(t, err, "failure_test.go")
		assert.Equal(t, err, m.Live())
		assert.Equal(t, millstream.Failed, m.State())
		assert.Equal(t, []millstream.State{millstream.Starting, millstream.Restoring, millstream.Running, millstream.Stopping, millstream.Failed}, states)
		at := b.Cluster().GroupInfo("app").Commits["in"]
		assert.EqualValues(t, 10, at[0].Offset, "the other task is settled")
		assert.Less(t, at[1].Offset, int64(11), "the record that failed is not committed")
		assert.Empty(t, b.Cluster().GroupInfo("app").Members, "the group is left")
	})
}

func TestDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("dead", 1))
		builder := stream.NewBuilder()
		s := stream.TryMapValues(stream.From(builder, in), func(_ ctx, r stream.Record[string, string]) (string, error) {
			if strings.HasPrefix(r.Value, "bad") {
				return "", errors.New("it is bad")
			}
			return r.Value, nil
		})
		stream.To(s, out)
		cfg := config(t, b)
		cfg.OnProcessError = failure.DeadLetter("dead")
		var mu sync.Mutex
		var failures []string
		var dropped int64
		cfg.Events.Failure = func(r failure.Report) {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, string(r.Value))
		}
		cfg.Events.Dropped = func(d millstream.DropInfo) {
			mu.Lock()
			defer mu.Unlock()
			dropped += d.N
		}
		m := start(t, build(t, builder), cfg)
		for _, v := range []string{"a", "bad one", "b", "bad two"} {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte(v)}))
		}
		letters := await(t, b, "dead", 2)
		assert.Equal(t, "bad one", string(letters[0].Value))
		assert.Contains(t, headers(letters[0]), "__streams.errors.message=it is bad")
		assert.Contains(t, headers(letters[1]), "__streams.errors.offset=3")
		assert.Len(t, await(t, b, "out", 2), 2)
		m.stop()
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, []string{"bad one", "bad two"}, failures)
		assert.EqualValues(t, 2, dropped)
		assert.EqualValues(t, 2, m.Stats().Dropped["function failed"])
		assert.EqualValues(t, 4, committed(t, b, "app", "in"))
	})
}

func headers(r broker.Record) string {
	var s strings.Builder
	for _, h := range r.Headers {
		s.WriteString(h.Name + "=" + string(h.Value) + "\n")
	}
	return s.String()
}

// One output partition refuses everything, the other is healthy: offsets must not pass the records that were not written. (goka
// committed 1999 of 2000 here, and lost 999.)
func TestSlowOutputPartitionLosesNothing(t *testing.T) {
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

func TestBrokersAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := broker.Start(t, broker.Virtual(), broker.DataDir(dir), broker.Topic("in", 2), broker.Topic("out", 2))
		m := start(t, upper(t), config(t, b))
		write(t, b, "in", 0, 100)
		await(t, b, "out", 100)
		time.Sleep(time.Second)
		require.NoError(t, m.Ready())
		rec := httptest.NewRecorder()
		m.ReadyHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
		assert.Equal(t, 200, rec.Code)
		b.Cluster().Close()
		time.Sleep(30 * time.Second)
		require.Error(t, m.Ready())
		require.NoError(t, m.Live())
		rec = httptest.NewRecorder()
		m.ReadyHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
		assert.Equal(t, 503, rec.Code)
		require.NoError(t, b.Restart())
		time.Sleep(30 * time.Second)
		require.NoError(t, m.Ready())
		write(t, b, "in", 100, 100)
		time.Sleep(10 * time.Second)
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, rs, 200)
		assert.Len(t, values(rs), 200)
		m.stop()
	})
}

func TestMissingTopicIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("out", 2))
		m := start(t, upper(t), config(t, b))
		err := <-m.done
		require.ErrorContains(t, err, `"in"`)
		assert.ErrorIs(t, m.Run(t.Context()), millstream.ErrRunning)
	})
}

func TestStopWhileWaitingForBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual())
		cfg := config(t, b)
		b.Cluster().Close()
		m := start(t, upper(t), cfg)
		time.Sleep(time.Minute)
		assert.Equal(t, millstream.Starting, m.State())
		require.ErrorContains(t, m.Ready(), "broker", "it says what it waits for")
		m.stop()
	})
}

func TestInputThatIsGoneIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		write(t, b, "in", 0, 10)
		app, err := millstream.New(upper(t), config(t, b))
		require.NoError(t, err)
		require.NoError(t, app.RunToEnd(t.Context()))
		write(t, b, "in", 10, 10)
		deleteBefore(t, b, "in", 15)
		m := start(t, upper(t), config(t, b))
		err = <-m.done
		require.ErrorContains(t, err, "in[0]")
		require.ErrorContains(t, err, "offset 10 is not available, the log holds [15, 20)")
	})
}
