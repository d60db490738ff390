package global

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/mailbox"
	"github.com/millstream-go/millstream/internal/runtime/meter"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
)

// Config is what a Follower needs.
type Config struct {
	Sub *graph.Subtopology // a global one
	// Topic is the sub-topology's topic, as the cluster knew it at the start.
	Topic kafka.TopicInfo
	// Task is what all tasks of the App share.
	Task    task.Config
	Admin   kafka.Admin
	Fetcher kafka.Fetcher // read_committed, for global topics alone
	// Partitions returns how many partitions a topic has. It must not wait for a topic that is known.
	Partitions func(topic string) (int, error)
	// Acquire opens a store, and Release returns it. memoryWanted is called when its memory is wanted.
	Acquire func(s *graph.Store, memoryWanted func()) (storage.Engine, error)
	Release func(store string)
	// Restorable reports whether a restore may bring back rows of a store that do not decode. Nil: no
	// restore may.
	Restorable func(store string, partition int32) bool
	// Progress is called with how far the restore is, for each partition of the topic, as by
	// changelog.Restorer.
	Progress func(p changelog.Progress, applied int)
	// Processed is called with the number of records that were processed after the restore.
	Processed func(n int)
	// Fail is called once, with why the stores cannot follow their topic any more. They can be read
	// until Stop all the same.
	Fail   func(error)
	Logger *slog.Logger
	Hook   crashpoint.Hook
}

const (
	maxRoundRecords        = 1000 // processed before stores are settled and the inbox is read
	clockEvery             = 16   // records between two readings of the clock
	partitionCheckInterval = 30 * time.Second
	maxRestarts            = 3 // of a restore, when records that it is to read are deleted meanwhile
)

// Follower writes the stores of one global sub-topology: it follows their topic. Its methods but
// Run are safe from any goroutine.
type Follower struct {
	cfg         Config
	inbox       *mailbox.Mailbox[message]
	stores      map[string]*SharedStore
	ready       atomic.Pointer[chan struct{}] // closed when the stores are ready; another channel after damage
	stop        chan struct{}                 // closed by Stop
	stopOnce    sync.Once
	cancel      atomic.Pointer[context.CancelCauseFunc]
	done        chan struct{} // closed when Run has returned
	callStarted atomic.Int64  // when the call under way began, in nanoseconds since 1970; 0: none is

	publishedTask atomic.Pointer[task.Task] // task, for UserCall
	published     atomic.Pointer[Progress]  // never nil

	// What follows belongs to the goroutine of Run.
	writers      map[string]*writerView
	task         *task.Task
	topicID      kafka.TopicID
	startOffsets []int64              // where reading began, by partition
	progress     []changelog.Progress // of the restore, by partition; complete where Position is End
	unreported   []int                // records that progress does not have yet, by partition
	received     []message
	meter        *meter.Meter
	ends         map[int32]int64 // last stable offsets, by partition, as they were fetched last
	asOf         time.Time       // of the rows, until all is read that was there when reading began
	settledSum   int64           // the sum of the positions in the last checkpoint
	memoryWanted bool            // a store is to cut, so that it can write to disk and free memory
}

// message is one of: a batch; a fetch that failed; with neither, that memory is wanted.
type message struct {
	batch *kafka.Batch
	tp    kafka.TopicPartition
	err   error
}

// New acquires the stores of a global sub-topology. They can be read at once, and have what they
// had at the end of the last run.
func New(cfg Config) (*Follower, error) {
	follower := &Follower{
		cfg: cfg, inbox: mailbox.New[message](), stores: map[string]*SharedStore{}, writers: map[string]*writerView{},
		stop: make(chan struct{}), done: make(chan struct{}), ends: map[int32]int64{}, meter: meter.New(cfg.Task.Graph),
	}
	follower.cfg.Task.StepCount = follower.meter.StepCount
	follower.published.Store(&Progress{Counts: meter.NewCounts(cfg.Task.Graph)})
	follower.ready.Store(new(make(chan struct{})))
	for _, s := range cfg.Sub.Stores {
		engine, err := cfg.Acquire(s, func() { follower.inbox.Put(message{}) })
		if err == nil {
			follower.stores[s.Name], err = NewSharedStore(s.Name, engine)
		}
		if err != nil {
			follower.releaseStores()
			return nil, fmt.Errorf("open global store %q: %w", s.Name, err)
		}
		follower.writers[s.Name] = newWriterView(follower.stores[s.Name])
	}
	return follower, nil
}

