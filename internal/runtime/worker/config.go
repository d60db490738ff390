package worker

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// Config configures a Worker. Its functions are called on the worker's goroutine and must not block,
// but for Reader, EndOffsets and StableEnds, which goroutines of their own call and which wait for
// brokers, and Partitions.
type Config struct {
	ID int
	// Task is what all tasks share. The worker sets what belongs to one task, such as ID, OpenEngine
	// and Out.
	Task       task.Config
	Membership Membership
	Group      string
	Fetcher    kafka.Fetcher
	Offsets    kafka.Offsets
	// Producer opens the worker's producer, at the start and again after a loss.
	Producer func(kafka.ProduceConfig) (kafka.Producer, error)
	// Transactor opens a producer with transactions in place of Producer, where each record is to count exactly once; else
	// nil.
	Transactor func(kafka.ProduceConfig, kafka.TransactionConfig) (kafka.Transactor, error)
	// Process is the id of the process, by which it knows its transactions again.
	Process [16]byte
	// Reader opens a fetcher to read foreign writes in a changelog.
	Reader func() (kafka.Fetcher, error)
	// EndOffsets looks up the ends of changelogs, as a read_uncommitted reader sees them.
	EndOffsets func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error)
	// StableEnds looks up the ends of inputs, as a read_committed reader sees them. Goroutines call it.
	StableEnds func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error)
	// Paused reports whether the tasks of a sub-topology are paused. After a change, Wake has it looked at.
	Paused func(subtopology int) bool
	// Partitions returns the number of partitions of a topic. It may ask the cluster.
	Partitions func(topic string) (int, error)
	// CommitInterval is the time between two cuts under load.
	CommitInterval time.Duration
	// Budget is the memory that the stores of all workers share.
	Budget *memtable.Budget
	Logger *slog.Logger
	Hook   crashpoint.Hook
	// Report is called with what happens to tasks and to the worker.
	Report func(Report)
	// OnCommit is called after each commit.
	OnCommit func(Commit)
	// Crashed is called when a crash point has ended the process.
	Crashed func()
}

// Commit describes a commit that has settled.
type Commit struct {
	Tasks   int
	Took    time.Duration
	Offsets map[kafka.TopicPartition]kafka.OffsetMeta
	// Expired has by changelog the offset before which no restore needs anything. The committed
	// offsets say so.
	Expired map[kafka.TopicPartition]int64
}

// Report is an event of a worker for its owner.
type Report struct {
	Worker int
	Task   graph.TaskID // of Adopted, Committed, Released, Paused, Resumed, Failed, Unreadable and Damaged
	Kind   Kind
	Err    error
	// Settled, of Released: the stores have what their changelogs have up to the positions, and nothing else.
	Settled bool
}

// Kind is the kind of a Report.
type Kind int

// The kinds.
const (
	// Adopted: the task runs.
	Adopted Kind = iota
	// Committed: a position of the task has moved since Adopted, and the commit of that has settled. It is reported once.
	Committed
	// Released: the task is closed, and either settled or undone. Its stores belong to the owner
	// again. Err is the error of its closing functions.
	Released
	// Paused: the task processes nothing and nothing is fetched for it, until Resumed.
	Paused
	// Resumed: the task is not paused any more.
	Resumed
	// Failed: the task has stopped with Err, and its last epoch will be undone. Released follows without
	// a request. After it the task can be opened again.
	Failed
	// Unreadable is Failed where an input cannot be read. A task that is opened again would find the
	// same, or, where a topic was created again, continue without the records that are lost.
	Unreadable
	// Damaged: the task has stopped because a file of its stores, or of a global store, is damaged.
	// Released follows without a request. After it the task can be opened again.
	Damaged
	// Broken: the worker cannot commit any more.
	Broken
	// Lost: the group has removed the member. The worker processes nothing until Abandon.
	Lost
	// Uncertain: the producer cannot know whether a batch was appended. The worker processes nothing
	// until Abandon. After it the tasks can begin again at their last commit.
	Uncertain
)

// Handover is an opened task, ready to run, on its way from the Opener to a worker.
type Handover struct {
	ID      graph.TaskID
	Engines map[string]storage.Engine // by store
	Logs    []*changelog.Log          // of the stores with a changelog
	Sources []*changelog.Log          // of the stores that are restored from a topic instead
	Member  string                    // to which the task was assigned
	// Start has the committed offset of each input partition, Ends their last stable offsets.
	Start  map[kafka.TopicPartition]kafka.OffsetMeta
	Ends   map[kafka.TopicPartition]int64
	Damage Damage
	// MemoryWanted is set, by any goroutine, to ask the task's stores for memory. A cut lets them
	// release some.
	MemoryWanted *atomic.Bool
	// Topics are the existing topics of the inputs, for sources with a pattern.
	Topics []string
}

// Stats are counts since the worker began. Any goroutine may read them.
type Stats struct {
	In, Out, Commits atomic.Int64
}
