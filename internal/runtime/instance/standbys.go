package instance

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/standby"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// StandbyInfo describes a standby of a store partition.
type StandbyInfo struct {
	Task          string
	Store         string
	Topic         string
	Partition     int32
	Position, End int64
	Lag           int64
	Records       int64
	WarmUp        bool
}

// StandbyUpdate is an event of a standby.
type StandbyUpdate struct {
	StandbyInfo
	Event   StandbyEvent
	Applied int
}

// StandbyEvent is what has happened to a standby.
type StandbyEvent int

// The events.
const (
	StandbyStarted StandbyEvent = iota
	StandbyLoaded
	StandbyPromoted
	StandbyMigrated
)

// openFetcher is a fetcher that is opened when it is needed first: most Apps have no standbys.
type openFetcher struct {
	mu      sync.Mutex
	fetcher kafka.Fetcher
	closed  bool
}

// get returns the fetcher, and opens it before if it has to.
func (o *openFetcher) get(open func() (kafka.Fetcher, error)) (f kafka.Fetcher, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, errStopped
	}
	if o.fetcher == nil {
		o.fetcher, err = open()
	}
	return o.fetcher, err
}

// close closes the fetcher. Not under the lock: Close waits for goroutines, and a get would wait for that, too.
func (o *openFetcher) close() {
	o.mu.Lock()
	fetcher := o.fetcher
	o.fetcher, o.closed = nil, true
	o.mu.Unlock()
	if fetcher != nil {
		fetcher.Close()
	}
}

// newStandbys makes the set of standbys, which is empty until the group wants one here.
func (inst *Instance) newStandbys() *standby.Set {
	fetcher := &openFetcher{}
	inst.closers = append(inst.closers, fetcher.close)
	cfg := standby.Config{
		Open: func(ctx context.Context, t topics.Task, memoryWanted *atomic.Bool) (worker.StandbyStores, error) {
			return inst.opener.OpenStandby(ctx, inst.group.Deployment(), inst.graph, t, memoryWanted)
		},
		Release: func(stores worker.StandbyStores, settled, promoted bool) {
			inst.releaseStores(stores.Handover, settled, promoted)
		},
		Fetcher: func() (kafka.Fetcher, error) { return fetcher.get(inst.newFetcher) },
		Ends: func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
			if len(tps) == 0 {
				return nil, nil
			}
			return inst.admin.ListOffsets(ctx, kafka.ReadUncommitted, latestOf(tps))
		},
		Committed:  inst.committedOffsets,
		Background: inst.background,
		CaughtUp: func(id graph.TaskID, warmUp bool) {
			if !warmUp {
				inst.cfg.Logger.Info("millstream: a standby has caught up here, and another member's may end", "task", id.String())
				inst.group.Rejoin("the standby of task " + id.String() + " has caught up")
				return
			}
			inst.cfg.Logger.Info("millstream: a task has warmed up here, and may move", "task", id.String())
			inst.group.Rejoin(group.ReasonWarmedUp)
		},
		Hook: inst.hook, Logger: inst.cfg.Logger,
	}
	if notify := inst.cfg.Observer.Standby; notify != nil {
		cfg.Update = func(u standby.Update) { notify(standbyUpdate(u)) }
	}
	return standby.New(cfg)
}

func latestOf(tps []kafka.TopicPartition) map[kafka.TopicPartition]int64 {
	out := make(map[kafka.TopicPartition]int64, len(tps))
	for _, tp := range tps {
		out[tp] = kafka.Latest
	}
	return out
}

// committedOffsets returns the group's committed offsets of partitions, of those that have one.
func (inst *Instance) committedOffsets(
	ctx context.Context, tps []kafka.TopicPartition,
) (map[kafka.TopicPartition]int64, error) {
	if len(tps) == 0 {
		return nil, nil
	}
	found, err := inst.offsets.Fetch(ctx, inst.cfg.ApplicationID, tps)
	if err != nil {
		return nil, err
	}
	out := make(map[kafka.TopicPartition]int64, len(tps))
	for tp, meta := range found {
		if meta.Offset >= 0 {
			out[tp] = meta.Offset
		}
	}
	return out, nil
}

func standbyUpdate(u standby.Update) StandbyUpdate {
	out := StandbyUpdate{StandbyInfo: standbyInfo(u.Info), Event: StandbyLoaded, Applied: u.Applied}
	switch {
	case u.Started:
		out.Event = StandbyStarted
	case u.Ended && u.Reason == standby.Promoted:
		out.Event = StandbyPromoted
	case u.Ended:
		out.Event = StandbyMigrated
	}
	return out
}

