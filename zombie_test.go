package millstream_test

import (
	"context"
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

// valve is what all connections of a process go through: closed, nothing passes, as for a process that is suspended.
type valve struct {
	dial broker.Dialer

	mu   sync.Mutex
	open chan struct{} // closed while the valve is open
}

func newValve(dial broker.Dialer) *valve {
	v := &valve{dial: dial, open: make(chan struct{})}
	close(v.open)
	return v
}

func (v *valve) freeze() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = make(chan struct{})
}

func (v *valve) thaw() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.open)
}

func (v *valve) wait(over <-chan struct{}) {
	v.mu.Lock()
	open := v.open
	v.mu.Unlock()
	select {
	case <-open:
	case <-over:
	}
}

func (v *valve) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	v.wait(ctx.Done())
	c, err := v.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &valved{Conn: c, v: v, over: make(chan struct{})}, nil
}

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
func TestZombieAppendsNothing(t *testing.T) {
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
			words(t, b, r, 100, sum)
			time.Sleep(2 * time.Second)
			require.NoError(t, first.Ready())
			words(t, b, r, data, sum)
			v.freeze()
			time.Sleep(5 * time.Second)
			second := start(t, top, config(t, b))
			time.Sleep(25 * time.Second)
			require.Len(t, second.Tasks(), 4, "the session of the first has run out")
			words(t, b, r, 50, sum)
			time.Sleep(2 * time.Second)
			v.thaw()
			time.Sleep(30 * time.Second)
			require.NoError(t, first.Ready(), "it has joined again")
			assert.Len(t, first.Tasks(), 2)
			words(t, b, r, 50, sum)
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

// Tasks with state move when members come and go; those that stay do not stop.
func TestStateMovesWithItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		top, _ := counting(t)
		sum := map[string]int64{}
		var members []*member
		for range 3 {
			members = append(members, start(t, top, config(t, b)))
			words(t, b, r, 500, sum)
			time.Sleep(15 * time.Second)
		}
		total := 0
		for _, m := range members {
			require.NoError(t, m.Ready())
			total += len(m.Tasks())
		}
		assert.Equal(t, 8, total)
		for _, m := range members {
			words(t, b, r, 500, sum)
			m.stop()
		}
		last := start(t, top, config(t, b))
		words(t, b, r, 500, sum)
		time.Sleep(15 * time.Second)
		last.stop()
		assert.Equal(t, sum, latest(t, b, "counts"), "nobody was killed: each record counts once")
		assert.Equal(t, sum, latest(t, b, "app-counts-changelog"))
	})
}

// A worker that waits for room to send hears of the loss of its tasks all the same, and the App joins again.
func TestLossFreesAWorkerThatWaitsToSend(t *testing.T) {
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
		lost := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1})
		require.NoError(t, lost.Wait(t.Context(), 1))
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
