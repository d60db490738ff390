package stream

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/timerange"
	"github.com/millstream-go/millstream/store"
)

// ReadOnlyStore fills the store of a reference from topic t, partition by partition: each record is
// the new value of its key's row, and a tombstone deletes the row. Processors that list the
// reference in what they use can read the store, but not write it. Their input must be partitioned
// like t; Build and the start check that as far as counts and partitioners show it. The topic
// itself is the changelog (KIP-813), so its cleanup policy must be compact and nothing else; the
// start checks that too.
//
//	limits := store.NewKeyValue("limits", serde.String, serde.Int64)
//	stream.ReadOnlyStore(b, limitsTopic, limits)
//
// Records without a key are dropped and counted.
func ReadOnlyStore[K, V any](b *Builder, topic Topic[K, V], ref store.KeyValueRef[K, V]) Step {
	return readOnlyStore(b, topic, ref, "stream.ReadOnlyStore", func(v V, _ time.Time) V { return v })
}

// ReadOnlyTimestamped is ReadOnlyStore for references made with store.NewTimestamped. The rows have
// the times of their records.
func ReadOnlyTimestamped[K, V any](b *Builder, topic Topic[K, V], ref store.KeyValueRef[K, store.Timestamped[V]]) Step {
	return readOnlyStore(b, topic, ref, "stream.ReadOnlyTimestamped", func(v V, at time.Time) store.Timestamped[V] {
		return store.Timestamped[V]{Value: v, Time: at}
	})
}

func readOnlyStore[K, V, R any](
	b *Builder, topic Topic[K, V], ref store.KeyValueRef[K, R], opname string, row func(V, time.Time) R,
) Step {
	node := plan.New[K, V]((*plan.Program)(b).Builder(), opname, "read-only-store")
	if node == nil {
		return Step{}
	}
	if ref.StoreSpec() == nil {
		node.Errorf("the reference to its store is zero; make it with store.NewKeyValue or store.NewTimestamped")
		return Step(plan.NewStep(node))
	}
	name := ref.DependencyName()
	node.FixName(name)
	node.CanFail = true
	node.AddToGraph = func(compiler *plan.Compiler) error {
		// A restore reads the whole topic again and must make the same rows. It could not if the topic had
		// a Timestamp function, or if processing had started behind the topic's oldest record.
		if err := errors.Join(planTopic(topic).Check(), planTopic(topic).CheckRestorable()); err != nil {
			return err
		}
		// The source is output 1 of the call: no handle refers to it, so nothing else reads from it.
		in := plan.Out{Node: node, Port: 1}
		topics := []plan.Topic[K, V]{planTopic(topic)}
		if err := plan.SourceAs(compiler, in.Port, name+"-source", plan.AsStore, topics, ""); err != nil {
			return err
		}
		shape := graph.Store{SourceTopic: planTopic(topic).Name, RowDecoder: rowDecoder(planTopic(topic), ref, row)}
		if _, err := compiler.BindTopicStore(ref.StoreSpec(), name, shape); err != nil {
			return err
		}
		return compiler.AddNode(name,
			&graph.Node{Stores: []string{name}, Wire: func(node *graph.Node, env graph.Env, _ []any) (any, error) {
				rows := ref.In(taskStores{env})
				return rowInlet(wire.NewSite(node, env), rows, row), nil
			}}, in)
	}
	return Step(plan.NewStep(node))
}

// taskStores opens the stores of a task.
type taskStores struct{ env graph.Env }

// OpenStore implements store.Opener.
func (o taskStores) OpenStore(name string) (storage.Handle, error) { return o.env.Store(name) }

// rowInlet makes the inlet that writes each record into a store.
func rowInlet[K, V, R any](site wire.Site, rows store.KeyValue[K, R], row func(V, time.Time) R) wire.Outlet[K, V] {
	return retryInlet(site, func(r Record[K, V]) error {
		site.Resume() // serdes are the user's code
		if r.NoKey {
			site.Drop(graph.NoKey)
			return nil
		}
		return writeRow(rows, r.Key, r.Tombstone, func() R { return row(r.Value, r.Time) })
	})
}

func writeRow[K, R any](rows store.KeyValue[K, R], k K, tombstone bool, row func() R) error {
	if tombstone {
		return rows.Delete(k)
	}
	return rows.Put(k, row())
}

// rowDecoder makes the function that turns a record of the topic into a change of the store, for
// restores. The change must have the bytes that rowInlet would write, so it is made by writing the
// row to a captureStore.
func rowDecoder[K, V, R any](
	topic plan.Topic[K, V], ref store.KeyValueRef[K, R], row func(V, time.Time) R,
) func() (func(*kafka.Record) (storage.Change, bool, error), error) {
	return func() (func(*kafka.Record) (storage.Change, bool, error), error) {
		decode, err := topic.Decoder()
		capture := &captureStore{plain: ref.StoreSpec().Plain}
		rows := ref.In(capture)
		return func(encoded *kafka.Record) (storage.Change, bool, error) {
			record, err := decode(encoded)
			// The task checks the time of each record that it processes, and a restore has no task.
			if err == nil {
				err = timerange.Check(record.Time)
			}
			// A record without a key is no row. rowInlet has counted it when it was processed.
			if err != nil || record.NoKey {
				return storage.Change{}, false, err
			}
			capture.time, capture.change = encoded.Time, storage.Change{}
			// RowError marks a failure to encode the row, not the record: the runtime asks the policy for
			// records that cannot be stored, as it did when the record was processed.
			err = writeRow(rows, record.Key, record.Tombstone, func() R { return row(record.Value, record.Time) })
			if err != nil {
				return storage.Change{}, false, &retry.RowError{Err: err}
			}
			return capture.change, true, nil
		}, err
	}
}

// captureStore is a store that only remembers the bytes of the last write.
type captureStore struct {
	storage.Bytes
	plain  bool
	time   int64
	change storage.Change
}

// OpenStore implements store.Opener.
func (w *captureStore) OpenStore(string) (storage.Handle, error) {
	return storage.Handle{Bytes: w, Time: func() int64 { return w.time }, Plain: w.plain}, nil
}

// Put implements storage.Bytes.
func (w *captureStore) Put(key, value []byte, at int64) error {
	if len(value) > store.MaxValue {
		return store.ErrValueTooLarge
	}
	w.change.Value = append([]byte{}, value...)
	return w.setKey(key, at)
}

// Delete implements storage.Bytes.
func (w *captureStore) Delete(key []byte, at int64) error { return w.setKey(key, at) }

func (w *captureStore) setKey(key []byte, at int64) error {
	if len(key) > store.MaxKey {
		return fmt.Errorf("%w", store.ErrKeyTooLong)
	}
	w.change.Key, w.change.Time = bytes.Clone(key), at
	if w.change.Key == nil {
		w.change.Key = []byte{}
	}
	return nil
}
