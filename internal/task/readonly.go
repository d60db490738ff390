package task

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
)

// guarded lets the step whose code runs write the store only if it may.
func (t *Task) guarded(h store.Handle, s *graph.Store) store.Handle {
	if s.Owner != "" && h.Bytes != nil && (t.place.Node == nil || t.place.Node.Name != s.Owner) {
		keeper, ok := h.Bytes.(store.HeaderKeeper)
		h.Bytes = readOnly{h.Bytes, s}
		if ok {
			h.Bytes = readOnlyHeaded{h.Bytes, keeper}
		}
	}
	return h
}

// global opens a store that is no task's own.
func (t *Task) global(name string) (store.Handle, error) {
	s := t.cfg.Graph.Store(name)
	if s == nil || !s.Global || t.cfg.Global == nil {
		return store.Handle{}, fmt.Errorf("task %s has no store %q: %s", t.cfg.ID, name, t.storeNames())
	}
	b, err := t.cfg.Global(s)
	if err != nil {
		return store.Handle{}, fmt.Errorf("task %s: global store %q: %w", t.cfg.ID, name, err)
	}
	return store.Handle{Bytes: readOnly{b, s}, Time: t.RecordTime, Plain: s.Kind == graph.Plain}, nil
}

// readOnlyHeaded is readOnly for stores that keep headers.
type readOnlyHeaded struct {
	store.Bytes
	store.HeaderKeeper
}

// readOnly is a store as steps see it that do not keep it: what they wrote would be gone after a restore.
type readOnly struct {
	store.Bytes
	of *graph.Store
}

func (r readOnly) Put([]byte, []byte, int64) error { return r.refuse() }
func (r readOnly) Delete([]byte, int64) error      { return r.refuse() }

func (r readOnly) refuse() error {
	return fmt.Errorf("store %q is kept from topic %q by %q and can only be read here; write to the topic", r.of.Name, r.of.Topic, r.of.Owner)
}
