package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// service is a run of the program.
type service struct {
	Config
	out, log io.Writer
	own      bool // the Kafka is ours
	kafka    cluster
	app      *millstream.App
	watch    *watcher // nil where nobody looks at the output
	dropped  drops
	fed      int
	began    time.Time
}

func run(ctx context.Context, c Config, out, log io.Writer) (err error) {
	s := &service{Config: c, out: out, log: log, own: len(c.Brokers) == 0}
	if s.own {
		end, err := s.startKafka()
		if err != nil {
			return err
		}
		defer end()
	}
	if s.kafka, err = connect(s.Brokers); err != nil {
		return err
	}
	defer s.kafka.close()
	compacted := ""
	if s.Mode == "learning" {
		compacted = s.Output.Name // its output is a table: one current record for each phone
	}
	if err := s.kafka.create(ctx, s.topics(), compacted); err != nil {
		return err
	}
	if s.app, err = s.newApp(); err != nil {
		return err
	}
	if s.own || s.Generate > 0 {
		end, err := s.startWatch(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	if s.Once {
		return stopped(ctx, s.once(ctx))
	}
	return stopped(ctx, s.serve(ctx))
}

// stopped turns the errors of a program that was told to end into nil.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// startKafka starts the in-process Kafka, with a state directory that lives as long.
func (s *service) startKafka() (end func(), err error) {
	b, err := broker.New()
	if err != nil {
		return nil, err
	}
	s.Brokers = b.Brokers()
	for _, t := range []*TopicConfig{&s.Stream, &s.Table, &s.Rekeyed, &s.Output} {
		t.Replication = 1
		if s.Generate == 0 {
			t.Partitions = 1 // a story is told in order, and order is kept within a partition
		}
	}
	if s.StateDir != "" {
		return b.Close, nil
	}
	if s.StateDir, err = os.MkdirTemp("", "idmapping-"); err != nil {
		b.Close()
		return nil, err
	}
	return func() {
		b.Close()
		_ = os.RemoveAll(s.StateDir)
	}, nil
}

func (s *service) newApp() (*millstream.App, error) {
	top, err := build(s.Config)
	if err != nil {
		return nil, err
	}
	c := millstream.Config{
		ApplicationID: s.Application, Brokers: s.Brokers, StateDir: s.StateDir,
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Events: millstream.Events{Dropped: s.dropped.add, Restore: s.restored},
	}
	if s.Mode == "mapping" {
		c.MaxTaskIdle = 500 * time.Millisecond // an event waits for registrations that are on their way
	}
	return millstream.New(top, c)
}

// restored says what it took to have a store back.
func (s *service) restored(i millstream.RestoreInfo) {
	switch {
	case i.Done < i.End, i.End == 0 && i.Full: // not done yet; nothing was there
	case i.Full:
		fmt.Fprintf(s.log, "restored %s[%d] in full: %d records\n", i.Store, i.Partition, i.Records)
	default:
		fmt.Fprintf(s.log, "restored %s[%d] from its file: %d records since\n", i.Store, i.Partition, i.Records)
	}
}

func build(c Config) (*topology.Topology, error) {
	if c.Mode == "mapping" {
		return mapping(newTopics(c))
	}
	return learning(newTopics(c))
}

func (s *service) startWatch(ctx context.Context) (end func(), err error) {
	n, err := s.kafka.partitions(ctx, s.Output.Name)
	if err != nil {
		return nil, err
	}
	if s.watch, err = watch(s.Brokers, s.Output.Name, n, printer(s.Config, s.out)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { s.watch.run(ctx) })
	return func() { cancel(); wg.Wait() }, nil
}

// once feeds everything, processes it, and ends when the output shows it.
func (s *service) once(ctx context.Context) error {
	if err := s.feedAll(ctx); err != nil {
		return err
	}
	stop := s.progress(ctx)
	err := s.app.RunToEnd(ctx)
	stop()
	if err != nil || ctx.Err() != nil {
		return err
	}
	if s.watch == nil {
		s.summary()
		return nil
	}
	ends, err := s.kafka.ends(ctx, s.Output.Name, s.watch.partitions)
	if err != nil {
		return err
	}
	if err := s.watch.until(ctx, ends); err != nil {
		return err
	}
	s.summary()
	return nil
}

// serve runs until it is told to end.
func (s *service) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var feeding error
	var wg sync.WaitGroup
	wg.Go(func() {
		if feeding = s.drip(ctx); feeding != nil {
			cancel()
		}
	})
	stop := s.progress(ctx)
	err := s.app.Run(ctx)
	cancel()
	wg.Wait()
	stop()
	if err == nil {
		err = feeding
	}
	if err == nil {
		s.summary()
	}
	return err
}

// summary says what a run over made-up customers came to.
func (s *service) summary() {
	for _, line := range s.dropped.lines() {
		fmt.Fprintln(s.log, "skipped:", line)
	}
	if s.Generate == 0 {
		return
	}
	took := time.Since(s.began).Seconds()
	complete, all, _ := s.watch.complete()
	if s.JSON {
		_ = json.NewEncoder(s.out).Encode(map[string]any{
			"records": s.fed, "seconds": took, "recordsPerSecond": float64(s.fed) / took, "profiles": all, "complete": complete,
		})
		return
	}
	fmt.Fprintf(s.out, "%d records in %.1f s, %.0f records/s; %d of %d profiles are complete\n", s.fed, took, float64(s.fed)/took, complete, all)
}

// drops counts what was skipped. Safe for use by several goroutines.
type drops struct {
	mu sync.Mutex
	n  map[string]int64
}

func (d *drops) add(i millstream.DropInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n == nil {
		d.n = map[string]int64{}
	}
	d.n[i.Reason] += i.N
}

func (d *drops) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for reason, n := range d.n {
		out = append(out, fmt.Sprintf("%d for %q", n, reason))
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
