package global

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/internal/worker"
	"github.com/millstream-go/millstream/store"
)

// Config is what a Follower needs.
type Config struct {
	Sub *graph.Sub // a global one
	// Topic is the sub-topology's topic, as the cluster knew it at the start.
	Topic kafka.TopicInfo
	// Task is what all tasks share.
	Task    task.Config
	Admin   kafka.Admin
	Fetcher kafka.Fetcher // read_committed, for global topics alone
	// Partitions returns how many partitions a topic has. It must not wait for a topic that is known.
	Partitions func(topic string) (int, error)
	// Borrow opens a store until Return; pressed is called when its memory is wanted.
	Borrow func(s *graph.Store, pressed func()) (store.Engine, error)
	Return func(store string)
	// Progress is told how far the restore is, as changelog.Restorer tells it: partition by partition of the topic.
	Progress func(p changelog.Progress, applied int)
	// Processed is told of records that came after that.
	Processed func(n int)
	// Fail is told once why the store cannot follow its topic any more. It can be read until Stop all the same.
	Fail   func(error)
	Logger *slog.Logger
	Hook   crashpoint.Hook
}

const (
	perRound = 1000             // records between two looks at what else there is
	perLook  = 16               // records between two looks at the clock
	growth   = 30 * time.Second // between two looks at the number of partitions
	restarts = 3                // of a restore whose topic was cut meanwhile
)

// Follower keeps the stores of one global sub-topology. Its methods but Run are safe from any goroutine.
type Follower struct {
	cfg    Config
	inbox  *worker.Mailbox[message]
	shared map[string]*Shared
	ready  chan struct{} // closed when the stores have reached the ends of the start
	stop   chan struct{} // closed by Stop
	once   sync.Once
	cancel atomic.Pointer[context.CancelCauseFunc]
	done   chan struct{} // closed when Run has returned
	since  atomic.Int64  // when the call under way began, in nanoseconds since 1970; 0: none is

	// What follows is owned by the goroutine of Run.
	owners map[string]*owner
	task   *task.Task
	id     kafka.TopicID
	start  []int64              // where each partition began to be read
	left   []changelog.Progress // of each partition, until it has reached its end; then its Position is its End
	queued []int                // records of each partition that progress does not know of
	taken  []message
	saved  int64 // the sum of positions that was settled last
	wanted bool  // memory is
}

// message is one of: a batch, a fetch that failed, nothing but that memory is wanted.
type message struct {
	batch *kafka.Batch
	tp    kafka.TopicPartition
	err   error
}

// New borrows the stores of a global sub-topology. They can be read at once, and hold what they held last.
func New(cfg Config) (*Follower, error) {
	f := &Follower{
		cfg: cfg, inbox: worker.NewMailbox[message](), shared: map[string]*Shared{}, owners: map[string]*owner{},
		ready: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}
	for _, s := range cfg.Sub.Stores {
		e, err := cfg.Borrow(s, func() { f.inbox.Put(message{}) })
		if err == nil {
			f.shared[s.Name], err = NewShared(s.Name, e)
		}
		if err != nil {
			f.giveBack()
			return nil, fmt.Errorf("open global store %q: %w", s.Name, err)
		}
		f.owners[s.Name] = newOwner(f.shared[s.Name])
	}
	return f, nil
}

// Store returns a store of the sub-topology, nil when it has none of that name.
func (f *Follower) Store(name string) *Shared { return f.shared[name] }

// Ready is closed when the stores hold what their topic held at the start.
func (f *Follower) Ready() <-chan struct{} { return f.ready }

// Done is closed when Run has returned.
func (f *Follower) Done() <-chan struct{} { return f.done }

// Since returns when the call of a user's function under way began, ok false when none is.
func (f *Follower) Since() (at time.Time, ok bool) {
	ns := f.since.Load()
	return time.Unix(0, ns), ns != 0
}

// Stop has Run give the stores back and return. Nobody may read them any more.
func (f *Follower) Stop() {
	f.once.Do(func() { close(f.stop) })
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

// Run follows the topic until Stop, and gives the stores back then; or until ctx ends, when everything is to be dropped.
func (f *Follower) Run(ctx context.Context) {
	defer close(f.done)
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(errStopped)
	f.cancel.Store(&cancel)
	if closed(f.stop) { // Stop has found no function to call
		cancel(errStopped)
	}
	err := f.follow(own)
	if errors.Is(err, crashpoint.Dead) { // in a store, below a task that turns panics into errors
		panic(crashpoint.Dead)
	}
	ended := own.Err() != nil
	if !ended {
		f.cfg.Fail(err)
	}
	select {
	case <-f.stop:
		f.close(ended)
	case <-ctx.Done():
	}
}

func (f *Follower) close(clean bool) {
	if f.task != nil {
		if err := f.task.Close(clean); err != nil {
			f.cfg.Fail(err)
		}
	}
	f.giveBack()
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// giveBack returns the stores; what is not settled is undone.
func (f *Follower) giveBack() {
	for name, s := range f.shared {
		if s.Close() != nil {
			f.cfg.Return(name)
		}
	}
}

// String names the follower for errors, as its first store.
func (f *Follower) String() string { return fmt.Sprintf("global store %q", f.name()) }

func (f *Follower) name() string { return f.cfg.Sub.Stores[0].Name }
