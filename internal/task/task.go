// Package task runs one partition of a sub-topology: it queues the records of its source partitions, takes the one with the
// lowest time, and sends it through the typed steps of the graph. The runtime's workers and the test driver run the same tasks.
//
// A Task knows no broker, no group and no commit protocol. What it needs of its owner are the functions and the Output of
// Config; what it gives are the offsets that its state corresponds to (Cut) and the engines of its stores.
package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// Output is where a task writes. It belongs to the task's goroutine.
type Output interface {
	// Partitions returns how many partitions a topic has.
	Partitions(topic string) (int, error)
	// Send queues a record and copies its bytes. ErrTooLarge, ErrUnknownTopic and ErrNotAuthorized of package kafka concern the
	// record and go to the policy of production; any other error ends the task.
	Send(topic string, partition int32, r kafka.ProduceRecord) error
}

// Policies are an App's: what happens where neither the step nor the topic says anything.
type Policies struct {
	Decode  failure.Policy // a source could not decode
	Process failure.Policy // a user's function returned an error
	Produce failure.Policy // a record could not be encoded or written
}

// Config is what a Task needs of its owner. All functions are called on the task's goroutine.
type Config struct {
	ID          graph.TaskID
	Graph       *graph.Graph
	Application string
	// Context is what user functions that wait get; it ends when the task is closed in haste. Defaults to the background's.
	Context context.Context
	// Now is the wall clock. Defaults to time.Now.
	Now func() time.Time
	// Sleep waits for the back-off of a retry, or less when ctx ends. Defaults to waiting; the test driver does not wait.
	Sleep func(ctx context.Context, d time.Duration) error
	// RetryBudget is how long the retries of one failure may wait together; then their policy's successor decides. Defaults to 5s.
	RetryBudget time.Duration
	// Engine opens a store of the task, restored: steps may read it while they are wired. The task does not close it.
	Engine func(*graph.Store) (store.Engine, error)
	// Global opens a global store for reading, for this task alone. Nil: there are none.
	Global func(*graph.Store) (store.Bytes, error)
	Out    Output
	// Topics returns the topics that exist, for sources with a pattern. Nil: none until Add brings one.
	Topics func() []string
	// MaxIdle is how long the task waits for the records of an empty partition, while others have some, although no more is
	// known to be on the broker. Negative: it does not wait, even when more is known to be there.
	MaxIdle time.Duration
	// Lag says whether more is known to be on the broker than is queued. Nil: nothing ever is.
	Lag func(kafka.TopicPartition) bool
	// Clock is stream time. Tasks that share one share stream time, as all of a test driver's do. Defaults to one of its own.
	Clock    *Clock
	Policies Policies
	// Dropped is told of dropped records, by step and reason, at the end of a round.
	Dropped func(node *graph.Node, reason string, n int64)
	// Failure is told of each failure, before its policy is applied.
	Failure func(failure.Report)
	Logger  *slog.Logger // Defaults to silence.
	// Released is told when a batch has been processed and its bytes no longer count.
	Released func(tp kafka.TopicPartition, bytes int)
}

