//go:build kafka

package kafkatest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/tests/kafkatest"
	"github.com/millstream-go/millstream/topology"
)

// asApp, when it is set, makes this binary an App that can be killed: a childConfig.
const asApp = "MILLSTREAM_KAFKATEST_APP"

func TestMain(m *testing.M) {
	if cfg := os.Getenv(asApp); cfg != "" {
		os.Exit(child(cfg))
	}
	goleak.VerifyTestMain(m)
}

var (
	lines  = stream.NewTopic("lines", serde.String, serde.String)
	counts = stream.NewTopic("counts", serde.String, serde.Int64)
)

const (
	partitions = 4
	tasks      = 2 * partitions // of counting, which has two sub-topologies
)

// counting counts the values of lines: one sub-topology re-keys, one counts.
func counting() (*topology.Topology, error) {
	b := stream.NewBuilder()
	byValue := stream.GroupBy(stream.From(b, lines), func(_, v string) string { return v })
	stream.To(table.ToStream(table.Count(byValue, "words")), counts)
	return b.Build()
}

// childConfig is what a child process is told.
type childConfig struct {
	Application, Broker, StateDir string
	Guarantee                     millstream.Guarantee
	Standbys                      int
	Rows                          bool // countingRows in place of counting
}

func (c childConfig) app() millstream.Config {
	return millstream.Config{
		ApplicationID: c.Application, Brokers: []string{c.Broker}, StateDir: c.StateDir, ClientID: c.Application + "-client",
		Guarantee: c.Guarantee, Standbys: c.Standbys, SessionTimeout: 6 * time.Second, HeartbeatInterval: time.Second,
	}
}

func child(text string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	var c childConfig
	err := json.Unmarshal([]byte(text), &c)
	var top *topology.Topology
	if err == nil {
		if top, err = counting(); c.Rows {
			top, err = countingRows()
		}
	}
	var app *millstream.App
	if err == nil {
		app, err = millstream.New(top, c.app())
	}
	if err == nil {
		err = app.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// spawn starts a child, whose output goes to the test's log.
func spawn(t *testing.T, c childConfig) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asApp+"="+string(text))
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// member is an App in this process.
type member struct {
	*millstream.App
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
}

func run(t *testing.T, cfg millstream.Config) *member {
	t.Helper()
	top, err := counting()
	require.NoError(t, err)
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{app, t, cancel, make(chan error, 1)}
	go func() { m.done <- app.Run(ctx) }()
	return m
}

func (m *member) stop() {
	m.t.Helper()
	m.cancel()
	require.NoError(m.t, <-m.done)
}

// has waits until the member runs n tasks.
func (m *member) has(n int) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("%d tasks that run", n), func() bool {
		running := 0
		for _, x := range m.Tasks() {
			if x.Running {
				running++
			}
		}
		return running == n && len(m.Tasks()) == n
	})
}

// patience is how long a test waits for what has to come, on a machine that may be busy with much else.
const patience = 4 * time.Minute

// eventually polls: what is awaited happens in other processes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "not in time: %s", what)
	}
}

// feeder writes words without pause and counts what was acknowledged.
type feeder struct {
	stop   context.CancelFunc
	over   chan error
	mu     sync.Mutex
	counts map[string]int64
	total  int64
}

func feed(t *testing.T, n *kafkatest.Node, seed uint64) *feeder {
	t.Helper()
	t.Log("seed", seed)
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.DefaultProduceTopic("lines"), kgo.ProducerLinger(0))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	f := &feeder{stop: cancel, over: make(chan error, 1), counts: map[string]int64{}}
	go func() {
		defer c.Close()
		f.over <- f.run(ctx, t.Context(), c, rand.New(rand.NewPCG(seed, 1)))
	}()
	return f
}

func (f *feeder) run(ctx, all context.Context, c *kgo.Client, r *rand.Rand) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		var rs []*kgo.Record
		for range 40 {
			rs = append(rs, &kgo.Record{Key: fmt.Append(nil, r.IntN(1000)), Value: fmt.Appendf(nil, "w%d", r.IntN(200))})
		}
		if err := c.ProduceSync(all, rs...).FirstErr(); err != nil {
			return err
		}
		f.mu.Lock()
		f.total += int64(len(rs))
		for _, x := range rs {
			f.counts[string(x.Value)]++
		}
		f.mu.Unlock()
	}
}

