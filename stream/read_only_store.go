package stream

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
)

// ReadOnlyStore keeps the store of a reference from topic t, partition by partition: each record is the new value of its key's row, and a
// tombstone deletes it. Processors that list the reference in what they use read it, and cannot write it; what they process must be
// partitioned as t is, which is checked as far as counts go. The topic itself is the changelog (KIP-813), so it must be compacted and
// nothing else; that is checked at the start, too.
//
//	limits := store.NewKeyValue("limits", serde.String, serde.Int64)
//	stream.ReadOnlyStore(b, limitsTopic, limits)
//
// Records without a key are dropped and counted.
func ReadOnlyStore[K, V any](b *Builder, t Topic[K, V], ref store.KeyValueRef[K, V]) Step {
	return readOnlyStore(b, t, ref, "stream.ReadOnlyStore", func(v V, _ time.Time) V { return v })
}

// ReadOnlyTimestamped is ReadOnlyStore for references made with store.NewTimestamped: rows have the times of their records.
func ReadOnlyTimestamped[K, V any](b *Builder, t Topic[K, V], ref store.KeyValueRef[K, store.Stamped[V]]) Step {
	return readOnlyStore(b, t, ref, "stream.ReadOnlyTimestamped", func(v V, at time.Time) store.Stamped[V] {
		return store.Stamped[V]{Value: v, Time: at}
	})
}

func readOnlyStore[K, V, R any](b *Builder, t Topic[K, V], ref store.KeyValueRef[K, R], opname string, row func(V, time.Time) R) Step {
	n := plan.New[K, V](b.Plan(), opname, "read-only-store")
	if n == nil {
		return Step{}
	}
	if ref.Spec() == nil {
		n.Errorf("the reference to its store is zero; make it with store.NewKeyValue or store.NewTimestamped")
		return Step(plan.NewStep(n))
	}
	name := ref.Dep()
	n.GiveName(name)
	n.CanFail = true
	n.Emit = func(c *plan.Compile) error {
		if err := errors.Join(t.t.Check(), t.t.Restorable()); err != nil {
			return err
		}
		in := plan.Out{Node: n, Port: 1}
		if err := plan.SourceAs(c, in.Port, name+"-source", plan.AsStore, []plan.Topic[K, V]{t.t}, ""); err != nil {
			return err
		}
		shape := graph.Store{Topic: t.t.Name, Row: restored(t.t, ref, row)}
		if _, err := c.Feed(ref.Spec(), name, shape); err != nil {
			return err
		}
		return c.Add(name, &graph.Node{Stores: []string{name}, Wire: func(n *graph.Node, env graph.Env, _ []any) (any, error) {
			s := ref.In(opener{env})
			return keepRow(newSite(n, env), s, row), nil
		}}, in)
	}
	return Step(plan.NewStep(n))
}

// opener opens stores of a task as its own steps see them.
type opener struct{ env graph.Env }

// OpenStore implements store.Opener.
func (o opener) OpenStore(name string) (store.Handle, error) { return o.env.Store(name) }

// keepRow is the inlet that writes each record into a store.
func keepRow[K, V, R any](at site, s store.KeyValue[K, R], row func(V, time.Time) R) wire.Outlet[K, V] {
	return func(r Record[K, V]) error {
		if r.NoKey {
			at.drop(graph.NoKey)
			return nil
		}
		for attempt := 1; ; attempt++ {
			at.enter() // serdes are the user's code
			err := put(s, r.Key, r.Tombstone, func() R { return row(r.Value, r.Time) })
			if err == nil {
				return nil
			}
			if again, err := at.failed(attempt, err); !again {
				return err
			}
		}
	}
}

func put[K, R any](s store.KeyValue[K, R], k K, gone bool, row func() R) error {
	if gone {
		return s.Delete(k)
	}
	return s.Put(k, row())
}

// restored makes the function that says what a record of the topic does to the store: what keepRow would write.
func restored[K, V, R any](t plan.Topic[K, V], ref store.KeyValueRef[K, R], row func(V, time.Time) R) func() (func(*kafka.Record) (store.Change, bool, error), error) {
	return func() (func(*kafka.Record) (store.Change, bool, error), error) {
		decode, err := t.Decoder()
		w := &written{plain: ref.Spec().Plain}
		s := ref.In(w)
		return func(r *kafka.Record) (store.Change, bool, error) {
			if r.Key == nil || r.Time < 0 {
				return store.Change{}, false, nil
			}
			x, err := decode(r)
			if err != nil {
				return store.Change{}, false, err
			}
			w.at, w.c = r.Time, store.Change{}
			err = put(s, x.Key, x.Tombstone, func() R { return row(x.Value, x.Time) })
			return w.c, err == nil, err
		}, err
	}
}

// written is a store that keeps what was written last, as bytes.
type written struct {
	store.Bytes
	plain bool
	at    int64
	c     store.Change
}

// OpenStore implements store.Opener.
func (w *written) OpenStore(string) (store.Handle, error) {
	return store.Handle{Bytes: w, Time: func() int64 { return w.at }, Plain: w.plain}, nil
}

// Put implements store.Bytes.
func (w *written) Put(key, value []byte, at int64) error {
	if len(value) > store.MaxValue {
		return store.ErrValueTooLarge
	}
	w.c.Value = append([]byte{}, value...)
	return w.key(key, at)
}

// Delete implements store.Bytes.
func (w *written) Delete(key []byte, at int64) error { return w.key(key, at) }

func (w *written) key(key []byte, at int64) error {
	if len(key) > store.MaxKey {
		return fmt.Errorf("%w", store.ErrKeyTooLong)
	}
	w.c.Key, w.c.Time = bytes.Clone(key), at
	if w.c.Key == nil {
		w.c.Key = []byte{}
	}
	return nil
}
