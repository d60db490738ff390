package testdriver

import (
	"context"
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// startGlobals starts the tasks of global sub-topologies, which first apply everything in their
// topics, like an instance without a state directory.
func (d *Driver) startGlobals() error {
	for _, s := range d.graph.Subtopologies {
		if !s.Global {
			continue
		}
		cfg := d.taskConfig(graph.TaskID{Subtopology: s.ID})
		cfg.MaxIdle = -1 // its partitions do not wait for each other
		cfg.OpenEngine = func(s *graph.Store) (storage.Engine, error) {
			e := memtable.New(d.budget)
			d.stores[s.Name] = []storage.Engine{e}
			return e, nil
		}
		started, err := d.createTask(cfg, map[kafka.TopicPartition]kafka.OffsetMeta{})
		if err != nil {
			return err
		}
		d.globals = append(d.globals, started)
		for _, tp := range started.Partitions() {
			d.replay(tp, 0)
		}
	}
	if err := d.deliver(); err != nil {
		return err
	}
	return d.settleGlobals()
}

// applyGlobal makes a global task process its records at once, since global stores follow their
// topics without regard to other records.
func (d *Driver) applyGlobal(global *task.Task) error {
	if !d.graph.Subtopologies[global.ID().Subtopology].Global {
		return nil
	}
	for {
		if n, err := global.Process(1000); n == 0 || err != nil {
			return err
		}
	}
}

// settleGlobals ends the epochs of global stores. Nothing is committed for them: their topics have
// everything.
func (d *Driver) settleGlobals() error {
	for _, global := range d.globals {
		for _, engine := range global.Engines() {
			epoch, err := engine.Cut(func(storage.Change) error { return nil })
			if err != nil {
				return fmt.Errorf("store %q: %w", engine.Store.Name, err)
			}
			engine.Settle(epoch, storage.Checkpoint{Time: d.now})
		}
	}
	return nil
}

// sourceRows returns the changes of a store that the committed records of its topic make. Records
// that are no rows were dropped or skipped when they were processed.
func (d *Driver) sourceRows(def *graph.Store, p int32) (changes []storage.Change, err error) {
	row, err := task.NewRowDecoder(context.Background(), d.graph, def, d.policies(), noSleep)
	if err != nil {
		return nil, err
	}
	topicLog := d.log(def.SourceTopic)
	if int(p) >= len(topicLog.partitions) {
		return nil, nil
	}
	committed := d.committed[kafka.TopicPartition{Topic: def.SourceTopic, Partition: p}].Offset
	// Only up to the committed offset: later records are input of the task, which stores their rows
	// itself. Restored as well, a row would be its own old value.
	for _, r := range topicLog.partitions[p][:committed] {
		change, ok, err := row(&r.Record)
		if err != nil {
			return nil, fmt.Errorf("topic %s[%d] offset %d: %w", def.SourceTopic, p, r.Offset, err)
		}
		if ok {
			changes = append(changes, change)
		}
	}
	return changes, nil
}
