// Package testdriver runs a topology without Kafka, on a clock that the test moves:
//
//	d := testdriver.New(t, top)
//	in, out := testdriver.Input(d, orders), testdriver.Output(d, totals)
//	in.Send("anna", Order{Cents: 250})
//	assert.Equal(t, map[string]int64{"anna": 250}, testdriver.Table(out))
//
// It runs the same tasks as an App, one for each sub-topology and partition, with the partitions
// that Kafka would choose, internal topics and changelogs included. All records are encoded and
// decoded, so serdes are tested, too. When a call returns, everything that it caused has happened:
// there are no goroutines. Records are processed one at a time over all tasks, the one with the
// lowest time first. With one partition, the default, all sub-topologies share stream time. With
// more, each task has its own, as in a running App.
//
// It does not have rebalances, failing brokers, and time that passes by itself. Package
// testdriver/broker has an in-process Kafka for tests of whole Apps.
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
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/topology"
)

// TB is what a Driver needs of a test: a testing.TB is one.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
}

// Driver runs a topology for a test. It is not safe for concurrent use. Methods without an error
// result end the test with Fatalf if something fails. After an error of the program every use of
// the driver is an error.
type Driver struct {
	test    TB
	graph   *graph.Graph
	options options
	now     time.Time

	counts    map[string]int // partitions of topics that are known, by full name
	logs      map[string]*log
	internal  map[string]bool // full names of repartition topics and changelogs
	globals   []*task.Task    // one for each global sub-topology
	tasks     []*task.Task    // of the others, by sub-topology, then partition
	readers   map[kafka.TopicPartition]*task.Task
	pending   []delivery
	stores    map[string][]storage.Engine // by partition
	budget    *memtable.Budget
	committed map[kafka.TopicPartition]kafka.OffsetMeta
	commits   int
	dropped   map[string]int
	counted   map[*graph.Node]*int64 // records that came to each step
	steps     int                    // records processed
	failures  []failure.Report
	err       error
	closed    bool
}

// delivery is a record on its way from a log to a task.
type delivery struct {
	tp     kafka.TopicPartition
	record *record
}

// New returns a driver for top, with its tasks started. It is closed at the end of the test.
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
	driver := &Driver{
		test: t, graph: (*graph.Handle)(top).Graph(), logs: map[string]*log{}, internal: map[string]bool{},
		budget:    memtable.NewBudget(64 << 20),
		committed: map[kafka.TopicPartition]kafka.OffsetMeta{}, dropped: map[string]int{}, counted: map[*graph.Node]*int64{},
		stores: map[string][]storage.Engine{},
		options: options{
			start: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), partitions: 1, byTopic: map[string]int{},
			application: "testdriver",
			maxRecord:   1048588 - 88,
		},
	}
	for _, o := range opts {
		o.apply(&driver.options)
	}
	driver.now = driver.options.start
	var err error
	if driver.counts, err = partitionCounts(driver.graph, driver.options); err != nil {
		return nil, err
	}
	for _, s := range driver.graph.Stores {
		driver.internal[graph.ChangelogTopic(driver.options.application, s.Name)] = true
	}
	for _, topic := range driver.graph.Topics {
		driver.internal[graph.InternalTopic(driver.options.application, topic.Name)] = true
	}
	return driver, driver.startTasks()
}

// startTasks opens the stores and starts the tasks at the committed offsets.
func (d *Driver) startTasks() error {
	d.globals, d.tasks, d.readers, d.pending = nil, nil, map[kafka.TopicPartition]*task.Task{}, nil
	if err := d.startGlobals(); err != nil {
		return err
	}
	clocks := d.clocks()
	for _, sub := range d.graph.Subtopologies {
		if sub.Global {
			continue
		}
		for p := range d.taskCount(sub) {
			if err := d.startTask(graph.TaskID{Subtopology: sub.ID, Partition: int32(p)}, clocks()); err != nil {
				return err
			}
		}
	}
	return nil
}

// clocks returns the function that makes the stream time of each task. If no topic has several
// partitions, all tasks share one: then the driver processes records in the order of Kafka Streams'
// TopologyTestDriver, which runs all sub-topologies as one task. With MaxIdle, however, each task
// waits on its own.
func (d *Driver) clocks() func() *task.Clock {
	for _, sub := range d.graph.Subtopologies {
		if d.taskCount(sub) > 1 && !sub.Global {
			return task.NewClock
		}
	}
	shared := task.NewClock()
	if d.options.maxIdle == 0 {
		shared.ShareOrder()
	}
	return func() *task.Clock { return shared }
}

