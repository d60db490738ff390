package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	in  = stream.NewTopic("in", serde.String, serde.String)
	out = stream.NewTopic("out", serde.String, serde.String)
)

// upper is a topology without state.
func upper(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	stream.To(stream.MapValues(stream.From(b, in), strings.ToUpper), out)
	return build(t, b)
}

func build(t *testing.T, b *stream.Builder) *topology.Topology {
	t.Helper()
	top, err := b.Build()
	require.NoError(t, err)
	return top
}

// config is that of an App beside b.
func config(t *testing.T, b *broker.Broker) millstream.Config {
	return millstream.Config{
		ApplicationID: "app", Brokers: b.Brokers(), Dialer: b.Dialer(), StateDir: t.TempDir(), Workers: 2, Logger: logger(t),
	}
}

// member is an App that runs.
type member struct {
	*millstream.App
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
}

func start(t *testing.T, top *topology.Topology, cfg millstream.Config) *member {
	t.Helper()
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{App: app, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() {
		err := app.Run(ctx)
		if err != nil {
			t.Log("Run:", err)
		}
		m.done <- err
	}()
	return m
}

// stop stops it gracefully.
func (m *member) stop() {
	m.t.Helper()
	m.cancel()
	require.NoError(m.t, <-m.done)
}

// write writes n records with keys of the form k7 and values of the form v7, from the number first.
func write(t *testing.T, b *broker.Broker, topic string, first, n int) {
	t.Helper()
	var rs []broker.Record
	for i := first; i < first+n; i++ {
		rs = append(rs, broker.Record{Partition: broker.ByKey, Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	require.NoError(t, b.Produce(t.Context(), topic, rs...))
}

// await follows a topic until it has n records.
func await(t *testing.T, b *broker.Broker, topic string, n int) []broker.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var rs []broker.Record
	for r, err := range b.Follow(ctx, topic) {
		require.NoError(t, err, "after %d records of %q", len(rs), topic)
		if rs = append(rs, r); len(rs) == n {
			return rs
		}
	}
	require.Fail(t, "records are missing", "%q has %d, not %d", topic, len(rs), n)
	return nil
}

// committedRecords returns all that a topic has now. await ends at the record that it waits for, and sees none that is there
// twice.
func committedRecords(t *testing.T, b *broker.Broker, topic string) []broker.Record {
	t.Helper()
	rs, err := b.Read(t.Context(), topic)
	require.NoError(t, err)
	return rs
}

func values(rs []broker.Record) map[string]string {
	out := map[string]string{}
	for _, r := range rs {
		out[string(r.Key)] = string(r.Value)
	}
	return out
}

// committed returns the sum of the committed offsets of a topic.
func committed(t *testing.T, b *broker.Broker, group, topic string) int64 {
	t.Helper()
	info := b.Cluster().GroupInfo(group)
	require.NotNil(t, info)
	var sum int64
	for _, c := range info.Commits[topic] {
		sum += c.Offset
	}
	return sum
}

type ctx = context.Context

func withCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// keyOf returns a key of partition p among n by Kafka's default partitioner.
func keyOf(p, n int) []byte {
	for i := 0; ; i++ {
		if key := fmt.Appendf(nil, "p%d", i); int(partitioner.ForKey(key, n)) == p {
			return key
		}
	}
}

// stopAfter lets it work for a while before.
func (m *member) stopAfter(d time.Duration) {
	m.t.Helper()
	time.Sleep(d)
	m.stop()
}

// changelogStart returns where the changelog of store s begins and ends.
func changelogStart(t *testing.T, b *broker.Broker, topic string) (start, end int64) {
	administer(t, b, func(a kafka.Admin) error {
		tp := kafka.TopicPartition{Topic: topic}
		at, err := a.ListOffsets(t.Context(), kafka.ReadUncommitted, map[kafka.TopicPartition]int64{tp: kafka.Earliest})
		if err == nil {
			start = at[tp]
			at, err = a.ListOffsets(t.Context(), kafka.ReadUncommitted, map[kafka.TopicPartition]int64{tp: kafka.Latest})
			end = at[tp]
		}
		return err
	})
	return start, end
}

func headers(r broker.Record) string {
	var s strings.Builder
	for _, h := range r.Headers {
		s.WriteString(h.Name + "=" + string(h.Value) + "\n")
	}
	return s.String()
}

func newValve(dial broker.Dialer) *valve {
	v := &valve{dial: dial, open: make(chan struct{})}
	close(v.open)
	return v
}

// foreignKeyJoins joins orders with customers, by foreign key, and both with what they cost, by key, and counts orders by customer.
func foreignKeyJoins(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	topic := func(name string) stream.Topic[string, string] {
		return stream.NewTopic(name, serde.String, serde.String)
	}
	customer := func(_, order string) (string, bool) {
		c, _, ok := strings.Cut(order, "|")
		return c, ok
	}
	orders := table.From(b, topic("orders"), "orders")
	named := join.ForeignKeyLeft(orders, table.From(b, topic("customers"), "customers"), "named", customer,
		func(order, name string, ok bool) string { return fmt.Sprint(order, " ", name, ok) })
	stream.To(table.ToStream(named), topic("named"))
	costs := join.TableTable(named, table.From(b, topic("costs"), "costs"), func(named, cost string) string { return named + " " + cost })
	stream.To(table.ToStream(costs), topic("with-costs"))
	byCustomer := table.GroupBy(orders, func(k, order string) (string, string, bool) {
		c, ok := customer(k, order)
		return c, "", ok
	})
	stream.To(table.ToStream(table.CountRows(byCustomer, "orders-by-customer")), stream.NewTopic("counts", serde.String, serde.Int64))
	return build(t, b)
}

var rows = stream.NewTopic("rows", serde.String, serde.String)

// globalJoin joins each value of "in" with the row that has the value as its key.
func globalJoin(t *testing.T, opts ...store.Option) (*topology.Topology, store.KeyValueRef[string, string]) {
	b := stream.NewBuilder()
	g := table.Global(b, rows, "rows", opts...)
	s := join.StreamGlobalLeft(stream.From(b, in), g,
		func(r stream.Record[string, string]) (string, bool) { return r.Value, true },
		func(v, row string, ok bool) string { return fmt.Sprintf("%s+%s %v", v, row, ok) })
	stream.To(s, out)
	return build(t, b), g.Store()
}

// writeRows writes rows v0 to vn, with the round in their values.
func writeRows(t *testing.T, b *broker.Broker, n, round int) {
	t.Helper()
	var rs []broker.Record
	for i := range n {
		rs = append(rs, broker.Record{Partition: broker.ByKey, Key: fmt.Appendf(nil, "v%d", i), Value: fmt.Appendf(nil, "r%d.%d", i, round)})
	}
	require.NoError(t, b.Produce(t.Context(), "rows", rs...))
}

// safeBuffer is a bytes.Buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// logTo has an App log to a buffer.
func logTo(cfg *millstream.Config) *safeBuffer {
	log := &safeBuffer{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	return log
}

// transact writes records to a partition in a transaction and ends it, which leaves a marker behind them.
func transact(t *testing.T, b *broker.Broker, topic string, end kgo.TransactionEndTry, records ...kgo.Record) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.Dialer(b.Dialer()), kgo.TransactionalID("other"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic), kgo.DisableClientMetrics())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.BeginTransaction())
	for _, r := range records {
		require.NoError(t, c.ProduceSync(t.Context(), &r).FirstErr())
	}
	require.NoError(t, c.EndTransaction(t.Context(), end))
}

// lines returns the lines of a log that have a text, without their times.
func (s *safeBuffer) lines(with string) (out []string) {
	for line := range strings.Lines(s.String()) {
		if strings.Contains(line, with) {
			_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
			out = append(out, line)
		}
	}
	return out
}

var counts = stream.NewTopic("counts", serde.String, serde.Int64)

// counting counts values: one sub-topology that re-keys, one that counts.
func counting(t *testing.T, opts ...store.Option) (*topology.Topology, store.KeyValueRef[string, int64]) {
	b := stream.NewBuilder()
	byValue := stream.GroupBy(stream.From(b, in), func(_, v string) string { return v })
	n := table.Count(byValue, "counts", opts...)
	stream.To(table.ToStream(n), counts)
	return build(t, b), n.Store()
}

// simple counts by key: one sub-topology.
func simple(t *testing.T, opts ...store.Option) *topology.Topology {
	b := stream.NewBuilder()
	stream.To(table.ToStream(table.Count(stream.GroupByKey(stream.From(b, in)), "counts", opts...)), counts)
	return build(t, b)
}

// writeWords writes n records whose values are among 20 words, and adds them up in sum.
func writeWords(t *testing.T, b *broker.Broker, r *rand.Rand, n int, sum map[string]int64) {
	t.Helper()
	rs := make([]broker.Record, n)
	for i := range rs {
		w := fmt.Sprintf("w%d", r.IntN(20))
		sum[w]++
		rs[i] = broker.Record{Partition: broker.ByKey, Key: []byte(w), Value: []byte(w)}
	}
	require.NoError(t, b.Produce(t.Context(), "in", rs...))
}

// latest reads the last value of each key.
func latest(t *testing.T, b *broker.Broker, topic string) map[string]int64 {
	t.Helper()
	rs, err := b.Read(t.Context(), topic)
	require.NoError(t, err)
	out := map[string]int64{}
	for _, r := range rs {
		n, err := serde.Int64.Decode(r.Value)
		require.NoError(t, err)
		out[string(r.Key)] = n
	}
	return out
}

func runToEnd(t *testing.T, top *topology.Topology, cfg millstream.Config) *millstream.App {
	t.Helper()
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	require.NoError(t, app.RunToEnd(noSync(t.Context())))
	return app
}

// noSync spares the disk: nobody cuts its power here. Files are small, so that there are merges.
func noSync(ctx context.Context) context.Context {
	return statedir.With(ctx, statedir.Options{NoSync: true, PageSize: 1024, FileBytes: 1 << 10, Factor: 2})
}

// runUntilCrash runs an App that is killed when it passes a crash point for the nth time. It returns whether it was.
func runUntilCrash(t *testing.T, top *topology.Topology, cfg millstream.Config, at crashpoint.Point, nth int) bool {
	t.Helper()
	left := nth
	return runUntil(t, top, cfg, func(p crashpoint.Point) bool {
		if p != at {
			return false
		}
		left--
		return left <= 0
	})
}

// runUntil runs an App that is killed at the first crash point at which crashes returns true. It returns whether it was.
func runUntil(t *testing.T, top *topology.Topology, cfg millstream.Config, crashes func(crashpoint.Point) bool) bool {
	t.Helper()
	var mu sync.Mutex
	dead := false // no goroutine of it passes another point
	// Files of a row each, and a flush at each commit: so all points are passed that a store has.
	ctx := statedir.With(t.Context(), statedir.Options{NoSync: true, PageSize: 1024, FileBytes: 1, Factor: 2, ReplayBytes: 1})
	ctx = crashpoint.With(ctx, func(p crashpoint.Point) {
		mu.Lock()
		defer mu.Unlock()
		if dead = dead || crashes(p); dead {
			panic(crashpoint.Dead)
		}
	})
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	err = app.RunToEnd(ctx)
	if err != nil {
		require.ErrorIs(t, err, crashpoint.Dead)
	}
	return err != nil
}

func deleteBefore(t *testing.T, b *broker.Broker, topic string, offset int64) {
	t.Helper()
	administer(t, b, func(a kafka.Admin) error {
		return a.DeleteRecords(t.Context(), map[kafka.TopicPartition]int64{{Topic: topic}: offset})
	})
}

func administer(t *testing.T, b *broker.Broker, f func(kafka.Admin) error) {
	t.Helper()
	c, err := sarama.New(sarama.Config{Brokers: b.Brokers(), Dialer: b.Dialer()})
	require.NoError(t, err)
	defer c.Close()
	admin, err := c.Admin()
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, f(admin))
}