func standbyInfo(i standby.Info) StandbyInfo {
	return StandbyInfo{
		Task: i.Task.String(), Store: i.Store, Topic: i.Topic, Partition: i.Partition,
		Position: i.Position, End: i.End, Lag: i.Lag(), Records: i.Records, WarmUp: i.WarmUp,
	}
}

// Standbys returns the standbys of this member, by task and store. Safe for use by several goroutines.
func (inst *Instance) Standbys() []StandbyInfo {
	infos := inst.standbys.Infos()
	out := make([]StandbyInfo, len(infos))
	for i, info := range infos {
		out[i] = standbyInfo(info)
	}
	return out
}

// releaseStores returns the stores of a task or a standby. settled reports that their positions can be trusted;
// inMemory has stores in memory stay open, for who acquires them soon.
func (inst *Instance) releaseStores(h worker.Handover, settled, inMemory bool) {
	if !settled {
		inst.opener.ReleaseStores(h)
		return
	}
	for name := range h.Engines {
		inst.stores.releaseSettled(name, h.ID.Partition, inMemory)
	}
}

// Standbys implements group.Handler.
func (m *taskManager) Standbys(wanted []group.Standby) {
	m.todo.Put(func() {
		m.wantedStandbys = map[graph.TaskID]group.Standby{}
		for _, w := range wanted {
			m.wantedStandbys[w.Task.ID] = w
		}
		m.startStandbys()
	})
}

// startStandbys starts the standbys that are wanted and ends those that are not. The stores of a task that is still
// here are in use: its standby begins when it is forgotten.
func (m *taskManager) startStandbys() {
	for id := range m.standbys {
		if _, ok := m.wantedStandbys[id]; !ok {
			m.endStandby(id, standby.Migrated)
		}
	}
	if m.inst.failing() || m.inst.stopping.Load() {
		return
	}
	for id, w := range m.wantedStandbys {
		if m.tasks[id] == nil {
			m.standbys[id] = true
			m.inst.standbys.Start(w)
		}
	}
}

// endStandby ends a standby, which may take long: its stores are being opened, or a function of the user is running.
func (m *taskManager) endStandby(id graph.TaskID, reason standby.Reason) {
	m.endingStandbys[id] = m.inst.standbys.Stop(id, reason)
	delete(m.standbys, id)
}

// promotionWait is how long the tasks of a batch wait for each other's standbys to end. They are opened together, since
// they share look-ups; but a standby may be in a function of the user, or in a call of a disk, for minutes.
const promotionWait = time.Second

// promote ends the standbys of tasks that are to run here. It returns those that have not ended, and still have the
// stores: their channels are closed when these are free.
//
// A standby that has ended before may have them still. What waited for it may have been given up:
//
//	a task is assigned, and waits for its standby -> it is lost -> it is assigned again, and finds its store in use
func (m *taskManager) promote(tasks []topics.Task) (ending map[graph.TaskID]<-chan struct{}) {
	ending = map[graph.TaskID]<-chan struct{}{}
	for _, t := range tasks {
		delete(m.wantedStandbys, t.ID)
		if m.standbys[t.ID] {
			m.endStandby(t.ID, standby.Promoted)
		}
		if ch := m.endingStandbys[t.ID]; ch != nil && !kafka.Closed(ch) {
			ending[t.ID] = ch
		} else {
			delete(m.endingStandbys, t.ID)
		}
	}
	return ending
}

// awaitStandbys waits until the stores of ending standbys are free, for promotionWait at most, and returns those whose
// stores are not.
func (m *taskManager) awaitStandbys(
	ctx context.Context, ending map[graph.TaskID]<-chan struct{},
) (late map[graph.TaskID]<-chan struct{}) {
	over := time.NewTimer(promotionWait)
	defer over.Stop()
	for _, ch := range ending {
		select {
		case <-ch:
		case <-m.inst.standbys.Done():
			return nil
		case <-ctx.Done():
			return nil
		case <-over.C:
			late = maps.Clone(ending)
			maps.DeleteFunc(late, func(_ graph.TaskID, ch <-chan struct{}) bool { return kafka.Closed(ch) })
			return late
		}
	}
	return nil
}
