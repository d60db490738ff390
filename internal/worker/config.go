package worker

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

// Config is what a worker needs. Its functions are called on the worker's goroutine and must not block.
type Config struct {
	ID int
	// Task is what all tasks share. ID, Engine, Out, Lag, Released and Context are the worker's to set.
	Task       task.Config
	Membership Membership
	Group      string
	Fetcher    kafka.Fetcher
	Offsets    kafka.Offsets
	// Producer opens the worker's producer, at first and after a loss.
	Producer func(kafka.ProduceConfig) (kafka.Producer, error)
	// Reader opens a fetcher to look at what others wrote into a changelog.
	Reader func() (kafka.Fetcher, error)
	// Ends looks up where changelogs end, for a reader of what is not committed too.
	Ends func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error)
	// Partitions returns how many partitions a topic has. It may have to ask the cluster.
	Partitions func(topic string) (int, error)
	// CommitInterval is the time between two cuts under load.
	CommitInterval time.Duration
	// Budget is the memory that the stores of all workers share.
	Budget *memory.Budget
	Logger *slog.Logger
	Hook   crashpoint.Hook
	// Tell reports to the owner.
	Tell func(Report)
	// Settled is told of each commit, with what was committed.
	Settled func(Commit)
	// Died is called when a crash point stopped the process.
	Died func()
}

// Commit is what Config.Settled is told.
type Commit struct {
	Tasks   int
	Took    time.Duration
	Offsets map[kafka.TopicPartition]kafka.OffsetMeta
}

// Report is what a worker tells its owner: that a task was handed back, or that something failed.
type Report struct {
	Worker int
	Task   graph.TaskID // of a Released or a Failed
	What   What
	Err    error
}

// What is the kind of a Report.
type What int

// The kinds.
const (
	// Adopted: the task runs.
	Adopted What = iota
	// Released: the task is settled and closed, or what was not settled is undone; its stores are the owner's again.
	// Err is what its closing functions returned.
	Released
	// Failed: the task has stopped at Err. Its last epoch will be undone.
	Failed
	// Broken: the worker cannot commit any more.
	Broken
	// Lost: the group has dropped the member. The worker processes nothing until Lose.
	Lost
	// Uncertain: the producer cannot know what was written. The worker processes nothing until Lose; after that its tasks can
	// begin again where they have committed.
	Uncertain
)

// Handover is a task that is ready to run.
type Handover struct {
	ID      graph.TaskID
	Engines map[string]store.Engine // by the name of the store
	Logs    []*changelog.Log        // of the stores that have a changelog
	Sources []*changelog.Log        // of those that are kept from a topic instead
	Member  string                  // as which the task was assigned
	// Start has the committed offset of each of its partitions, Ends what is known of their ends.
	Start map[kafka.TopicPartition]kafka.OffsetMeta
	Ends  map[kafka.TopicPartition]int64
	// Pressed is set, by any goroutine, when memory of the task's stores is wanted: a cut lets them give some back.
	Pressed *atomic.Bool
	// Topics are those that exist, for sources with a pattern.
	Topics []string
}

// Stats are counts since the worker began. Safe to read from any goroutine.
type Stats struct {
	In, Out, Commits atomic.Int64
	// Since is when the call of a task under way began, in nanoseconds since 1970; 0: none is. A call is at most perLook records.
	Since atomic.Int64
}
