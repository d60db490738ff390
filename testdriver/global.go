package testdriver

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

// startGlobals starts the tasks of global sub-topologies, and has them apply what their topics hold: all of it, as an instance without a
// disk does.
func (d *Driver) startGlobals() error {
	for _, s := range d.g.Subs {
		if !s.Global {
			continue
		}
		cfg := d.taskConfig(graph.TaskID{Sub: s.ID})
		cfg.MaxIdle = -1 // its partitions do not wait for each other
		cfg.Engine = func(s *graph.Store) (store.Engine, error) {
			e := memory.New(d.budget)
			d.stores[s.Name] = []store.Engine{e}
			return e, nil
		}
		x, err := d.begin(cfg, map[kafka.TopicPartition]kafka.OffsetMeta{})
		if err != nil {
			return err
		}
		d.globals = append(d.globals, x)
		for _, tp := range x.Partitions() {
			d.replay(tp, 0)
		}
	}
	if err := d.deliver(); err != nil {
		return err
	}
	return d.settleGlobals()
}

// apply has a global task process what it was given: global stores follow their topics at once.
func (d *Driver) apply(x *task.Task) error {
	if !d.g.Subs[x.ID().Sub].Global {
		return nil
	}
	for {
		if n, err := x.Process(1000); n == 0 || err != nil {
			return err
		}
	}
}

// settleGlobals ends the epochs of global stores. Nothing of them is committed: the topic has it all.
func (d *Driver) settleGlobals() error {
	for _, x := range d.globals {
		for _, e := range x.Engines() {
			epoch, err := e.Cut(func(store.Change) error { return nil })
			if err != nil {
				return fmt.Errorf("store %q: %w", e.Store.Name, err)
			}
			e.Settle(epoch, store.Checkpoint{Time: d.now})
		}
	}
	return nil
}

// sourceRows returns what the records of a store's topic that were committed do to the store. Those that are no rows were dropped or
// skipped when they were processed.
func (d *Driver) sourceRows(s *graph.Store, p int32) (changes []store.Change, err error) {
	row, err := s.Row()
	if err != nil {
		return nil, err
	}
	l := d.log(s.Topic)
	if int(p) >= len(l.partitions) {
		return nil, nil
	}
	for _, r := range l.partitions[p][:d.committed[kafka.TopicPartition{Topic: s.Topic, Partition: p}].Offset] {
		if c, ok, err := row(&r.Record); ok && err == nil {
			changes = append(changes, c)
		}
	}
	return changes, nil
}
