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
	out, log  io.Writer
	inProcess bool // the Kafka is ours
	kafka     cluster
	app       *millstream.App
	watch     *watcher // nil where nobody looks at the output
	dropped   drops
	written   int
	began     time.Time
}

func run(ctx context.Context, c Config, out, log io.Writer) (err error) {
	svc := &service{Config: c, out: out, log: log, inProcess: len(c.Brokers) == 0}
	svc.announce()
	if svc.inProcess {
		end, err := svc.startKafka()
		if err != nil {
			return err
		}
		defer end()
	}
	if svc.kafka, err = connect(svc.Brokers); err != nil {
		return err
	}
	defer svc.kafka.close()
	compacted := ""
	if svc.Mode == "learning" {
		compacted = svc.Output.Name // its output is a table: one current record for each phone
	}
	if err := svc.kafka.create(ctx, svc.topics(), compacted); err != nil {
		return err
	}
	if svc.app, err = svc.newApp(); err != nil {
		return err
	}
	if svc.inProcess || svc.Generate > 0 {
		end, err := svc.startWatch(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	if svc.Once {
		return stopped(ctx, svc.once(ctx))
	}
	return stopped(ctx, svc.serve(ctx))
}

// announce says at once that the program has started: the build before it prints nothing, and
// what follows needs a Kafka.
func (s *service) announce() {
	kafka := "in this process"
	if !s.inProcess {
		kafka = "at " + strings.Join(s.Brokers, ", ")
	}
	end := "it runs until Ctrl-C"
	if s.Once {
		end = "it ends with its input"
	}
	fmt.Fprintf(s.log, "idmapping: started in %s mode, Kafka is %s; %s\n", s.Mode, kafka, end)
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
	if err := s.writeInputs(ctx); err != nil {
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
		if feeding = s.playStory(ctx); feeding != nil {
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
			"records": s.written, "seconds": took, "recordsPerSecond": float64(s.written) / took, "profiles": all,
			"complete": complete,
		})
		return
	}
	fmt.Fprintf(s.out, "%d records in %.1f s, %.0f records/s; %d of %d profiles are complete\n", s.written, took,
		float64(s.written)/took, complete, all)
}

// drops counts what was skipped. Safe for use by several goroutines.
type drops struct {
	mu     sync.Mutex
	counts map[string]int64
}

func (d *drops) add(i millstream.DropInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = map[string]int64{}
	}
	d.counts[i.Reason] += i.N
}

func (d *drops) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for reason, n := range d.counts {
		out = append(out, fmt.Sprintf("%d for %q", n, reason))
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
