package plan

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// Feed makes the store of a reference, or takes the one that an earlier step made to read it, as one that only the step of that name
// writes: from the topic that shape names, which is restored from in place of a changelog. It returns the store's name.
func (c *Compile) Feed(s *storespec.Spec, by string, shape graph.Store) (string, error) {
	if s != nil && s.Table != nil {
		return "", fmt.Errorf("store %q is a table's; make a reference with store.NewKeyValue or store.NewTimestamped", s.Name)
	}
	if s != nil && (s.Settings.NoChangelog || len(s.Settings.Config) > 0) {
		return "", fmt.Errorf("store %q is restored from topic %q and has no changelog: %s and %s do not apply", s.Name, shape.Topic, storespec.NoChangelog, storespec.TopicConfig)
	}
	if s != nil && s.Settings.Headers {
		return "", fmt.Errorf("store %q is kept from topic %q: %s does not apply", s.Name, shape.Topic, storespec.Headers)
	}
	name, err := c.Use(s)
	if err != nil {
		return "", err
	}
	st := c.FindStore(name)
	if st.Owner != "" {
		return "", fmt.Errorf("store %q is kept by the step at %s already", name, st.Pos)
	}
	if st.Kind != graph.Timestamped && st.Kind != graph.Plain {
		return "", fmt.Errorf("store %q is no key-value store", name)
	}
	st.Feed(by, shape)
	st.Pos = c.at.pos
	return name, nil
}

// FeedTable is Feed for the store that the current step has made for its table.
func (c *Compile) FeedTable(shape graph.Store) {
	if st := c.FindStore(c.at.Table.Store); st != nil {
		st.Feed(c.at.name, shape)
	}
}

// Earliest says what is wrong with a topic that is read in full at every start and begins elsewhere.
func (t Topic[K, V]) Earliest(what string) error {
	if k := t.Start.Kind; k == graph.StartLatest || k == graph.StartSince {
		return fmt.Errorf("topic %q has StartAt, but %s is all that its topic holds: it begins at the beginning", t.Name, what)
	}
	return nil
}

// Restorable says why a store cannot be restored from topic t.
func (t Topic[K, V]) Restorable() error {
	var err error
	if t.Extract != nil {
		err = fmt.Errorf("topic %q has a Timestamp function: rows restored from the topic would have other times than it gave them", t.Name)
	}
	return errors.Join(err, t.Earliest("what is restored from a topic"))
}

// Decoder returns the function that decodes records of t, without their headers.
func (t Topic[K, V]) Decoder() (func(*kafka.Record) (topology.Record[K, V], error), error) {
	key, value, err := bind(t.Key, t.Value, t.Name)
	return func(r *kafka.Record) (topology.Record[K, V], error) { return decode(key, value, r) }, err
}

// Rows makes the function that turns records of t into rows of a table's store, for graph.Store.Row. A row's bytes are those that the
// store's serdes write, which need not be those in the topic: a key that was found before would not be found again.
func Rows[K, V any](t Topic[K, V], name string, key serde.Serde[K], value serde.Serde[V]) func() (func(*kafka.Record) (store.Change, bool, error), error) {
	return func() (func(*kafka.Record) (store.Change, bool, error), error) {
		x := &rows[K, V]{}
		var errs [3]error
		x.decode, errs[0] = t.Decoder()
		x.key, errs[1] = rowserde.New(key, name, true)
		x.value, errs[2] = rowserde.New(value, name, false)
		return x.row, errors.Join(errs[:]...)
	}
}

type rows[K, V any] struct {
	decode func(*kafka.Record) (topology.Record[K, V], error)
	key    *rowserde.Side[K]
	value  *rowserde.Side[V]
}

func (x *rows[K, V]) row(r *kafka.Record) (c store.Change, ok bool, err error) {
	if r.Key == nil || r.Time < 0 {
		return c, false, nil
	}
	d, err := x.decode(r)
	if err != nil {
		return c, false, err
	}
	c.Time = r.Time
	if c.Key, err = x.key.Fresh(d.Key); err != nil {
		return c, false, fmt.Errorf("key: %w", err)
	}
	if !d.Tombstone {
		if c.Value, err = x.value.Fresh(d.Value); err != nil {
			return c, false, fmt.Errorf("value: %w", err)
		}
	}
	return c, len(c.Key) <= store.MaxKey && len(c.Value) <= store.MaxValue, nil
}
