package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/tests/kafkatest"
)

// workload is something that is measured. The names of those that are measured together, since one leaves what the next needs, follow
// the first one's.
type workload struct {
	names []string
	state bool // measured at each of -rows; others at the first
	kafka bool // needs a broker
	run   func(b *bench, ctx context.Context, rows int64) error
}

var workloads = []workload{
	{names: []string{"chain"}, run: (*bench).chain},
	{names: storePhases, state: true, run: (*bench).stores},
	{names: []string{"pass"}, kafka: true, run: (*bench).pass},
	{names: []string{"count"}, state: true, kafka: true, run: (*bench).count},
	{names: []string{"windows"}, state: true, kafka: true, run: (*bench).windows},
	{names: []string{"streams"}, state: true, kafka: true, run: (*bench).streams},
	{names: []string{"foreign"}, state: true, kafka: true, run: (*bench).foreign},
	{names: []string{"load", "join", "restore"}, state: true, kafka: true, run: (*bench).table},
	{names: []string{"latency"}, kafka: true, run: (*bench).measureLatency},
	{names: []string{"idle"}, kafka: true, run: (*bench).measureIdle},
	{names: []string{"values"}, kafka: true, run: (*bench).values},
	{names: []string{"json"}, kafka: true, run: (*bench).jsonValues},
	{names: []string{"partitions"}, kafka: true, run: (*bench).manyPartitions},
}

func workloadNames() (names []string) {
	for _, w := range workloads {
		names = append(names, w.names...)
	}
	return names
}

// bench is a run.
type bench struct {
	options
	dir       string
	broker    string
	brokerPID int
	client    *kgo.Client
	java      javaProgram
	report    report
}

// measure runs what was asked for, size by size.
func (b *bench) measure(ctx context.Context) error {
	wanted := slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool { return !slices.ContainsFunc(w.names, b.wanted) })
	b.report.begin(b.options)
	if slices.ContainsFunc(wanted, func(w workload) bool { return w.kafka }) {
		stop, err := b.startKafka(ctx)
		if err != nil {
			return err
		}
		defer stop()
	}
	for i, rows := range b.rows {
		for _, w := range wanted {
			if i > 0 && !w.state {
				continue
			}
			if err := w.run(b, ctx, rows); err != nil {
				return fmt.Errorf("%s, %d rows: %w", w.names[0], rows, err)
			}
			if err := b.clear(ctx); err != nil {
				return err
			}
		}
	}
	b.report.end()
	return nil
}

// startKafka starts the broker, and makes the program on Kafka Streams.
func (b *bench) startKafka(ctx context.Context) (stop func(), err error) {
	if b.peers.has(peerStreams) {
		if b.java, err = buildJava(ctx, b.cache); err != nil {
			return nil, err
		}
	}
	// The files of deleted topics go at once: the next workload needs the disk.
	n, err := kafkatest.New(ctx, b.dir, kafkatest.Options{Properties: map[string]string{"log.segment.delete.delay.ms": "1000"}})
	if err != nil {
		return nil, err
	}
	b.broker, b.brokerPID = n.Addr, n.PID()
	if err := b.connect(); err != nil {
		n.Kill()
		return nil, err
	}
	return func() { b.client.Close(); n.Kill() }, nil
}

// connect makes a client that loads topics and asks the broker.
func (b *bench) connect() (err error) {
	b.client, err = kgo.NewClient(kgo.SeedBrokers(b.broker), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(1<<18))
	return err
}

// clear removes what a workload leaves: topics and state.
func (b *bench) clear(ctx context.Context) error {
	if b.client != nil {
		if err := b.deleteTopics(ctx); err != nil {
			return err
		}
		// A client remembers the ids of topics, which other ones will have.
		b.client.Close()
		if err := b.connect(); err != nil {
			return err
		}
	}
	return os.RemoveAll(b.states())
}

func (b *bench) states() string { return filepath.Join(b.dir, "states") }

// state returns a directory for the state of a workload's program.
func (b *bench) state(s spec) string {
	return filepath.Join(b.states(), s.program()+"-"+s.Workload+"-"+strconv.FormatInt(s.Rows, 10))
}

// keys returns the keys of records: first each of the rows once, in no order, then uniform ones.
func keys(rows int64) func(int64) int64 {
	return func(n int64) int64 {
		if n < rows {
			return scattered(n, rows)
		}
		return keyOf(n, rows)
	}
}

// withoutState returns how many records a workload reads that builds no state: a quarter of them is not measured.
func (o options) withoutState() (records, warm int64) { return o.records + o.records/3, o.records / 3 }
