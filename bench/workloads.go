package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/internal/kafkatest"
)

// bench is a run.
type bench struct {
	options
	dir    string
	broker string
	client *kgo.Client
	table  report
}

// local measures what needs no broker.
func (b *bench) local(ctx context.Context) error {
	if b.wanted("chain") {
		if err := b.alone(ctx, spec{Workload: "chain", Records: 10 * b.records}); err != nil {
			return err
		}
	}
	if b.wanted("store") {
		for _, name := range []string{"store-uniform", "store-zipf"} {
			if err := b.alone(ctx, spec{Workload: name, Records: b.records, Before: b.keys, StateDir: b.dir}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) alone(ctx context.Context, s spec) error {
	s.Kind, s.Profile = "local", b.profile
	r, m, err := measure(ctx, s)
	if err == nil {
		b.add(line{name: s.Workload, app: r, mem: m})
	}
	return err
}

func (b *bench) add(l line) {
	b.table.lines = append(b.table.lines, l)
	fmt.Fprintf(os.Stderr, "%s: %.2f µs a record\n", l.name, l.app.CPU)
}

// kafka measures Apps on a real Kafka.
func (b *bench) kafka(ctx context.Context) (err error) {
	steps := []struct {
		name string
		f    func(context.Context) error
	}{
		{"pass", b.pass}, {"count", b.count}, {"windows", b.windows}, {"streams", b.streams}, {"foreign", b.foreign}, {"join", b.join}, {"restore", b.restore}, {"latency", b.measureLatency},
	}
	any := false
	for _, s := range steps {
		any = any || b.wanted(s.name)
	}
	if !any {
		return nil
	}
	n, err := kafkatest.New(ctx, b.dir, kafkatest.Options{})
	if err != nil {
		return err
	}
	defer n.Kill()
	b.broker = n.Addr
	b.client, err = kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(1<<18))
	if err != nil {
		return err
	}
	defer b.client.Close()
	if err := b.create(ctx, recordsTopic, passedTopic, countsTopic, rowsTopic, clicksTopic, joinedTopic,
		timedTopic, windowsTopic, leftsTopic, rightsTopic, pairsTopic, ordersTopic, shopsTopic, soldTopic,
		bareTopic, bareLogTopic, bareTellTopic, bareKeepTopic, bareAnswerTopic); err != nil {
		return err
	}
	if b.wanted("pass") || b.wanted("count") {
		if err := b.load(ctx, recordsTopic, b.records, func(n int64) int64 { return keyOf(n, b.keys) }); err != nil {
			return err
		}
	}
	if b.wanted("join") || b.wanted("restore") {
		if err := b.loadTable(ctx); err != nil {
			return err
		}
	}
	for _, s := range steps {
		if !b.wanted(s.name) {
			continue
		}
		if err := s.f(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (b *bench) spec(workload, stateDir string, records int64) spec {
	return spec{Workload: workload, Kind: "app", Broker: b.broker, StateDir: stateDir, Records: records, Profile: b.profile}
}

// both runs the App of a workload, verifies what it did, and runs the bare loop.
func (b *bench) both(ctx context.Context, s spec, verify func() error) error {
	app, mem, err := measure(ctx, s)
	if err != nil {
		return err
	}
	if err := verify(); err != nil {
		return err
	}
	s.Kind = "bare"
	bare, _, err := measure(ctx, s)
	if err != nil {
		return err
	}
	b.add(line{name: s.Workload, app: app, mem: mem, bare: &bare})
	return nil
}

func (b *bench) pass(ctx context.Context) error {
	return b.both(ctx, b.spec("pass", b.state("pass"), b.records), func() error { return b.verifyPass(ctx) })
}

func (b *bench) count(ctx context.Context) error {
	state := b.state("count")
	return b.both(ctx, b.spec("count", state, b.records), func() error { return b.verifyCount(ctx, state) })
}

func (b *bench) state(name string) string { return filepath.Join(b.dir, "state-"+name) }

// loadTable makes the App of the join load its table; what it joins comes later.
func (b *bench) loadTable(ctx context.Context) error {
	if err := b.load(ctx, rowsTopic, b.keys, func(n int64) int64 { return scattered(n, b.keys) }); err != nil {
		return err
	}
	r, m, err := measure(ctx, b.spec("load", b.state("join"), b.keys))
	if err != nil {
		return err
	}
	b.add(line{name: "load table", app: r, mem: m})
	return b.verifyRows(b.state("join"))
}

func (b *bench) join(ctx context.Context) error {
	if err := b.load(ctx, clicksTopic, b.records, func(n int64) int64 { return keyOf(n, b.keys) }); err != nil {
		return err
	}
	return b.both(ctx, b.spec("join", b.state("join"), b.records), func() error { return b.verifyJoin(ctx) })
}

// restore runs the join's App on an empty state directory, until all its tasks run.
func (b *bench) restore(ctx context.Context) error {
	state := b.state("restore")
	return b.both(ctx, b.spec("restore", state, b.keys), func() error { return b.verifyRows(state) })
}