const compacted = "cleanup.policy=compact"

type rec = stream.Record[string, string]

func logger(t *testing.T) *slog.Logger {
	if os.Getenv("MILLSTREAM_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// adding is a test of partitions that are added while Apps run.
type adding struct {
	t *testing.T
	b *broker.Broker
}

func (a adding) partitions(topic string, total int) {
	a.t.Helper()
	require.NoError(a.t, a.b.AddPartitions(a.t.Context(), topic, total))
}

// each writes a record to each of the first n partitions of a topic, with the key k0 in partition 0.
func (a adding) each(topic string, n int, value string) {
	a.t.Helper()
	for p := range n {
		r := broker.Record{Partition: int32(p), Key: fmt.Appendf(nil, "k%d", p), Value: []byte(value)}
		require.NoError(a.t, a.b.Produce(a.t.Context(), topic, r))
	}
}

// has checks how many records a topic holds.
func (a adding) has(topic string, n int, msg string) {
	a.t.Helper()
	all, err := a.b.Read(a.t.Context(), topic)
	require.NoError(a.t, err)
	assert.Len(a.t, all, n, msg)
}

// latestOnly copies what comes after the first start.
func latestOnly(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	stream.To(stream.From(b, in.StartAt(stream.Latest)), out)
	return build(t, b)
}

// valve is what all connections of a process go through: closed, nothing passes, as for a process that is suspended.
type valve struct {
	dial broker.Dialer

	mu   sync.Mutex
	open chan struct{} // closed while the valve is open
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

// numbers keeps the numbers of "rows" twice: doubled, and as they are.
func numbers(t *testing.T, policy failure.Policy, f func(v int64) error) (*topology.Topology, store.KeyValueRef[string, int64]) {
	topic := stream.NewTopic("rows", serde.String, serde.Int64).OnDecodeError(policy)
	single := store.NewKeyValue("own", serde.String, serde.Int64)
	double := store.NewKeyValue("double", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.GlobalStore(b, topic, "keep", func(t *topology.Task) (func(stream.Record[string, int64]) error, error) {
		single, double := single.In(t), double.In(t)
		return func(r stream.Record[string, int64]) error {
			if err := f(r.Value); err != nil {
				return err
			}
			return errors.Join(single.Put(r.Key, r.Value), double.Put(r.Key, 2*r.Value))
		}, nil
	}, single, double)
	stream.To(stream.Process(stream.From(b, in), "look-up", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		single, double := single.In(c), double.In(c)
		return func(r stream.Record[string, string]) error {
			x, _, err := single.Get("n")
			y, _, err2 := double.Get("n")
			c.Forward(stream.WithValue(r, fmt.Sprint(x, " ", y)))
			return errors.Join(err, err2)
		}, nil
	}, single, double), out)
	return build(t, b), single
}

func number(t *testing.T, b *broker.Broker, n int64) {
	v, _ := serde.Int64.Append(nil, n)
	require.NoError(t, b.Produce(t.Context(), "rows", broker.Record{Key: []byte("n"), Value: v}))
}

// assignments is what Events.Assigned was told.
type assignments struct {
	mu  sync.Mutex
	all []string
}

func (a *assignments) events() millstream.Events {
	return millstream.Events{Assigned: func(tasks []string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all = append(a.all, strings.Join(tasks, " "))
	}}
}

func (a *assignments) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = nil
	return all
}