// Store returns a store of the sub-topology, nil when it has none of that name.
func (f *Follower) Store(name string) *SharedStore { return f.stores[name] }

// Stores returns the stores of the sub-topology.
func (f *Follower) Stores() []*graph.Store { return f.cfg.Sub.Stores }

// Ready is closed when the stores have what their topic had at the start. When a file is damaged it
// is another channel, which is closed when the stores are restored.
func (f *Follower) Ready() <-chan struct{} { return *f.ready.Load() }

// Done is closed when Run has returned.
func (f *Follower) Done() <-chan struct{} { return f.done }

// UserCall is the call of the user's code that a follower was found in. Two that are equal were
// found in the same call.
type UserCall struct {
	store   string
	id      graph.TaskID
	started int64
	working task.RunningStep
}

// UserCall returns the call that the follower is in. ok is false when no code of the user can be
// running.
func (f *Follower) UserCall() (call UserCall, ok bool) {
	started, t := f.callStarted.Load(), f.publishedTask.Load()
	if started == 0 || t == nil {
		return UserCall{}, false
	}
	return UserCall{f.String(), graph.TaskID{Subtopology: f.cfg.Sub.ID}, started, t.RunningStep()}, true
}

// Error returns err with the step and the record of the call.
func (c UserCall) Error(err error) error {
	return fmt.Errorf("the step of %s: %w", c.store, c.working.Error(c.id, err))
}

// Stop makes Run release the stores and return. Nobody may read them any more.
func (f *Follower) Stop() {
	f.stopOnce.Do(func() { close(f.stop) })
	if cancel := f.cancel.Load(); cancel != nil {
		(*cancel)(errStopped)
	}
}

// Deliver implements kafka.Sink.
func (f *Follower) Deliver(b *kafka.Batch) { f.inbox.Put(message{batch: b}) }

// FetchFailed implements kafka.Sink.
func (f *Follower) FetchFailed(tp kafka.TopicPartition, err error) {
	f.inbox.Put(message{tp: tp, err: err})
}

var errStopped = errors.New("stopped")

// Run follows the topic until Stop, and releases the stores then. When ctx ends, it drops
// everything.
func (f *Follower) Run(ctx context.Context) {
	defer close(f.done)
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(errStopped)
	f.cancel.Store(&cancel)
	debug.SetPanicOnFault(true) // values that scans show are in the maps of files
	// Stop may have come before there was a function for it to call.
	if kafka.Closed(f.stop) {
		cancel(errStopped)
	}
	err := f.follow(runCtx)
	if errors.Is(err, crashpoint.Dead) { // in a store, below a task that turns panics into errors
		panic(crashpoint.Dead)
	}
	ended := runCtx.Err() != nil
	if !ended {
		f.cfg.Fail(err)
	}
	// After a failure the stores stay open until the tasks have ended, which read them.
	select {
	case <-f.stop:
	case <-ctx.Done():
	}
	if ctx.Err() == nil { // otherwise the run is over: its directory may belong to another process
		f.close(ended)
	}
}

func (f *Follower) close(settled bool) {
	if f.task != nil {
		if err := f.task.Close(settled); err != nil {
			f.cfg.Fail(err)
		}
	}
	f.releaseStores()
}

// releaseStores releases the stores. What is not settled is undone.
func (f *Follower) releaseStores() {
	for name, s := range f.stores {
		if s.Close() != nil {
			f.cfg.Release(name)
		}
	}
}

// String names the follower for errors, as its first store.
func (f *Follower) String() string { return fmt.Sprintf("global store %q", f.name()) }

func (f *Follower) name() string { return f.cfg.Sub.Stores[0].Name }
