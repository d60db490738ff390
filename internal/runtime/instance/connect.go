package instance

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
	"github.com/millstream-go/millstream/internal/storage"
)

// open takes the state directory, connects to the brokers, makes and checks the topics, and makes
// the group and the workers. Nothing runs yet. ctx is Run's: it ends the waiting for brokers.
func (inst *Instance) open(ctx context.Context) (err error) {
	// The directory first: a second process with the same one ends here, before it disturbs the group
	// of the first.
	if inst.stores, err = openStores(ctx, inst); err != nil {
		return err
	}
	if err := inst.connect(); err != nil {
		return err
	}
	if inst.cfg.ExactlyOnce {
		if err := inst.startAbandoned(ctx); err != nil {
			return err
		}
	}
	deployment, err := inst.deploy(ctx)
	if err != nil {
		return err
	}
	// Before the group is joined: once this member runs tasks, it commits offsets for partitions
	// itself, and cannot tell any more which the group had before.
	added, err := inst.findAddedPartitions(ctx, deployment)
	if err != nil {
		return err
	}
	// After deploy, which refuses stores whose type is not that of their changelog: what is dropped
	// here can be restored.
	if err := errors.Join(inst.stores.setTypes(), inst.stores.checkEarlierFormat()); err != nil {
		return err
	}
	inst.partitionCounts = topics.NewPartitionCounts(inst.ctx, inst.admin, deployment)
	inst.purgeLoop = topics.NewPurgeLoop(inst.admin, inst.cfg.Logger)
	inst.group = group.New(inst.groupConfig(deployment))
	if inst.abandoned != nil {
		inst.abandoned.setGroup(inst.group)
	}
	if inst.globals, err = inst.openGlobals(deployment); err != nil {
		return err
	}
	inst.makeOpener(added)
	inst.standbys = inst.newStandbys()
	for i := range inst.cfg.Workers {
		inst.workers = append(inst.workers, worker.New(inst.ctx, inst.workerConfig(i)))
	}
	inst.cfg.Counters.setWorkers(inst.workers)
	inst.watchdog = newWatchdog(inst)
	return nil
}

// connect makes the client and opens a role of it for each use. Each role has its own connections,
// since requests on one connection wait for each other: a heartbeat would come after the fetch in
// front of it, which waits for records.
func (inst *Instance) connect() (err error) {
	inst.client, err = sarama.New(sarama.Config{
		Brokers: inst.cfg.Brokers, ClientID: inst.cfg.ClientID, Rack: inst.cfg.Rack, TLS: inst.cfg.TLS,
		SASL:   inst.cfg.SASL(inst.ctx),
		Dialer: inst.cfg.Dialer, Logger: inst.cfg.Logger,

		InstanceID: inst.cfg.InstanceID,
	})
	if err != nil {
		return err
	}
	inst.cfg.Observer.Connected(inst.client.Healthy)
	inst.closers = append(inst.closers, inst.client.Close)
	if inst.admin, err = inst.client.Admin(); err != nil {
		return err
	}
	inst.closers = append(inst.closers, inst.admin.Close)
	if inst.offsets, err = inst.client.Offsets(); err != nil {
		return err
	}
	inst.closers = append(inst.closers, inst.offsets.Close)
	for i := range inst.groupClients {
		if inst.groupClients[i], err = inst.client.Group(); err != nil {
			return err
		}
		inst.closers = append(inst.closers, inst.groupClients[i].Close)
	}
	// Inputs, restores and global topics have a fetcher each, for the same reason: the tasks that run
	// are not to wait for a restore.
	if inst.inputFetcher, err = inst.newFetcher(); err != nil {
		return err
	}
	inst.closers = append(inst.closers, inst.inputFetcher.Close)
	if inst.restoreFetcher, err = inst.newFetcher(); err != nil {
		return err
	}
	inst.closers = append(inst.closers, inst.restoreFetcher.Close)
	if slices.ContainsFunc(inst.graph.Subtopologies, func(sub *graph.Subtopology) bool { return sub.Global }) {
		if inst.globalFetcher, err = inst.newFetcher(); err != nil {
			return err
		}
		inst.closers = append(inst.closers, inst.globalFetcher.Close)
	}
	return nil
}

// minInflatedBytes is what one compressed record batch may take in memory, however small the budget
// is.
const minInflatedBytes = 128 << 20

// newFetcher opens a fetcher. It reads what is committed: what aborted transactions wrote is no
// input, and no state either.
func (inst *Instance) newFetcher() (kafka.Fetcher, error) {
	return inst.client.Fetcher(kafka.FetchConfig{
		Isolation: kafka.ReadCommitted, InflatedBytes: int(max(inst.cfg.MemoryBudget, minInflatedBytes)),
	})
}

