package app_test

import (
	"bytes"
	"iter"
	"math/rand/v2"
	"net"
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
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

type valved struct {
	net.Conn
	v    *valve
	once sync.Once
	over chan struct{}
}

func (c *valved) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.v.wait(c.over)
	return n, err
}

func (c *valved) Write(b []byte) (int, error) {
	c.v.wait(c.over)
	return c.Conn.Write(b)
}

func (c *valved) Close() error {
	c.once.Do(func() { close(c.over) })
	return c.Conn.Close()
}

// A member is cut off for longer than its session, another one takes over, and the first comes back: it may append nothing to the
// changelogs that are not its own any more, and nothing counts twice that was settled.
func TestFencing_ZombieAppendsNothing(t *testing.T) {
	for _, data := range []int{50, 5000} {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, uint64(data)))
			b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
			top, ref := counting(t)
			cfg := config(t, b)
			v := newValve(b.Dialer())
			cfg.Dialer = v.Dial
			first := start(t, top, cfg)
			sum := map[string]int64{}
			writeWords(t, b, r, 100, sum)
			time.Sleep(2 * time.Second)
			require.NoError(t, first.Ready())
			writeWords(t, b, r, data, sum)
			v.freeze()
			time.Sleep(5 * time.Second)
			second := start(t, top, config(t, b))
			time.Sleep(25 * time.Second)
			require.Len(t, second.Tasks(), 4, "the session of the first has run out")
			writeWords(t, b, r, 50, sum)
			time.Sleep(2 * time.Second)
			v.thaw()
			time.Sleep(30 * time.Second)
			require.NoError(t, first.Ready(), "it has joined again")
			assert.Len(t, first.Tasks(), 2)
			writeWords(t, b, r, 50, sum)
			time.Sleep(2 * time.Second)
			got := map[string]int64{}
			for _, m := range []*member{first, second} {
				for row, err := range ref.In(m).All() {
					require.NoError(t, err)
					got[row.Key] = row.Value
				}
			}
			first.stop()
			second.stop()
			for w, n := range sum {
				assert.GreaterOrEqual(t, got[w], n, "lost: %s", w)
				assert.LessOrEqual(t, got[w], 3*n, "counted more often than it was delivered: %s", w)
			}
			assert.Equal(t, got, latest(t, b, "app-counts-changelog"), "table and changelog")
		})
	}
}

// A worker that waits for room to send hears of the loss of its tasks all the same, and the App joins again.
func TestFencing_LossWakesWorkerThatWaitsToSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		const copies, size = 5000, 8 << 10 // more than a producer holds
		builder := stream.NewBuilder()
		many := stream.FlatMapValues(stream.From(builder, in), func(v string) iter.Seq[string] {
			return func(yield func(string) bool) {
				for range copies {
					if !yield(v + strings.Repeat("x", size)) {
						return
					}
				}
			}
		})
		stream.To(many, out)
		m := start(t, build(t, builder), config(t, b))
		time.Sleep(time.Second)
		sick := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "out", Err: kerr.NotEnoughReplicas, Count: -1})
		write(t, b, "in", 0, 1)
		time.Sleep(5 * time.Second)
		unknown := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1})
		require.NoError(t, unknown.Wait(t.Context(), 1))
		time.Sleep(2 * time.Second)
		require.Equal(t, millstream.Running, m.State(), "it has joined again")
		sick.Remove()
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 1, committed(t, b, "app", "in"))
		m.stop()
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.GreaterOrEqual(t, len(rs), copies)
	})
}

// Another process writes into a changelog: the owner notices when it writes next, and writes its own rows again.
func TestFencing_ForeignWriteIsOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := config(t, b)
		m := start(t, simple(t), cfg)
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("a")}, broker.Record{Key: []byte("a"), Value: []byte("1")}, broker.Record{Key: []byte("b"), Value: []byte("1")}))
		await(t, b, "counts", 2)
		time.Sleep(time.Second)
		wrong := bytes.Repeat([]byte{9}, 8)
		require.NoError(t, b.Produce(t.Context(), "app-counts-changelog", broker.Record{Key: []byte("a"), Value: wrong}, broker.Record{Key: []byte("z"), Value: wrong}))
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("b"), Value: []byte("1")}))
		time.Sleep(time.Second)
		m.stop()
		rs, err := b.Read(t.Context(), "app-counts-changelog")
		require.NoError(t, err)
		last := map[string][]byte{}
		for _, r := range rs {
			last[string(r.Key)] = r.Value
		}
		assert.Equal(t, byte(1), last["a"][7], "its own row again")
		assert.Equal(t, byte(2), last["b"][7])
		assert.Nil(t, last["z"], "deleted: the owner has no such row")
	})
}
