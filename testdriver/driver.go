// Package testdriver runs a topology without Kafka, on a clock that the test moves:
//
//	d := testdriver.New(t, top)
//	in, out := testdriver.Input(d, orders), testdriver.Output(d, totals)
//	in.Send("anna", Order{Cents: 250})
//	assert.Equal(t, map[string]int64{"anna": 250}, testdriver.Table(out))
//
// It runs the tasks that the runtime runs, one for each sub-topology and partition, with the partitions that Kafka would choose,
// internal topics and changelogs included. Everything goes through bytes, so serdes are exercised. Whatever a call sets off has
// happened when the call returns: there are no goroutines. Records are processed one at a time over all tasks, the lowest
// time first. With one partition, which is the default, all sub-topologies share stream time; with more, each task has its own, as in a
// running App.
//
// What it does not have: rebalances, brokers that fail, and time that passes by itself. Package testdriver/broker has
// an in-process Kafka for tests of whole Apps.
package testdriver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/topology"
)

// TB is what a Driver needs of a test: a testing.TB is one.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
}

// Driver runs a topology for a test. Not for use by several goroutines. Methods that return no error end the test with Fatalf when something
// goes wrong; after an error of the program the driver is unusable, and says so.
type Driver struct {
	t   TB
	g   *graph.Graph
	opt options
	now time.Time

	counts    map[string]int // partitions of topics that are known, by full name
	logs      map[string]*log
	internal  map[string]bool // full names of repartition topics and changelogs
	globals   []*task.Task    // one for each global sub-topology
	tasks     []*task.Task    // of the others, by sub-topology, then partition
	readers   map[kafka.TopicPartition]*task.Task
	pending   []delivery
	stores    map[string][]store.Engine // by partition
	budget    *memory.Budget
	committed map[kafka.TopicPartition]kafka.OffsetMeta
	commits   int
	dropped   map[string]int
	steps     int // records processed
	failures  []failure.Report
	err       error
	closed    bool
}

// delivery is a record on its way from a log to a task.
type delivery struct {
	tp kafka.TopicPartition
	r  *record
}

// New returns a driver for top, whose tasks have started. It is closed when the test ends.
func New(t TB, top *topology.Topology, opts ...Option) *Driver {
	t.Helper()
	d, err := open(t, top, opts)
	if err != nil {
		t.Fatalf("testdriver: %v", err)
		return nil
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Errorf("testdriver: %v", err)
		}
	})
	return d
}

func open(t TB, top *topology.Topology, opts []Option) (*Driver, error) {
	if top == nil {
		return nil, errors.New("the topology is nil; did Build return an error?")
	}
	d := &Driver{
		t: t, g: top.Graph(), logs: map[string]*log{}, internal: map[string]bool{}, budget: memory.NewBudget(64 << 20),
		committed: map[kafka.TopicPartition]kafka.OffsetMeta{}, dropped: map[string]int{}, stores: map[string][]store.Engine{},
		opt: options{
			start: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), partitions: 1, byTopic: map[string]int{}, application: "testdriver",
			maxRecord: 1048588 - 88,
		},
	}
	for _, o := range opts {
		o.apply(&d.opt)
	}
	d.now = d.opt.start
	var err error
	if d.counts, err = partitionCounts(d.g, d.opt); err != nil {
		return nil, err
	}
	for _, s := range d.g.Stores {
		d.internal[graph.ChangelogTopic(d.opt.application, s.Name)] = true
	}
	for _, x := range d.g.Topics {
		d.internal[graph.InternalTopic(d.opt.application, x.Name)] = true
	}
	return d, d.startTasks()
}

// startTasks opens the stores and starts the tasks, from what is committed.
func (d *Driver) startTasks() error {
	d.globals, d.tasks, d.readers, d.pending = nil, nil, map[kafka.TopicPartition]*task.Task{}, nil
	if err := d.startGlobals(); err != nil {
		return err
	}
	clocks := d.clocks()
	for _, s := range d.g.Subs {
		if s.Global {
			continue
		}
		for p := range d.taskCount(s) {
			if err := d.startTask(graph.TaskID{Sub: s.ID, Partition: int32(p)}, clocks()); err != nil {
				return err
			}
		}
	}
	return nil
}

// clocks returns what gives each task its stream time: one for all when no topic that is read has several partitions.
func (d *Driver) clocks() func() *task.Clock {
	for _, s := range d.g.Subs {
		if d.taskCount(s) > 1 && !s.Global {
			return task.NewClock
		}
	}
	shared := task.NewClock()
	return func() *task.Clock { return shared }
}

