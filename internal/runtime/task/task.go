// Package task runs one partition of a sub-topology. A Task queues the records of its source
// partitions, chooses the one with the lowest time, and passes it through the typed steps of the
// graph. Workers and the test driver run the same tasks.
//
// A Task knows no broker, no group and no commit protocol. Its owner supplies the functions and the
// Output of Config, and commits: Cut returns the offsets to which the task's state corresponds,
// Engines the stores.
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
	"github.com/millstream-go/millstream/internal/storage"
)

// Output is where a task writes. Only the task's goroutine uses it.
type Output interface {
	// Partitions returns the number of partitions of a topic.
	Partitions(topic string) (int, error)
	// Send queues a record and copies its bytes. Of package kafka's errors, ErrTooLarge, ErrTimestamp,
	// ErrUnknownTopic and ErrNotAuthorized are about the record and go to the production policy. Any
	// other error ends the task.
	Send(topic string, partition int32, r kafka.ProduceRecord) error
}

// Policies are an App's policies. They apply where neither the step nor the topic has one.
type Policies struct {
	Decode  failure.Policy // a source could not decode
	Process failure.Policy // a user's function returned an error
	Produce failure.Policy // a record could not be encoded or written
}

// Config configures a Task. All functions are called on the task's goroutine.
type Config struct {
	ID          graph.TaskID
	Graph       *graph.Graph
	Application string
	// Program is the metadata entry that remembers the program (graph.ProgramEntry). Empty: this
	// task's offsets do not carry it.
	Program string
	// Context is passed to users' functions. It ends when the task is aborted. Defaults to
	// context.Background.
	Context context.Context
	// Now is the wall clock. Defaults to time.Now.
	Now func() time.Time
	// Sleep waits for the pause before a retry, or until ctx ends. By default it waits; the test
	// driver's does not.
	Sleep func(ctx context.Context, d time.Duration) error
	// RetryBudget is how long the retries of one failure may pause together. Then the policy that
	// follows the retry decides. Defaults to 5s.
	RetryBudget time.Duration
	// OpenEngine returns a store of the task, restored, since steps may read it while they are wired.
	// The task does not close it.
	OpenEngine func(*graph.Store) (storage.Engine, error)
	// OpenGlobal opens a view of a global store for this task. Nil: there are no global stores.
	OpenGlobal func(*graph.Store) (storage.Bytes, error)
	Out        Output
	// Inputs are the partitions that the group assigned to the task, by full topic names. The task
	// reads exactly these. Nil, without a group: the task reads its partition of each topic that has
	// it.
	Inputs []kafka.TopicPartition
	// Topics returns the existing topics, for sources with a pattern. Nil: none until Add brings a
	// batch of one.
	Topics func() []string
	// MaxIdle is how long the task waits for records of an empty partition while others have some,
	// when it knows of no more records on the broker. Negative: it never waits, not even for records
	// that are on the broker.
	MaxIdle time.Duration
	// HasLag reports whether the broker has more records of a partition than are queued. Nil: never.
	HasLag func(kafka.TopicPartition) bool
	// Clock is stream time. Tasks with the same Clock have the same stream time, as those of a test
	// driver do. By default a task has a Clock of its own.
	Clock    *Clock
	Policies Policies
	// Dropped is called at the end of a round with the records that were dropped, by step and reason.
	Dropped func(node *graph.Node, reason string, n int64)
	// Failure is called for each failure, before its policy is applied.
	Failure func(failure.Report)
	Logger  *slog.Logger // By default nothing is logged.
	// StepCount returns where records are counted that come to a step, on the task's goroutine. Tasks of one goroutine
	// may share what it returns. Nil: nobody wants to know.
	StepCount func(*graph.Node) *int64
	// Damaged reports whether a damaged file is the cause of an error. Such an error ends the task,
	// which can begin again, and no policy is asked. Nil: never.
	Damaged func(error) bool
	// Released is called when a batch has been processed. Its bytes no longer count against the
	// partition's buffer.
	Released func(tp kafka.TopicPartition, bytes int)
}

