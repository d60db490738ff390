package operator

import (
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/buffer"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/topology"
)

// GraceBuffer delays the records of a stream before they are joined with the rows of a table, so
// that rows that arrive late are seen. Owned by the task's goroutine.
type GraceBuffer[K, V any] struct {
	Name string
	// Wait is the delay in milliseconds of stream time. Time is the greatest time of the records
	// that were delayed, -1 before the first.
	Wait  int64
	Time  *int64
	Queue *buffer.Queue
	Key   *codec.Codec[K]
	Value *codec.Codec[V]
	Try   retry.Func // decides about records that the store rejects
	// Join gets each record after its delay, or at once if it is not delayed.
	Join func(topology.Record[K, V]) error

	joinDue func(key []byte, v *buffer.Value) error // allocated once
}

// Record buffers a record and then joins those that are due. A record that is later than the delay,
// or that has no key or no value, is joined at once and makes none due.
func (g *GraceBuffer[K, V]) Record(record topology.Record[K, V]) error {
	t := record.Time.UnixMilli()
	if record.NoKey || record.Tombstone || t < *g.Time-g.Wait {
		return g.Join(record)
	}
	if err := g.put(record, t); err != nil {
		return err
	}
	if g.joinDue == nil {
		g.joinDue = g.join
	}
	*g.Time = max(*g.Time, t)
	return g.Queue.ReleaseUntil(*g.Time-g.Wait, g.joinDue)
}

func (g *GraceBuffer[K, V]) put(record topology.Record[K, V], t int64) error {
	key, err := g.Key.Encode(record.Key)
	if err != nil {
		return err
	}
	value, err := g.Value.Encode(record.Value)
	if err != nil {
		return err
	}
	v := buffer.Value{New: value, Time: t, Source: record.Source(), Headers: record.Headers}
	if err := g.Queue.Put(key, v); err != nil {
		return g.putAgain(key, v, err)
	}
	return nil
}

func (g *GraceBuffer[K, V]) putAgain(key []byte, v buffer.Value, err error) error {
	return onBufferError(g.Try, err, func() error { return g.Queue.Put(key, v) })
}

// join joins a record from the buffer, with the time, headers and source it came with.
func (g *GraceBuffer[K, V]) join(key []byte, buffered *buffer.Value) error {
	k, err := g.Key.Decode(key)
	if err != nil {
		return keyError(g.Name, key, "decode the key", err)
	}
	r := topology.Record[K, V]{Key: k, Time: time.UnixMilli(buffered.Time), Headers: buffer.CopyHeaders(buffered.Headers)}
	if r.Value, err = g.Value.Decode(buffered.New); err != nil {
		return keyError(g.Name, key, "decode the value", err)
	}
	return g.Join(r.From(buffered.Source))
}