func (d *Driver) startTask(id graph.TaskID, streamTime *task.Clock) error {
	cfg := d.taskConfig(id)
	cfg.OpenEngine = func(s *graph.Store) (storage.Engine, error) { return d.openStore(s, id.Partition) }
	cfg.OpenGlobal = func(s *graph.Store) (storage.Bytes, error) { return &view{d, s.Name}, nil }
	cfg.MaxIdle, cfg.Clock = d.options.maxIdle, streamTime
	start := map[kafka.TopicPartition]kafka.OffsetMeta{}
	started, err := d.createTask(cfg, start)
	if err != nil {
		return err
	}
	d.tasks = append(d.tasks, started)
	for _, tp := range started.Partitions() {
		d.replay(tp, start[tp].Offset)
	}
	return nil
}

// taskConfig returns the configuration that all tasks have in common.
func (d *Driver) taskConfig(id graph.TaskID) task.Config {
	return task.Config{
		ID: id, Graph: d.graph, Application: d.options.application, Now: d.Now, Out: (*output)(d), Topics: d.external,
		Sleep:     noSleep,
		Policies:  d.policies(),
		Dropped:   func(_ *graph.Node, reason string, n int64) { d.dropped[reason] += int(n) },
		Failure:   d.recordFailure,
		StepCount: d.stepCount,
	}
}

func (d *Driver) policies() task.Policies {
	return task.Policies{Decode: d.options.decode, Process: d.options.process, Produce: d.options.produce}
}

func noSleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// createTask creates a task that starts at its committed offsets, or at 0.
func (d *Driver) createTask(cfg task.Config, start map[kafka.TopicPartition]kafka.OffsetMeta) (*task.Task, error) {
	started, err := task.New(cfg)
	if err != nil {
		return nil, err
	}
	for _, tp := range started.Partitions() {
		d.readers[tp] = started
		start[tp] = d.committed[tp]
	}
	started.SetCommitted(start)
	return started, nil
}

func (d *Driver) recordFailure(r failure.Report) {
	r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	d.failures = append(d.failures, r)
}

// Now returns what the driver's wall clock shows.
func (d *Driver) Now() time.Time { return d.now }

// Advance moves the wall clock forward, calls each wall-clock punctuation that is due once, and
// processes what they caused.
func (d *Driver) Advance(dt time.Duration) {
	d.test.Helper()
	d.check(d.advance(dt))
}

func (d *Driver) advance(dt time.Duration) error {
	if err := d.usable(); err != nil {
		return err
	}
	d.now = d.now.Add(dt)
	for _, t := range d.tasks {
		if err := t.Punctuate(); err != nil {
			return d.fail(err)
		}
	}
	if err := d.autoCommit(); err != nil {
		return err
	}
	return d.drain()
}

// Dropped returns how many records have been dropped, by reason: the reasons of the library and
// those of failure.Drop. Records that were written to a dead-letter topic are included.
func (d *Driver) Dropped() map[string]int { return maps.Clone(d.dropped) }

// Steps returns how many records have come to each step so far, by the step's name, as Snapshot of an App does. What is
// processed again, after a Restart, is counted again.
func (d *Driver) Steps() map[string]int64 {
	steps := make(map[string]int64, len(d.counted))
	for node, n := range d.counted {
		steps[node.Name] = *n
	}
	return steps
}

func (d *Driver) stepCount(n *graph.Node) *int64 {
	if d.counted[n] == nil {
		d.counted[n] = new(int64)
	}
	return d.counted[n]
}

// Failures returns all failures, as Events.Failure reports them in an App: before their policies
// were applied, retries included.
func (d *Driver) Failures() []failure.Report { return slices.Clone(d.failures) }

// Topics returns the sorted names of the topics that the program has written: sinks, dead letters,
// repartition topics and changelogs. The names of the last two start with the application's id.
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

// usable returns an error if the driver cannot be used any more.
func (d *Driver) usable() error {
	switch {
	case d.err != nil:
		return fmt.Errorf("unusable after an earlier error: %w", d.err)
	case d.closed:
		return errors.New("used after the end of the test")
	}
	return nil
}

// fail makes the driver unusable if err is not nil, and returns err.
func (d *Driver) fail(err error) error {
	if err != nil && d.err == nil {
		d.err = err
	}
	return err
}

func (d *Driver) check(err error) {
	if err != nil {
		d.test.Helper()
		d.test.Fatalf("testdriver: %v", err)
	}
}

// Close ends the program like a graceful stop; functions registered with OnClose have been called
// when it returns. Topics can still be read. Without a call of Close, the end of the test closes
// the driver.
func (d *Driver) Close() {
	d.test.Helper()
	d.check(d.close())
}

// close ends the tasks like a graceful stop.
func (d *Driver) close() error {
	if d.closed {
		return nil
	}
	var errs []error
	if d.err == nil && !d.options.manualCommit {
		errs = append(errs, d.commit())
	}
	for _, t := range append(d.tasks, d.globals...) {
		errs = append(errs, t.Close(d.err == nil))
	}
	d.closed = true
	return errors.Join(append(errs, d.closeStores())...)
}
