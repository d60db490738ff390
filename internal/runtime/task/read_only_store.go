package task

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
)

// restrictWrites makes a store read-only unless the current step is its writer.
func (t *Task) restrictWrites(handle storage.Handle, graphStore *graph.Store) storage.Handle {
	isWriter := t.currentStep.Node != nil && t.currentStep.Node.Name == graphStore.Writer
	if graphStore.Writer != "" && handle.Bytes != nil && !isWriter {
		headers, ok := handle.Bytes.(storage.HeaderStore)
		handle.Bytes = readOnly{handle.Bytes, graphStore}
		if ok {
			handle.Bytes = readOnlyHeaders{handle.Bytes, headers}
		}
	}
	return handle
}

// openGlobal opens a global store for reading. The error for other names lists the task's stores.
func (t *Task) openGlobal(name string) (storage.Handle, error) {
	graphStore := t.cfg.Graph.Store(name)
	if graphStore == nil || !graphStore.Global || t.cfg.OpenGlobal == nil {
		return storage.Handle{}, fmt.Errorf("task %s has no store %q: %s", t.cfg.ID, name, t.storeNames())
	}
	bytes, err := t.cfg.OpenGlobal(graphStore)
	if err != nil {
		return storage.Handle{}, fmt.Errorf("task %s: global store %q: %w", t.cfg.ID, name, err)
	}
	return storage.Handle{
		Bytes: readOnly{bytes, graphStore}, Time: t.RecordTime, Plain: graphStore.Kind == graph.Plain,
	}, nil
}

// readOnlyHeaders is readOnly for a store with headers.
type readOnlyHeaders struct {
	storage.Bytes
	storage.HeaderStore
}

// readOnly is a store that is restored from a topic, as steps other than its writer see it. A row
// that they wrote would be missing after a restore.
type readOnly struct {
	storage.Bytes
	graphStore *graph.Store
}

func (r readOnly) Put([]byte, []byte, int64) error { return r.refuse() }
func (r readOnly) Delete([]byte, int64) error      { return r.refuse() }

func (r readOnly) refuse() error {
	return fmt.Errorf("store %q is filled from topic %q by %q and can only be read here; write to the topic",
		r.graphStore.Name, r.graphStore.SourceTopic, r.graphStore.Writer)
}