func (c *Config) setDefaults() {
	if c.Context == nil {
		c.Context = context.Background()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = kafka.Sleep
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
	if c.StepCount == nil {
		unused := new(int64)
		c.StepCount = func(*graph.Node) *int64 { return unused }
	}
	if c.Released == nil {
		c.Released = func(kafka.TopicPartition, int) {}
	}
}

// Clock is stream time. It also numbers queues as they begin to wait, for the order of records with
// equal times.
type Clock struct {
	time   int64
	seq    uint64
	queues *queueOrder // of all tasks with this Clock; nil: each task has an order of its own
}

// queueOrder determines which queue is next.
type queueOrder struct {
	ready     queueHeap // queues with a decoded head
	undecoded []*queue  // queues whose head is not decoded yet, the first one marked first
}

// NewClock returns a Clock before the first record.
func NewClock() *Clock { return &Clock{time: -1} }

// ShareOrder makes one order of the queues of all tasks with this Clock, as if they were one task.
// The owner then processes one record at a time, in the task for which Head returns ok.
func (c *Clock) ShareOrder() *Clock {
	c.queues = &queueOrder{}
	return c
}

// Time returns the stream time in milliseconds, -1 before the first record.
func (c *Clock) Time() int64 { return c.time }

func (c *Clock) advance(t int64) { c.time = max(c.time, t) }

func (c *Clock) nextSeq() uint64 {
	c.seq++
	return c.seq
}

// Engine is a store of a task, with its definition.
type Engine struct {
	Store *graph.Store
	storage.Engine
}

// ErrClosed is returned by the methods of a task after Close.
var ErrClosed = errors.New("task closed")

// Task is one partition of a sub-topology, or a global sub-topology with all partitions of its
// topic. One goroutine owns it: of its methods, other goroutines may call RunningStep only.
//
// Invariants:
//
//  1. Stream time moves when a record leaves its queue to be processed, and nowhere else.
//  2. A queue's position is the offset of its next record: everything before it has been processed or skipped.
//  3. After a fatal error no step runs any more: all calls return that error.
type Task struct {
	cfg         Config
	sub         *graph.Subtopology
	queues      []*queue // in the order of the sources and their topics
	byPartition map[kafka.TopicPartition]*queue
	sources     []source
	engines     []Engine
	engineIndex map[string]int // of engines

	aheadKeys  [aheadRecords][]byte // of the records that come next
	aheadTimes [aheadRecords]int64  // and their times

	queueOrder *queueOrder
	ready      int  // queues of this task with a decoded head
	canProcess bool // the task has waited long enough for its empty queues

	currentStep     graph.CurrentStep
	current         *graph.Input // nil in a punctuation
	recordTime      int64
	lastTime        int64 // of the record that was processed last
	commitRequested bool  // a step requested a commit since the last cut
	recordCount     int64 // number of records in the log for which the current one stands
	drops           []drop
	punctuations    [2]punctuations // by graph.Clock
	operatorTimes   map[*graph.Node]*graph.OperatorTime
	cutTimes        map[string]int64 // operator times at the last cut
	expired         map[string]int64 // metadata entries about changelogs, by key of package offsetmeta

	expiredChanged       bool                // since the last cut
	epoch                int                 // counts cuts
	deadLetterPartitions partitionChooser    // for dead-letter topics
	deadLetterTopics     map[string]struct{} // those that dead letters were written to
	onCommit             []*commitHook       // in the order of the graph
	flushSoon            bool                // a hook of onCommit must run before the next commit
	onClose              []stepHook
	err                  error // the error that ended the task
	closed               bool
}

// source is a wired source. The task opens further queues from it for topics that match its pattern
// later.
type source struct {
	node *graph.Node
	outs []any
}

// New opens the stores of a task and wires its steps, from the sinks up.
func New(cfg Config) (*Task, error) {
	cfg.setDefaults()
	if cfg.ID.Subtopology < 0 || cfg.ID.Subtopology >= len(cfg.Graph.Subtopologies) {
		return nil, fmt.Errorf("task %s: the topology has %d sub-topologies", cfg.ID, len(cfg.Graph.Subtopologies))
	}
	t := &Task{
		cfg: cfg, sub: cfg.Graph.Subtopologies[cfg.ID.Subtopology],
		byPartition: map[kafka.TopicPartition]*queue{}, engineIndex: map[string]int{},
		operatorTimes: map[*graph.Node]*graph.OperatorTime{}, recordTime: -1, recordCount: 1, queueOrder: cfg.Clock.queues,
	}
	if t.queueOrder == nil {
		t.queueOrder = &queueOrder{}
	}
	for i := range t.punctuations {
		t.punctuations[i].reset()
	}
	if err := t.openAndWire(); err != nil {
		return nil, errors.Join(err, t.Close(false))
	}
	return t, nil
}

func (t *Task) openAndWire() (err error) {
	defer t.recoverPanic(&err)
	if err := t.openEngines(); err != nil {
		return err
	}
	return t.wire()
}

func (t *Task) openEngines() error {
	for _, s := range t.sub.Stores {
		e, err := t.cfg.OpenEngine(s)
		if err != nil {
			return fmt.Errorf("task %s: store %q: %w", t.cfg.ID, s.Name, err)
		}
		t.engineIndex[s.Name] = len(t.engines)
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

// BufferedBytes returns what the queued batches of a partition take in memory.
func (t *Task) BufferedBytes(tp kafka.TopicPartition) (n int) {
	if q := t.byPartition[tp]; q != nil {
		for _, b := range q.batches {
			n += b.Bytes
		}
	}
	return n
}

// Position returns the offset of the next record of a source partition, -1 when it is not known.
func (t *Task) Position(tp kafka.TopicPartition) int64 {
	if q := t.byPartition[tp]; q != nil {
		return q.position
	}
	return -1
}

// CommitRequested reports whether a step has requested a commit since the last Cut.
func (t *Task) CommitRequested() bool { return t.commitRequested }

// Err returns the error that ended the task.
func (t *Task) Err() error { return t.err }