// deploy looks up the topics, creates internal ones and checks all. It waits for brokers that are
// away as long as ctx lasts.
func (inst *Instance) deploy(ctx context.Context) (deployment *topics.Deployment, err error) {
	inst.deployer = topics.New(inst.graph, inst.topicsConfig(), inst.admin)
	err = kafka.RetryUnavailable(ctx, func() (err error) {
		deployment, err = inst.deployer.Deploy(ctx)
		inst.cfg.Observer.StartBlocked(err)
		return err
	})
	return deployment, err
}

func (inst *Instance) topicsConfig() topics.Config {
	policies := inst.cfg.Policies
	return topics.Config{
		Application: inst.cfg.ApplicationID, Replication: inst.cfg.ReplicationFactor, TopicConfig: inst.cfg.TopicConfig,
		DeadLetters: slices.Concat(policies.Decode.Topics(), policies.Process.Topics(), policies.Produce.Topics()),
		Committed: func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]kafka.OffsetMeta, error) {
			return inst.offsets.Fetch(ctx, inst.cfg.ApplicationID, tps)
		},
		Brokers: inst.cfg.Brokers, Logger: inst.cfg.Logger,
	}
}

func (inst *Instance) groupConfig(deployment *topics.Deployment) group.Config {
	return group.Config{
		Application: inst.cfg.ApplicationID, Group: inst.groupClients[0], Heartbeats: inst.groupClients[1],
		Deployer: inst.deployer, Deployment: deployment, Handler: &inst.manager,
		Process: inst.stores.processID, InstanceID: inst.cfg.InstanceID, Workers: inst.cfg.Workers, Rack: inst.cfg.Rack,
		Tags: inst.cfg.Tags, StandbyTags: inst.cfg.StandbyTags,
		Stored:   inst.stores.storedTasks,
		Standbys: inst.standbyTasks, Positions: inst.positions, Changelogs: inst.changelogBounds,
		Rebalanced:     inst.onRebalance,
		WantedStandbys: inst.cfg.Standbys, AcceptableLag: inst.cfg.AcceptableLag, Unneeded: inst.stores.setUnneeded,
		Members: func(ctx context.Context) ([]kafka.GroupMember, error) {
			return inst.admin.GroupMembers(ctx, inst.cfg.ApplicationID)
		},
		SessionTimeout: inst.cfg.SessionTimeout, HeartbeatInterval: inst.cfg.HeartbeatInterval,
		RebalanceTimeout: inst.cfg.RebalanceTimeout, Logger: inst.cfg.Logger,
	}
}

// logUnusedTopics names, once, the internal topics that an earlier version of the program has left.
func (inst *Instance) logUnusedTopics() {
	unused, err := topics.FindUnused(inst.ctx, inst.graph, inst.topicsConfig(), inst.admin)
	if err != nil {
		if inst.ctx.Err() == nil {
			inst.cfg.Logger.Debug("millstream: looking for unused topics failed", "error", err)
		}
		return
	}
	if len(unused.Topics) > 0 {
		inst.cfg.Logger.Info("millstream: no step uses these internal topics any more; delete them when no earlier version "+
			"of the program will run again",
			"topics", unused.Topics)
	}
	for topic, count := range unused.Unread {
		inst.cfg.Logger.Warn("millstream: records in an internal topic that no step reads any more were never processed; "+
			"the version that wrote them can do that",
			"topic", topic, "records", count)
	}
}

// makeOpener makes what opens tasks. It borrows stores and restores them.
func (inst *Instance) makeOpener(added *addedPartitions) {
	restorer := &changelog.Restorer{
		Fetcher: inst.restoreFetcher, Logger: inst.cfg.Logger, Hook: inst.hook, Progress: inst.onRestoreProgress,
		Ended: inst.restores.remove,
	}
	if inst.abandoned != nil {
		restorer.Waiting = inst.abandoned.waiting
	}
	inst.opener = &worker.Opener{
		Application: inst.cfg.ApplicationID, Admin: inst.admin,
		Committer:      worker.Committer{Offsets: inst.offsets, Group: inst.cfg.ApplicationID, Membership: inst.group},
		IsNewPartition: added.includes, Restorer: restorer, AcquireStore: inst.acquireStore,
		ReleaseStore: inst.stores.release,
		Damage:       inst.damageConfig(),
		Budget:       inst.stores.dir.Budget(),
		RestoreSlots: make(chan struct{}, max(2*inst.cfg.Workers, 4)), LargeRestoreSlots: make(chan struct{}, 1),
		Logger: inst.cfg.Logger, Hook: inst.hook, Policies: inst.cfg.Policies,
	}
	restorer.Bounds = inst.opener.BoundsLookup(inst.group.Deployment)
}