// end ends the feeding and returns how often each word was written.
func (f *feeder) end(t *testing.T) (map[string]int64, int64) {
	t.Helper()
	f.stop()
	require.NoError(t, <-f.over)
	return f.counts, f.total
}

// more waits until n more records were written than now.
func (f *feeder) more(t *testing.T, n int64) {
	t.Helper()
	written := func() int64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.total
	}
	from := written()
	eventually(t, "writing", func() bool { return written() >= from+n })
}

// latest reads a topic to its end and returns the last value of each key.
func latest(t *testing.T, ctx context.Context, n *kafkatest.Node, topic string) map[string]int64 {
	t.Helper()
	out, _ := committed(t, ctx, n, topic)
	return out
}

// committed reads what is committed in a topic, to its end. It returns the last value of each key, and how many records there are.
func committed(t *testing.T, ctx context.Context, n *kafkatest.Node, topic string) (out map[string]int64, records int64) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	require.NoError(t, err)
	defer c.Close()
	left := ends(t, ctx, n, topic)
	out = map[string]int64{}
	for len(left) > 0 {
		f := c.PollFetches(ctx)
		require.NoError(t, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				v, err := serde.Int64.Decode(r.Value)
				require.NoError(t, err)
				out[string(r.Key)] = v
				records++
			}
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
		})
	}
	return out, records
}

// group is what Kafka's own tool says of a group: by consumer the partitions that it reads, and the sum of what is not committed.
func group(t *testing.T, ctx context.Context, n *kafkatest.Node, name string) (owned map[string][]string, lag int) {
	t.Helper()
	out, err := n.Tool(ctx, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", n.Addr, "--describe", "--group", name)
	require.NoError(t, err)
	owned = map[string][]string{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line) // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID
		if len(f) < 9 || f[0] != name {
			continue
		}
		behind := 0
		if _, err := fmt.Sscan(f[5], &behind); err == nil {
			lag += behind
		}
		owned[f[6]] = append(owned[f[6]], f[1]+"-"+f[2])
		if f[6] != "-" {
			assert.Equal(t, name+"-client", f[8])
		}
	}
	return owned, lag
}

// reads returns what a member's tasks read.
func (m *member) reads(application string) (out []string) {
	for _, x := range m.Tasks() {
		sub, p, _ := strings.Cut(x.ID, "_")
		topic := "lines"
		if sub == "1" {
			topic = application + "-words-repartition"
		}
		out = append(out, topic+"-"+p)
	}
	return out
}

// ends returns where the partitions of a topic end that are not empty.
func ends(t *testing.T, ctx context.Context, n *kafkatest.Node, topic string) map[int32]int64 {
	t.Helper()
	out, err := n.Tool(ctx, "org.apache.kafka.tools.GetOffsetShell", "--bootstrap-server", n.Addr, "--topic", topic)
	require.NoError(t, err)
	left := map[int32]int64{}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), ":")
		require.Len(t, f, 3, out)
		var p, end int64
		_, err := fmt.Sscan(f[1]+" "+f[2], &p, &end)
		require.NoError(t, err)
		if end > 0 {
			left[int32(p)] = end
		}
	}
	return left
}

// toEnd has another member come, work until nothing is left, and go.
func toEnd(t *testing.T, ctx context.Context, cfg millstream.Config) *millstream.App {
	t.Helper()
	top, err := counting()
	require.NoError(t, err)
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	require.NoError(t, app.RunToEnd(ctx))
	return app
}

// topics creates the topics of counting, and others.
func topics(t *testing.T, ctx context.Context, n *kafkatest.Node) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr))
	require.NoError(t, err)
	defer c.Close()
	r := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range []string{"lines", "counts"} {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
		r.Topics = append(r.Topics, topic)
	}
	answer, err := r.RequestWith(ctx, c)
	require.NoError(t, err)
	for _, x := range answer.Topics {
		require.Zero(t, x.ErrorCode, x.Topic)
	}
}
