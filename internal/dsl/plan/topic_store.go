package plan

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/timerange"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// BindTopicStore makes the store of a reference one that is restored from a topic in place of a
// changelog, and that only the step named writer writes. shape names the topic. A store that an
// earlier step made to read it is bound, too. The result is the store's name.
func (c *Compiler) BindTopicStore(ref *spec.Store, writer string, shape graph.Store) (string, error) {
	// A table's store is written by the table itself.
	if ref != nil && ref.Table != nil {
		return "", fmt.Errorf(
			"store %q is a table's; make a reference with store.NewKeyValue or store.NewTimestamped", ref.Name,
		)
	}
	if ref != nil && (ref.Settings.NoChangelog || len(ref.Settings.Config) > 0) {
		return "", fmt.Errorf("store %q is restored from topic %q and has no changelog: %s and %s do not apply", ref.Name,
			shape.SourceTopic, spec.OptionNoChangelog, spec.OptionTopicConfig)
	}
	if ref != nil && ref.Settings.Headers {
		return "", fmt.Errorf(
			"store %q is filled from topic %q: %s does not apply", ref.Name, shape.SourceTopic, spec.OptionKeepHeaders,
		)
	}
	name, err := c.UseStore(ref)
	if err != nil {
		return "", err
	}
	st := c.FindStore(name)
	// One step writes the store: its rows follow from one topic.
	if st.Writer != "" {
		return "", fmt.Errorf("store %q already belongs to the step at %s", name, st.Pos)
	}
	if st.Kind != graph.Timestamped && st.Kind != graph.Plain {
		return "", fmt.Errorf("store %q is not a key-value store", name)
	}
	st.RestoreFrom(writer, shape)
	st.Pos = c.current.pos
	return name, nil
}

// BindTopicTable is BindTopicStore for the store of the current step's table.
func (c *Compiler) BindTopicTable(shape graph.Store) {
	if st := c.FindStore(c.current.Table.Store); st != nil {
		st.RestoreFrom(c.current.name, shape)
	}
}

// CheckEarliest fails if a topic that is read in full at every start has another StartAt.
func (t Topic[K, V]) CheckEarliest(what string) error {
	if k := t.Start.Kind; k == graph.StartLatest || k == graph.StartSince {
		return fmt.Errorf(
			"topic %q has StartAt, but %s has all records of its topic: leave StartAt out", t.Name, what,
		)
	}
	return nil
}

// CheckRestorable returns why a store cannot be restored from t.
func (t Topic[K, V]) CheckRestorable() error {
	var err error
	if t.ExtractTime != nil {
		err = fmt.Errorf(
			"topic %q has a Timestamp function: rows restored from the topic would not have its times", t.Name,
		)
	}
	return errors.Join(err, t.CheckEarliest("a store restored from a topic"))
}

// Decoder returns the function that decodes records of t, without their headers.
func (t Topic[K, V]) Decoder() (func(*kafka.Record) (topology.Record[K, V], error), error) {
	key, value, err := bindSerdes(t.Key, t.Value, t.Name)
	return func(r *kafka.Record) (topology.Record[K, V], error) { return decodeRecord(key, value, r) }, err
}

// RowDecoder makes the function that turns records of topic into rows of a table's store, for
// graph.Store.RowDecoder. It encodes keys and values again: the store's serdes may write other
// bytes than those in the topic, and a key that was found before must be found after a restore.
func RowDecoder[K, V any](
	topic Topic[K, V], name string, key serde.Serde[K], value serde.Serde[V],
) func() (func(*kafka.Record) (storage.Change, bool, error), error) {
	return func() (func(*kafka.Record) (storage.Change, bool, error), error) {
		rowDec := &rowDecoder[K, V]{}
		var errs [3]error
		rowDec.decode, errs[0] = topic.Decoder()
		rowDec.key, errs[1] = codec.New(key, name, true, nil)
		rowDec.value, errs[2] = codec.New(value, name, false, nil)
		return rowDec.decodeRow, errors.Join(errs[:]...)
	}
}

type rowDecoder[K, V any] struct {
	decode func(*kafka.Record) (topology.Record[K, V], error)
	key    *codec.Codec[K]
	value  *codec.Codec[V]
}

func (rd *rowDecoder[K, V]) decodeRow(r *kafka.Record) (change storage.Change, ok bool, err error) {
	record, err := rd.decode(r)
	if err == nil {
		err = timerange.Check(record.Time)
	}
	if err != nil || record.NoKey {
		return change, false, err
	}
	change.Time = r.Time
	if change.Key, err = rd.key.EncodeNew(record.Key); err != nil {
		return change, false, &retry.RowError{Err: fmt.Errorf("key: %w", err)}
	}
	if !record.Tombstone {
		if change.Value, err = rd.value.EncodeNew(record.Value); err != nil {
			return change, false, &retry.RowError{Err: fmt.Errorf("value: %w", err)}
		}
	}
	return change, len(change.Key) <= storage.MaxKey && len(change.Value) <= storage.MaxValue, nil
}
