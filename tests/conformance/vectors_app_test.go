package conformance

import (
	"context"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestVectors_ThroughApp runs timelines through whole Apps beside an in-process broker, with one partition, each App killed between two
// steps once the commit of the first has settled, and followed by one on the same directory: what comes out, and what the stores hold at
// the end, is what Kafka Streams had. Those of one sub-topology are taken, without wall clock, punctuations, errors and settings of the
// driver; with -short every eighth of them.
func TestVectors_ThroughApp(t *testing.T) {
	known, ours := specs(t), programs()
	var ran atomic.Int64
	left := map[string]int{}
	t.Run("timelines", func(t *testing.T) {
		for _, v := range vectors(t, *dir) {
			p, ok := ours[v.Topology]
			if !ok {
				continue
			}
			name := v.Topology + "." + v.Timeline
			if why := unfit(t, p, v); why != "" {
				left[why]++
				continue
			}
			if testing.Short() && hash(name)%8 != 0 {
				left["-short"]++
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { runApp(t, known[v.Topology], p, v, hash(name)) })
				ran.Add(1)
			})
		}
	})
	t.Logf("%d timelines; left out: %v", ran.Load(), left)
	assert.NotZero(t, ran.Load())
}

func hash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

// unfit says why a timeline does not run through an App; "": it does.
func unfit(t *testing.T, p program, v timeline) string {
	switch {
	case slices.ContainsFunc(v.Steps, func(s step) bool { return s.In == nil }):
		return "wall clock"
	case slices.ContainsFunc(v.Steps, func(s step) bool { return s.Error != nil }):
		return "errors"
	case len(p.options) > 0:
		return "settings"
	case strings.HasPrefix(v.Topology, "punctuate-"): // in Kafka Streams, too, the first record after a start sets them off
		return "punctuations, which are scheduled again by each App"
	case subs(p.topology(t)) != 1:
		return "several sub-topologies"
	}
	return ""
}

// subs is how many sub-topologies there are beside those that keep global stores.
func subs(top *topology.Topology) (n int) {
	for _, s := range (*graph.Handle)(top).Graph().Subtopologies {
		if !s.Global {
			n++
		}
	}
	return n
}

// life is an App from its start to its death.
type life struct {
	*millstream.App
	cancel context.CancelFunc
	done   chan error

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
	under broker.Dialer
}

func begin(t *testing.T, top *topology.Topology, b *broker.Broker, dir string) *life {
	l := &life{done: make(chan error, 1), under: b.Dialer()}
	app, err := millstream.New(top, millstream.Config{
		ApplicationID: "conformance", Brokers: b.Brokers(), Dialer: l.dial, StateDir: dir, Workers: 1, CommitInterval: 5 * time.Millisecond,
		Logger: logger(),
	})
	require.NoError(t, err)
	l.App = app
	ctx := crashpoint.With(t.Context(), func(crashpoint.Point) {
		if l.isDead() {
			panic(crashpoint.Dead)
		}
	})
	ctx, l.cancel = context.WithCancel(statedir.With(ctx, statedir.Options{NoSync: true, PageSize: 1024}))
	go func() { l.done <- app.Run(ctx) }()
	return l
}

func logger() *slog.Logger {
	if os.Getenv("MILLSTREAM_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *life) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *life) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := l.under(ctx, network, address)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.dead {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	l.conns = append(l.conns, c)
	return c, err
}

// runs reports whether the task runs, whose stores can then be read.
func (l *life) runs() bool {
	all := l.Tasks()
	return len(all) == 1 && all[0].Running
}

// await waits until the task runs.
func (l *life) await(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !l.runs(); time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "the task does not run: %v", l.Tasks())
	}
}

// kill cuts the App off and has it do nothing more: no commit, no flush, no goodbye.
func (l *life) kill() {
	l.mu.Lock()
	l.dead = true
	conns := l.conns
	l.mu.Unlock()
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
	l.cancel()
	<-l.done // however it ends
}

func (l *life) stop(t *testing.T) {
	l.cancel()
	require.NoError(t, <-l.done)
}

