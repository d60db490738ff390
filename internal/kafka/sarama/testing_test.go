package sarama

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/kafka"
)

const brokerEnv = "MILLSTREAM_BENCH_BROKER"

// benchBrokers are the child processes of benchmarks, by name.
var benchBrokers = map[string]func(){}

func TestMain(m *testing.M) {
	if run := benchBrokers[os.Getenv(brokerEnv)]; run != nil {
		run()
		return
	}
	metrics.UseNilMetrics = true // its ticker would live outside every bubble
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is a cluster of three brokers on a network of its own, all in one bubble.
type world struct {
	t       *testing.T
	virtual *kfake.VirtualNetwork
	cluster *kfake.Cluster
	client  *Client
	admin   kafka.Admin
}

const testTime = 2 * time.Minute // virtual

// simulate runs f in a bubble with a cluster that has topic "t" of three partitions, led by brokers
// 0, 1 and 2.
func simulate(t *testing.T, f func(ctx context.Context, w *world), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, virtual: &kfake.VirtualNetwork{}}
		opts = append([]kfake.Opt{kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094), kfake.ListenFn(w.virtual.Listen), kfake.SeedTopics(3, "t"),
			kfake.GroupMinSessionTimeout(100 * time.Millisecond)}, opts...)
		var err error
		w.cluster, err = kfake.NewCluster(opts...)
		require.NoError(t, err)
		defer w.cluster.Close()
		for p := range int32(3) {
			require.NoError(t, w.cluster.MoveTopicPartition("t", p, p))
		}
		w.client = w.newClient(nil)
		defer w.client.Close()
		w.admin, err = w.client.Admin()
		require.NoError(t, err)
		defer w.admin.Close()
		ctx, cancel := context.WithTimeout(t.Context(), testTime)
		defer cancel()
		f(ctx, w)
	})
}

func (w *world) newClient(change func(*Config)) *Client {
	cfg := Config{Brokers: []string{"localhost:9092", "localhost:9093", "localhost:9094"}, Dialer: w.virtual.DialContext}
	if change != nil {
		change(&cfg)
	}
	c, err := newClient(cfg)
	require.NoError(w.t, err)
	return c
}

func tp(p int32) kafka.TopicPartition { return kafka.TopicPartition{Topic: "t", Partition: p} }

// reader collects what a Fetcher delivers.
type collector struct {
	mu      sync.Mutex
	records map[kafka.TopicPartition][]kafka.Record
	next    map[kafka.TopicPartition]int64
	batches []*kafka.Batch
	failed  map[kafka.TopicPartition]error
	more    chan struct{}
	release func(tp kafka.TopicPartition, bytes int)
}

func collect(f kafka.Fetcher) *collector {
	return &collector{records: map[kafka.TopicPartition][]kafka.Record{}, next: map[kafka.TopicPartition]int64{},
		failed: map[kafka.TopicPartition]error{}, more: make(chan struct{}, 1), release: f.Release}
}

func (s *collector) Deliver(b *kafka.Batch) {
	s.mu.Lock()
	s.records[b.TopicPartition] = append(s.records[b.TopicPartition], b.Records...)
	s.next[b.TopicPartition] = b.Next
	s.batches = append(s.batches, b)
	s.mu.Unlock()
	signal(s.more)
}

func (s *collector) FetchFailed(tp kafka.TopicPartition, err error) {
	s.mu.Lock()
	s.failed[tp] = err
	s.mu.Unlock()
	signal(s.more)
}

func (s *collector) at(tp kafka.TopicPartition) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next[tp]
}

// got returns the values read of a partition so far.
func (s *collector) got(tp kafka.TopicPartition) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return values(s.records[tp])
}

func (s *collector) why(tp kafka.TopicPartition) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed[tp]
}

// until waits for f to hold, and releases what was delivered.
func (s *collector) until(ctx context.Context, t *testing.T, f func() bool) {
	t.Helper()
	for {
		s.mu.Lock()
		ok := f()
		batches := s.batches
		s.batches = nil
		s.mu.Unlock()
		for _, b := range batches {
			s.release(b.TopicPartition, b.Bytes)
		}
		if ok {
			return
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			require.FailNow(t, "not in time", "next %v failed %v", s.next, s.failed)
		}
	}
}

func values(rs []kafka.Record) []string {
	out := []string{}
	for _, r := range rs {
		out = append(out, string(r.Value))
	}
	return out
}

// log reads all of partition p from the broker, uncommitted records too, over a client of its own.
func (w *world) log(ctx context.Context, tp kafka.TopicPartition) []kafka.Record {
	w.t.Helper()
	return w.read(ctx, tp, kafka.ReadUncommitted)
}

func (w *world) read(ctx context.Context, tp kafka.TopicPartition, isolation kafka.Isolation) []kafka.Record {
	w.t.Helper()
	ends, err := w.admin.ListOffsets(ctx, isolation, map[kafka.TopicPartition]int64{tp: kafka.Latest})
	require.NoError(w.t, err)
	starts, err := w.admin.ListOffsets(ctx, isolation, map[kafka.TopicPartition]int64{tp: kafka.Earliest})
	require.NoError(w.t, err)
	f, err := w.client.Fetcher(kafka.FetchConfig{Isolation: isolation})
	require.NoError(w.t, err)
	defer f.Close()
	s := collect(f)
	if starts[tp] < ends[tp] {
		f.Add(tp, starts[tp], s)
		s.until(ctx, w.t, func() bool { return s.next[tp] >= ends[tp] || s.failed[tp] != nil })
		require.NoError(w.t, s.failed[tp])
	}
	return s.records[tp]
}

func (w *world) producer(cfg kafka.ProduceConfig) kafka.Producer {
	p, err := w.client.Producer(cfg)
	require.NoError(w.t, err)
	return p
}

func send(ctx context.Context, t *testing.T, p kafka.Producer, tp kafka.TopicPartition, values ...string) {
	t.Helper()
	for _, v := range values {
		require.NoError(t, p.Send(ctx, tp, kafka.ProduceRecord{Value: []byte(v), Time: 1000}))
	}
}

func done(ctx context.Context, t *testing.T, k *kafka.Ticket) *kafka.Ticket {
	t.Helper()
	select {
	case <-k.Done:
	case <-ctx.Done():
		require.FailNow(t, "ticket not in time")
	}
	return k
}
