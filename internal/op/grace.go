package op

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/buffer"
	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/topology"
)

// Grace has the records of a stream wait before they are joined with the rows of a table, so that rows that come late are there. Owned by
// the task's goroutine.
type Grace[K, V any] struct {
	Name string
	// Wait is how long, in milliseconds of stream time. Time is that of the records that have waited or wait, -1 before the first.
	Wait  int64
	Time  *int64
	Queue *buffer.Queue
	Key   *rowserde.Side[K]
	Value *rowserde.Side[V]
	// Join takes a record that has waited, or is not to wait.
	Join func(topology.Record[K, V]) error

	due func(key []byte, v *buffer.Value) error // made once
}

// Record takes a record, and then joins those that are due. Records that come too late to wait, and those that have no key or no value, are
// joined at once and release none.
func (g *Grace[K, V]) Record(r topology.Record[K, V]) error {
	t := r.Time.UnixMilli()
	if r.NoKey || r.Tombstone || t < *g.Time-g.Wait {
		return g.Join(r)
	}
	if err := g.put(r, t); err != nil {
		return err
	}
	if g.due == nil {
		g.due = g.join
	}
	*g.Time = max(*g.Time, t)
	return g.Queue.Until(*g.Time-g.Wait, g.due)
}

func (g *Grace[K, V]) put(r topology.Record[K, V], t int64) error {
	key, err := g.Key.Encode(r.Key)
	if err != nil {
		return &RecordError{fmt.Errorf("store %q: encode the key: %w", g.Name, err)}
	}
	value, err := g.Value.Encode(r.Value)
	if err != nil {
		return &RecordError{fmt.Errorf("store %q, key %q: encode the value: %w", g.Name, key, err)}
	}
	err = g.Queue.Put(key, buffer.Value{New: value, Time: t, Source: r.Source(), Headers: r.Headers})
	if p := (*buffer.PutError)(nil); errors.As(err, &p) {
		return &RecordError{p.Err}
	}
	return err
}

// join joins a record that has waited: as it was when it came.
func (g *Grace[K, V]) join(key []byte, v *buffer.Value) error {
	k, err := g.Key.Decode(key)
	if err != nil {
		return fmt.Errorf("store %q, key %q: decode the key: %w", g.Name, key, err)
	}
	r := topology.Record[K, V]{Key: k, Time: time.UnixMilli(v.Time), Headers: buffer.CopyHeaders(v.Headers)}
	if r.Value, err = g.Value.Decode(v.New); err != nil {
		return fmt.Errorf("store %q, key %q: decode the value: %w", g.Name, key, err)
	}
	return g.Join(r.From(v.Source))
}