// startAbandoned starts what ends the transactions of dead processes. It has a role of its own: it asks all brokers,
// and one that does not answer is not to hold up others.
func (inst *Instance) startAbandoned(ctx context.Context) error {
	admin, err := inst.client.Admin()
	if err != nil {
		return err
	}
	inst.closers = append(inst.closers, admin.Close)
	inst.abandoned = &abandonedTransactions{
		application: inst.cfg.ApplicationID, process: inst.stores.processID, admin: admin, logger: inst.cfg.Logger,
		wanted: make(chan struct{}, 1),
	}
	inst.offsets = watchedOffsets{inst.offsets, inst.abandoned}
	// Before anything is asked of the group: its offsets may be held up by what an earlier run has left open.
	if err := inst.abandoned.end(ctx); err != nil {
		inst.cfg.Logger.Debug("millstream: looking for transactions of an earlier run failed", "error", err)
	}
	inst.abandoned.hook = inst.hook // not before: Run itself does not catch crash points
	inst.background(func() { inst.abandoned.run(inst.ctx) })
	return nil
}

func (inst *Instance) workerConfig(i int) worker.Config {
	cfg := worker.Config{
		ID: i, Membership: inst.group, Group: inst.cfg.ApplicationID, Fetcher: inst.inputFetcher, Offsets: inst.offsets,
		Producer: func(c kafka.ProduceConfig) (kafka.Producer, error) {
			c.Compression = inst.cfg.Compression
			return inst.client.Producer(c)
		},
		EndOffsets: func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
			request := map[kafka.TopicPartition]int64{}
			for _, tp := range tps {
				request[tp] = kafka.Latest
			}
			// The very end: that of a read_committed reader is where the first open transaction begins.
			return inst.admin.ListOffsets(ctx, kafka.ReadUncommitted, request)
		},
		StableEnds: func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
			request := map[kafka.TopicPartition]int64{}
			for _, tp := range tps {
				request[tp] = kafka.Latest
			}
			return inst.admin.ListOffsets(ctx, kafka.ReadCommitted, request)
		},
		Paused:     inst.cfg.Pauses.Include,
		Reader:     inst.newFetcher,
		Partitions: inst.partitionCounts.Count, CommitInterval: inst.cfg.CommitInterval, Budget: inst.stores.dir.Budget(),
		Logger: inst.cfg.Logger, Hook: inst.hook,
		Report: inst.manager.workerReport, OnCommit: inst.onCommit, Crashed: inst.crash,
		Task: inst.taskConfig(),
	}
	if inst.cfg.ExactlyOnce {
		cfg.Process = inst.stores.processID
		cfg.Transactor = func(c kafka.ProduceConfig, t kafka.TransactionConfig) (kafka.Transactor, error) {
			c.Compression = inst.cfg.Compression
			return inst.client.Transactor(c, t)
		}
		cfg.CommitInterval = min(cfg.CommitInterval, worker.MaxTransaction)
	}
	return cfg
}

// taskConfig is what all tasks share.
func (inst *Instance) taskConfig() task.Config {
	return task.Config{
		Graph: inst.graph, Application: inst.cfg.ApplicationID, MaxIdle: inst.cfg.MaxTaskIdle,
		Policies: inst.cfg.Policies,
		Dropped:  inst.drops.add,
		Failure: func(r failure.Report) {
			if notify := inst.cfg.Observer.Failure; notify != nil {
				notify(r)
			}
		},
		OpenGlobal: inst.globals.open,
		Logger:     inst.cfg.Logger,
	}
}

// acquireStore opens a store partition for a task. When its memory is wanted, all workers are
// woken, since any of them may have the task.
func (inst *Instance) acquireStore(
	st *graph.Store, partition int32, memoryWanted *atomic.Bool,
) (storage.Engine, error) {
	return inst.stores.acquire(st, partition, func() {
		memoryWanted.Store(true)
		for _, w := range inst.workers {
			w.Wake()
		}
		inst.standbys.Wake()
	})
}

// onCommit is called after each commit of a worker.
func (inst *Instance) onCommit(c worker.Commit) {
	inst.purgeLoop.Add(c.Offsets, c.Expired)
	if notify := inst.cfg.Observer.Commit; notify != nil {
		notify(CommitInfo{Tasks: c.Tasks, Took: c.Took})
	}
}

// onRebalance is called after each assignment.
func (inst *Instance) onRebalance(r group.Rebalance) {
	info := RebalanceInfo{
		At: time.Now(), Generation: r.Generation, Reason: r.Reason, Took: r.Took, Tasks: r.Tasks, New: len(r.New),
		Revoked: r.Revoked,
	}
	inst.cfg.Counters.rebalanced(info)
	if notify := inst.cfg.Observer.Rebalance; notify != nil {
		notify(info)
	}
}

// onRestoreProgress is called when a restore has begun, after each batch of it, and when it is
// done.
func (inst *Instance) onRestoreProgress(p changelog.Progress, applied int) {
	inst.cfg.Counters.restored.Add(int64(applied))
	inst.restores.add(p, applied)
	if notify := inst.cfg.Observer.Restore; notify != nil {
		notify(restoreInfo(p))
	}
}

func restoreInfo(p changelog.Progress) RestoreInfo {
	return RestoreInfo{
		Store: p.Store, Partition: p.Partition, Done: p.Position - p.Begin, End: p.End - p.Begin,
		Records: p.Records, Full: p.Full, Missing: p.Missing,
	}
}