func (c *Config) defaults() {
	if c.Context == nil {
		c.Context = context.Background()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.RetryBudget == 0 {
		c.RetryBudget = defaultRetryBudget
	}
	if c.Clock == nil {
		c.Clock = NewClock()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.Dropped == nil {
		c.Dropped = func(*graph.Node, string, int64) {}
	}
	if c.Failure == nil {
		c.Failure = func(failure.Report) {}
	}
	if c.Released == nil {
		c.Released = func(kafka.TopicPartition, int) {}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Clock is stream time, and the order in which queues became ready, for records of equal times.
type Clock struct {
	time int64
	seq  uint64
}

// NewClock returns a clock that has seen no record.
func NewClock() *Clock { return &Clock{time: -1} }

// Time returns the stream time in milliseconds, -1 before the first record.
func (c *Clock) Time() int64 { return c.time }

func (c *Clock) see(t int64) { c.time = max(c.time, t) }

func (c *Clock) next() uint64 {
	c.seq++
	return c.seq
}

// Engine is a store of a task.
type Engine struct {
	Store *graph.Store
	store.Engine
}

// ErrClosed is returned by a task that has been closed.
var ErrClosed = errors.New("task closed")

// Task is one partition of a sub-topology, or a global sub-topology with all partitions of its topic. It is owned by one goroutine: no method may be called from another one.
//
// Invariants:
//
//  1. Stream time moves when a record is taken from a queue, and nowhere else.
//  2. A queue's position is the offset of its next record: everything before it has been processed or skipped.
//  3. After a fatal error no step runs any more: all calls return that error.
type Task struct {
	cfg     Config
	sub     *graph.Sub
	queues  []*queue // in the order of the sources and their topics
	byTP    map[kafka.TopicPartition]*queue
	sources []source
	engines []Engine
	byName  map[string]int // of engines

	ready queueHeap // queues with a decoded head
	stale []*queue  // queues whose head has to be looked at
	open  bool      // records may be processed: the empty queues have been waited for

	place       graph.Place
	current     *graph.Input // nil in a punctuation
	recordTime  int64
	retryPaused time.Duration // by the retries of the failure at hand
	wanted      bool          // a step asked for a commit
	drops       []drop
	timers      [2]timers // by graph.Clock
	times       map[*graph.Node]*graph.OperatorTime
	saved       map[string]int64 // operator times as they were cut last
	epoch       int              // counts cuts
	letters     spread           // over the partitions of dead-letter topics
	onCommit    []*flusher       // in the order of the graph
	early       bool             // one of them is to be called before the next commit
	onClose     []closing
	err         error // fatal
	closed      bool
}

// source is a wired source, kept for topics that match its pattern later.
type source struct {
	node *graph.Node
	outs []any
}

// New opens the stores of a task and wires its steps, from the sinks up.
func New(cfg Config) (*Task, error) {
	cfg.defaults()
	if cfg.ID.Sub < 0 || cfg.ID.Sub >= len(cfg.Graph.Subs) {
		return nil, fmt.Errorf("task %s: the topology has %d sub-topologies", cfg.ID, len(cfg.Graph.Subs))
	}
	t := &Task{
		cfg: cfg, sub: cfg.Graph.Subs[cfg.ID.Sub], byTP: map[kafka.TopicPartition]*queue{}, byName: map[string]int{},
		times: map[*graph.Node]*graph.OperatorTime{}, recordTime: -1,
	}
	for i := range t.timers {
		t.timers[i].reset()
	}
	if err := t.start(); err != nil {
		return nil, errors.Join(err, t.Close(false))
	}
	return t, nil
}

func (t *Task) start() (err error) {
	defer t.guard(&err)
	if err := t.openEngines(); err != nil {
		return err
	}
	return t.wire()
}

func (t *Task) openEngines() error {
	for _, s := range t.sub.Stores {
		e, err := t.cfg.Engine(s)
		if err != nil {
			return fmt.Errorf("task %s: store %q: %w", t.cfg.ID, s.Name, err)
		}
		t.byName[s.Name] = len(t.engines)
		t.engines = append(t.engines, Engine{s, e})
	}
	return nil
}

// ID returns the task's id.
func (t *Task) ID() graph.TaskID { return t.cfg.ID }

// Engines returns the task's stores, in the order of the graph.
func (t *Task) Engines() []Engine { return t.engines }

// Partitions returns the source partitions of the task, by full topic names.
func (t *Task) Partitions() []kafka.TopicPartition {
	tps := make([]kafka.TopicPartition, len(t.queues))
	for i, q := range t.queues {
		tps[i] = q.tp
	}
	return tps
}

// Buffered returns the number of records that are queued.
func (t *Task) Buffered() int {
	n := 0
	for _, q := range t.queues {
		n += q.records
	}
	return n
}

// Position returns the offset of the next record of a source partition, -1 when it is not known.
func (t *Task) Position(tp kafka.TopicPartition) int64 {
	if q := t.byTP[tp]; q != nil {
		return q.position
	}
	return -1
}

// CommitRequested says whether a step has asked for a commit since the last Cut.
func (t *Task) CommitRequested() bool { return t.wanted }

// Err returns the error that ended the task.
func (t *Task) Err() error { return t.err }
