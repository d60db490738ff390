package instance

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

// Config is what a run needs. It has no defaults: the App has applied its own. The fields that
// Config of package millstream has too are described there.
type Config struct {
	Graph         *graph.Graph
	ApplicationID string
	Brokers       []string

	StateDir          string
	Workers           int
	ExactlyOnce       bool
	CommitInterval    time.Duration
	SessionTimeout    time.Duration
	HeartbeatInterval time.Duration
	RebalanceTimeout  time.Duration
	MaxProcessingTime time.Duration
	StopTimeout       time.Duration
	MemoryBudget      int64
	Standbys          int
	AcceptableLag     int64
	MaxTaskIdle       time.Duration

	ReplicationFactor int
	TopicConfig       map[string]string

	ClientID    string
	InstanceID  string
	Rack        string
	Tags        map[string]string
	StandbyTags []string
	Compression string
	TLS         *tls.Config
	// SASL returns the credentials. Calls for tokens end with ctx.
	SASL   func(ctx context.Context) sarama.SASL
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)

	Logger     *slog.Logger
	Policies   task.Policies
	TaskErrors failure.TaskPolicy

	// Observer is notified of what happens.
	Observer Observer
	// Counters are where the run counts. They belong to the App, which shows them after the run, too.
	Counters *Counters
	// Pauses are what is paused. They belong to the App, which may be paused before it runs.
	Pauses *Pauses
}

// Observer has the functions that a run calls when something happens. The first six must
// be set; the others are the App's events, and are nil where the user has set none. They are called on any
// of the run's goroutines, several at once.
type Observer struct {
	// Phase asks the App to enter a phase, and reports whether the App is in it then: an App that
	// stops does not run again.
	Phase func(Phase) bool
	// StartBlocked is called with the reason why the start waits, and with nil when it goes on.
	StartBlocked func(error)
	// Connected is called once, when there is a client. reachable returns nil, or why no broker
	// answers.
	Connected func(reachable func() error)
	// Opened is called once, when everything is open and before anything runs. From then on the
	// instance may be asked.
	Opened func(*Instance)
	// StuckEvent returns which of the App's events has not returned for longer than limit, nil if
	// none.
	StuckEvent func(now time.Time, limit time.Duration) error
	// UserCall notes for StuckEvent that a function of the user is called, which belongs to no task. end
	// is to be called when it has returned.
	UserCall func(name string) (end func())

	Restore  func(RestoreInfo)
	Dropped  func(DropInfo)
	Failure  func(failure.Report)
	Assigned func(tasks []string)
	Damaged  func(DamageInfo)
	Commit   func(CommitInfo)
	Standby  func(StandbyUpdate)
	Restart  func(TaskRestartInfo)

	Rebalance func(RebalanceInfo)
}

// Phase is a part of a run's life, as the App shows it in its State.
type Phase int

const (
	// Restoring: some tasks wait for their stores, or all tasks for the global stores.
	Restoring Phase = iota
	// Running: all tasks run.
	Running
	// Stopping: what is processed is being settled, and the group left.
	Stopping
)

// TaskPhase is what a task that is assigned to this member does.
type TaskPhase int

// The phases.
const (
	TaskRestoring TaskPhase = iota // it is being opened, and its stores are restored
	TaskRunning
	TaskWaiting // it has failed, and is to be opened again
	TaskRevoked // it is being given up
)

// The following have the fields of the types of the same name in package millstream, so that one
// converts to the other.
type (
	// RestoreInfo describes how far the restore of a store partition is.
	RestoreInfo struct {
		Store     string
		Partition int32
		Done, End int64
		Records   int64
		Full      bool
		Missing   int64
	}

	// DropInfo describes records that were dropped.
	DropInfo struct {
		Step, Reason string
		N            int64
	}

	// DamageInfo describes a file that was damaged and moved aside.
	DamageInfo struct {
		Store     string
		Partition int32
		File      string
		MovedTo   string
		Reason    string
	}

	// TaskRestartInfo describes a task that has failed and is restarted.
	TaskRestartInfo struct {
		Task      string
		Step      string
		Topic     string
		Partition int32
		Offset    int64
		Restarts  int
		Pause     time.Duration
		Err       error
	}

	// RebalanceInfo describes a rebalance that has ended.
	RebalanceInfo struct {
		At         time.Time
		Generation int32
		Reason     string
		Took       time.Duration
		Tasks      int
		New        int
		Revoked    int
	}

	// CommitInfo describes a commit of a worker.
	CommitInfo struct {
		Tasks int
		Took  time.Duration
	}

	// TaskInfo describes a task that the group has assigned to this member.
	TaskInfo struct {
		ID      string
		Running bool
		Paused  bool
		Worker  int
		Phase   TaskPhase
	}
)
