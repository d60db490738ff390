package millstream

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/group"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/internal/worker"
	"github.com/millstream-go/millstream/store"
)

// open connects the roles, checks the topics, and makes group and workers. ctx is Run's.
func (s *session) open(ctx context.Context) (err error) {
	if s.stores, err = openStores(ctx, s.cfg, s.app.g, s); err != nil {
		return err
	}
	if err := s.openRoles(); err != nil {
		return err
	}
	plan, err := s.plan(ctx)
	if err != nil {
		return err
	}
	s.counts = newPartitions(s, plan)
	s.purge = newPurge(s.admin, s.cfg.Logger)
	s.group = group.New(group.Config{
		Application: s.cfg.ApplicationID, Group: s.membership[0], Heartbeats: s.membership[1], Planner: s.planner, Plan: plan,
		Handler: &s.manager, Process: s.stores.id, Workers: s.cfg.Workers, Rack: s.cfg.Rack, Stored: s.stores.tasks,
		SessionTimeout: s.cfg.SessionTimeout, Heartbeat: s.cfg.HeartbeatInterval, RebalanceTimeout: s.cfg.RebalanceTimeout, Logger: s.cfg.Logger,
	})
	if s.globals, err = s.openGlobals(plan); err != nil {
		return err
	}
	s.openOpener()
	for i := range s.cfg.Workers {
		s.workers = append(s.workers, worker.New(s.ctx, s.workerConfig(i)))
	}
	return nil
}

func (s *session) openRoles() (err error) {
	s.client, err = sarama.New(sarama.Config{
		Brokers: s.cfg.Brokers, ClientID: s.cfg.ClientID, Rack: s.cfg.Rack, TLS: s.cfg.TLS, SASL: s.cfg.SASL.client(s.ctx),
		Dialer: s.cfg.Dialer, Logger: s.cfg.Logger,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.client.Close)
	if s.admin, err = s.client.Admin(); err != nil {
		return err
	}
	s.closers = append(s.closers, s.admin.Close)
	if s.offsets, err = s.client.Offsets(); err != nil {
		return err
	}
	s.closers = append(s.closers, s.offsets.Close)
	for i := range s.membership {
		if s.membership[i], err = s.client.Group(); err != nil {
			return err
		}
		s.closers = append(s.closers, s.membership[i].Close)
	}
	// What aborted transactions wrote is no input, and no state either.
	if s.fetcher, err = s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.fetcher.Close)
	if s.restorer, err = s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.restorer.Close)
	if slices.ContainsFunc(s.app.g.Subs, func(x *graph.Sub) bool { return x.Global }) {
		if s.follower, err = s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted}); err != nil {
			return err
		}
		s.closers = append(s.closers, s.follower.Close)
	}
	return nil
}

// plan looks the topics up, creates internal ones and checks them, waiting for brokers that are away as long as Run's ctx lasts.
func (s *session) plan(ctx context.Context) (plan *topics.Plan, err error) {
	s.planner = topics.New(s.app.g, topics.Config{
		Application: s.cfg.ApplicationID, Replication: s.cfg.ReplicationFactor, TopicConfig: s.cfg.TopicConfig,
	}, s.admin)
	err = worker.Persist(ctx, func() (err error) {
		plan, err = s.planner.Plan(ctx)
		s.app.waits(err)
		return err
	})
	return plan, err
}

func (s *session) openOpener() {
	restorer := &changelog.Restorer{Fetcher: s.restorer, Logger: s.cfg.Logger, Hook: s.hook, Progress: s.progress}
	s.opener = &worker.Opener{
		Application: s.cfg.ApplicationID, Admin: s.admin,
		Committer: worker.Committer{Offsets: s.offsets, Group: s.cfg.ApplicationID, Membership: s.group},
		Restorer:  restorer, Borrow: s.borrow, Return: s.stores.giveBack,
		Restores: make(chan struct{}, max(2*s.cfg.Workers, 4)), Large: make(chan struct{}, 1),
		Logger: s.cfg.Logger, Hook: s.hook,
	}
	restorer.Extents = s.opener.Extents(func() *topics.Plan { return s.group.Plan() })
}

func (s *session) workerConfig(i int) worker.Config {
	return worker.Config{
		ID: i, Membership: s.group, Group: s.cfg.ApplicationID, Fetcher: s.fetcher, Offsets: s.offsets,
		Producer: func(c kafka.ProduceConfig) (kafka.Producer, error) {
			c.Compression = s.cfg.Compression
			return s.client.Producer(c)
		},
		Ends: func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
			at := map[kafka.TopicPartition]int64{}
			for _, tp := range tps {
				at[tp] = kafka.Latest
			}
			return s.admin.ListOffsets(ctx, kafka.ReadUncommitted, at)
		},
		Reader: func() (kafka.Fetcher, error) {
			return s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted})
		},
		Partitions: s.counts.of, CommitInterval: s.cfg.CommitInterval, Budget: s.stores.dir.Budget(), Logger: s.cfg.Logger, Hook: s.hook,
		Tell: s.manager.tell, Settled: s.settled, Died: s.die,
		Task: s.taskConfig(),
	}
}

// taskConfig is what all tasks share.
func (s *session) taskConfig() task.Config {
	return task.Config{
		Graph: s.app.g, Application: s.cfg.ApplicationID, MaxIdle: s.cfg.MaxTaskIdle,
		Policies: task.Policies{Decode: s.cfg.OnDecodeError, Process: s.cfg.OnProcessError, Produce: s.cfg.OnProduceError},
		Dropped:  func(n *graph.Node, reason string, c int64) { s.app.drops.add(n, reason, c) },
		Failure: func(r failure.Report) {
			if f := s.cfg.Events.Failure; f != nil {
				f(r)
			}
		},
		Global: s.globals.open,
		Logger: s.cfg.Logger,
	}
}

// borrow opens a store partition for a task. When its memory is wanted its worker finds out at once.
func (s *session) borrow(st *graph.Store, partition int32, pressed *atomic.Bool) (store.Engine, error) {
	return s.stores.borrow(st, partition, func() {
		pressed.Store(true)
		for _, w := range s.workers {
			w.Poke()
		}
	})
}

// settled is told of each commit of a worker.
func (s *session) settled(c worker.Commit) {
	s.purge.add(c.Offsets)
	if f := s.cfg.Events.Commit; f != nil {
		f(CommitInfo{Tasks: c.Tasks, Took: c.Took})
	}
}

// progress is told of restores.
func (s *session) progress(p changelog.Progress, applied int) {
	s.app.stats.restored.Add(int64(applied))
	if f := s.cfg.Events.Restore; f != nil {
		f(RestoreInfo{Store: p.Store, Partition: p.Partition, Done: p.Position - p.Begin, End: p.End - p.Begin, Records: p.Records, Full: p.Full})
	}
}