// runApp sends the timeline's records one after the other, each when the one before is committed.
func runApp(t *testing.T, s spec, p program, v timeline, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	b := broker.Start(t, broker.Virtual(), broker.Brokers(1))
	for _, name := range slices.Concat(s.Inputs, s.Outputs) {
		if !strings.HasPrefix(name, "conformance-") && b.Cluster().TopicInfo(name) == nil {
			require.NoError(t, b.CreateTopic(name, 1, "cleanup.policy="+policy(p.topology(t), name), "retention.ms=-1"))
		}
	}
	dir := t.TempDir()
	app := begin(t, p.topology(t), b, dir)
	grouped := inputsOfGroup(t, p, s.Inputs)
	sent := map[string]int64{}
	kills := []int{r.IntN(len(v.Steps)), r.IntN(len(v.Steps))}
	for i, x := range v.Steps {
		send(t, b, *x.In)
		sent[x.In.Topic]++
		settle(t, b, app, sent, grouped)
		if slices.Contains(kills, i) {
			app.await(t) // the broker keeps a member for ever that dies while it joins for the first time
			app.kill()
			app = begin(t, p.topology(t), b, dir)
		}
	}
	settle(t, b, app, sent, grouped)
	app.await(t)
	compareApp(t, s, p, v, b, app)
	app.stop(t)
}

// policy is compact for topics that tables are restored from.
func policy(top *topology.Topology, topic string) string {
	if slices.ContainsFunc((*graph.Handle)(top).Graph().Stores, func(s *graph.Store) bool { return s.SourceTopic == topic }) {
		return "compact"
	}
	return "delete"
}

// inputsOfGroup are the topics whose offsets the group commits: all but those of global tables.
func inputsOfGroup(t *testing.T, p program, inputs []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range inputs {
		out[n] = true
	}
	for _, n := range (*graph.Handle)(p.topology(t)).Graph().Nodes {
		if n.Source != nil && n.Source.Global {
			for _, topic := range n.Source.Topics {
				delete(out, topic)
			}
		}
	}
	return out
}

func send(t *testing.T, b *broker.Broker, r record) {
	t.Helper()
	out := broker.Record{Key: bytesOf(r.Key), Value: bytesOf(r.Value), Time: time.UnixMilli(r.TS)}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, broker.Header{Name: *h[0], Value: bytesOf(h[1])})
	}
	require.NoError(t, b.Produce(t.Context(), r.Topic, out))
}

// settle waits until all that was sent is committed. What global tables read nobody commits: they get time.
func settle(t *testing.T, b *broker.Broker, app *life, sent map[string]int64, grouped map[string]bool) {
	t.Helper()
	for topic := range sent {
		if !grouped[topic] {
			time.Sleep(time.Second)
			continue
		}
		for end := time.Now().Add(2 * time.Minute); !isCommitted(b, topic, sent[topic]); time.Sleep(10 * time.Millisecond) {
			select {
			case err := <-app.done:
				require.NoError(t, err, "Run has returned")
			default:
			}
			require.True(t, time.Now().Before(end), "%d records of %q are not committed", sent[topic], topic)
		}
	}
}

func isCommitted(b *broker.Broker, topic string, end int64) bool {
	info := b.Cluster().GroupInfo("conformance")
	return info != nil && info.Commits[topic][0].Offset >= end
}

// compareApp compares what was written to each topic, and what stores hold, with the timeline.
func compareApp(t *testing.T, s spec, p program, v timeline, b *broker.Broker, app *life) {
	for _, topic := range s.Outputs {
		if b.Cluster().TopicInfo(topic) == nil {
			continue
		}
		rs, err := b.Read(t.Context(), topic)
		require.NoError(t, err)
		var all []record
		for _, x := range v.Steps {
			for _, o := range x.Out {
				if o.Topic == topic {
					all = append(all, o)
				}
			}
		}
		assert.Equal(t, lastOf(all), lastOf(recordsOf(rs, topic, slices.Contains(s.HexOutputs, topic))), "topic %s", topic)
	}
	for name, rows := range v.Stores {
		assert.Equal(t, rows, dump(t, app.App, name, s.Stores[name], slices.Contains(p.numbers, name)), "store %s", name)
	}
}

func recordsOf(rs []broker.Record, topic string, inHex bool) (out []record) {
	for _, r := range rs {
		x := record{Topic: topic, TS: r.Time.UnixMilli(), Key: render(r.Key, r.Key == nil, inHex), Value: render(r.Value, r.Value == nil, inHex)}
		for _, h := range r.Headers {
			x.Headers = append(x.Headers, [2]*string{&h.Name, render(h.Value, h.Value == nil, false)})
		}
		out = append(out, x)
	}
	return out
}

// lastOf returns the last record of each key.
func lastOf(rs []record) map[string]string {
	out := map[string]string{}
	for _, r := range rs {
		out[quoted(r.Key)] = r.text()
	}
	return out
}