func (d *Driver) startTask(id graph.TaskID, clock *task.Clock) error {
	cfg := d.taskConfig(id)
	cfg.Engine = func(s *graph.Store) (store.Engine, error) { return d.openStore(s, id.Partition) }
	cfg.Global = func(s *graph.Store) (store.Bytes, error) { return &view{d, s.Name}, nil }
	cfg.MaxIdle, cfg.Clock = d.opt.maxIdle, clock
	start := map[kafka.TopicPartition]kafka.OffsetMeta{}
	x, err := d.begin(cfg, start)
	if err != nil {
		return err
	}
	d.tasks = append(d.tasks, x)
	for _, tp := range x.Partitions() {
		d.replay(tp, start[tp].Offset)
	}
	return nil
}

// taskConfig is what all tasks have in common.
func (d *Driver) taskConfig(id graph.TaskID) task.Config {
	return task.Config{
		ID: id, Graph: d.g, Application: d.opt.application, Now: d.Now, Out: (*output)(d), Topics: d.external,
		Sleep:    func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Policies: task.Policies{Decode: d.opt.decode, Process: d.opt.process, Produce: d.opt.produce},
		Dropped:  func(_ *graph.Node, reason string, n int64) { d.dropped[reason] += int(n) },
		Failure:  d.failed,
	}
}

// begin starts a task where it has committed: at 0 where it has not.
func (d *Driver) begin(cfg task.Config, start map[kafka.TopicPartition]kafka.OffsetMeta) (*task.Task, error) {
	x, err := task.New(cfg)
	if err != nil {
		return nil, err
	}
	for _, tp := range x.Partitions() {
		d.readers[tp] = x
		start[tp] = d.committed[tp]
	}
	x.SetCommitted(start)
	return x, nil
}

func (d *Driver) failed(r failure.Report) {
	r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	d.failures = append(d.failures, r)
}

// Now returns what the driver's wall clock shows.
func (d *Driver) Now() time.Time { return d.now }

// Advance moves the wall clock, then calls the punctuations of the wall clock that are due, each once, and processes what
// they set off.
func (d *Driver) Advance(dt time.Duration) {
	d.t.Helper()
	d.check(d.advance(dt))
}

func (d *Driver) advance(dt time.Duration) error {
	if err := d.usable(); err != nil {
		return err
	}
	d.now = d.now.Add(dt)
	for _, x := range d.tasks {
		if err := x.Punctuate(); err != nil {
			return d.broken(err)
		}
	}
	if err := d.autoCommit(); err != nil {
		return err
	}
	return d.drain()
}

// Dropped returns how many records were dropped so far, by reason: reasons of the library and those given to failure.Drop. Records
// that went to a dead-letter topic are among them.
func (d *Driver) Dropped() map[string]int { return maps.Clone(d.dropped) }

// Failures returns the failures so far, as Events.Failure tells them in an App: before their policies were applied, retries
// included.
func (d *Driver) Failures() []failure.Report { return slices.Clone(d.failures) }

// Topics returns the names of the topics that the program has written to, in order: sinks, dead letters, repartition topics and
// changelogs, the last two with the application's id before them.
func (d *Driver) Topics() []string {
	var names []string
	for name, l := range d.logs {
		if l.written {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// external returns the topics that a pattern may match.
func (d *Driver) external() []string {
	var names []string
	for name := range d.logs {
		if !d.internal[name] {
			names = append(names, name)
		}
	}
	return names
}

// usable returns an error when the driver has come to an end.
func (d *Driver) usable() error {
	switch {
	case d.err != nil:
		return fmt.Errorf("unusable after an earlier error: %w", d.err)
	case d.closed:
		return errors.New("used after the end of the test")
	}
	return nil
}

// broken makes the driver unusable.
func (d *Driver) broken(err error) error {
	if err != nil && d.err == nil {
		d.err = err
	}
	return err
}

func (d *Driver) check(err error) {
	if err != nil {
		d.t.Helper()
		d.t.Fatalf("testdriver: %v", err)
	}
}

// close ends the tasks as a graceful stop does.
func (d *Driver) close() error {
	if d.closed {
		return nil
	}
	var errs []error
	if d.err == nil && !d.opt.manual {
		errs = append(errs, d.commit())
	}
	for _, x := range append(d.tasks, d.globals...) {
		errs = append(errs, x.Close(d.err == nil))
	}
	d.closed = true
	return errors.Join(append(errs, d.closeStores())...)
}
