package instance

import (
	"context"
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/global"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/storage"
)

// globalStores are the global stores of a run and the followers that write them. Read-only once
// made.
type globalStores struct {
	followers  []*global.Follower
	byName     map[string]*global.SharedStore
	stopping   chan struct{} // closed when the run stops
	restorable func(store string, partition int32) bool
}

// openGlobals opens the global stores and makes their followers.
func (inst *Instance) openGlobals(deployment *topics.Deployment) (*globalStores, error) {
	g := &globalStores{byName: map[string]*global.SharedStore{}, stopping: make(chan struct{}),
		restorable: inst.stores.mayRestore}
	for _, sub := range inst.graph.Subtopologies {
		if !sub.Global {
			continue
		}
		f, err := global.New(inst.globalConfig(sub, deployment))
		if err != nil {
			return nil, err
		}
		g.followers = append(g.followers, f)
		for _, st := range sub.Stores {
			g.byName[st.Name] = f.Store(st.Name)
		}
	}
	return g, nil
}

func (inst *Instance) globalConfig(sub *graph.Subtopology, deployment *topics.Deployment) global.Config {
	return global.Config{
		Sub: sub, Topic: deployment.Topics[sub.Stores[0].SourceTopic], Task: inst.taskConfig(),
		Admin: inst.admin, Fetcher: inst.globalFetcher, Partitions: inst.partitionCounts.Count,
		Acquire: func(st *graph.Store, memoryWanted func()) (storage.Engine, error) {
			return inst.stores.acquire(st, 0, memoryWanted) // a global store is one partition on disk, whatever its topic has
		},
		Release:    func(name string) { inst.stores.release(name, 0) },
		Restorable: inst.stores.mayRestore,
		Progress:   inst.onRestoreProgress,
		Processed:  func(n int) { inst.cfg.Counters.recordsIn.Add(int64(n)) },
		Fail:       inst.Fail, Logger: inst.cfg.Logger, Hook: inst.hook,
	}
}

// awaitReady waits until every global store has reached the end that its topic had at the start. It
// returns false when the run ends before.
func (g *globalStores) awaitReady(ctx context.Context) bool {
	for _, f := range g.followers {
		select {
		case <-f.Ready():
		case <-g.stopping:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// stop stops the followers, which settles their stores and returns them, and waits for all but
// those whose step does not return.
func (g *globalStores) stop(ctx context.Context, stuck func(*global.Follower) bool) {
	for _, f := range g.followers {
		f.Stop()
	}
	for _, f := range g.followers {
		if stuck(f) {
			continue
		}
		select {
		case <-f.Done():
		case <-ctx.Done():
		}
	}
}

// open opens a global store for a task.
func (g *globalStores) open(st *graph.Store) (storage.Bytes, error) {
	if shared := g.byName[st.Name]; shared != nil {
		return shared.View(), nil
	}
	return nil, errors.New("no step fills it")
}

// distrust declares the file of a global store damaged, some of whose rows do not decode. It
// reports whether a restore could bring them back.
func (g *globalStores) distrust(name string, err error) bool {
	shared := g.byName[name]
	return shared != nil && g.restorable(name, 0) && shared.Distrust(err)
}
