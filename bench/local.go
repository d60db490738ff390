package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	memtable "github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/stream"
)

// runLocal runs the workloads that need no broker.
func (s spec) runLocal() (result, error) {
	switch s.Workload {
	case "chain":
		return s.runChain()
	case "store-uniform":
		return s.runStore(func() uint64 { return rand.Uint64N(uint64(s.Before)) })
	default:
		z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(s.Before)-1)
		return s.runStore(z.Uint64)
	}
}

// nowhere is a task's output that only counts.
type nowhere struct{ n int64 }

func (*nowhere) Partitions(string) (int, error) { return partitions, nil }
func (o *nowhere) Send(string, int32, kafka.ProduceRecord) error {
	o.n++
	return nil
}

// runChain sends batches through a task with five typed operators between a source and a sink.
func (s spec) runChain() (r result, err error) {
	b := stream.NewBuilder()
	in := stream.From(b, stream.NewTopic("in", serde.Int64, serde.Int64))
	x := stream.Filter(in, func(k, v int64) bool { return k >= 0 })
	x = stream.MapValues(x, func(v int64) int64 { return v + 1 })
	x = stream.SelectKey(x, func(k, v int64) int64 { return k ^ v })
	x = stream.MapRecords(x, func(r stream.Record[int64, int64]) stream.Record[int64, int64] { r.Value *= 2; return r })
	x = stream.Peek(x, func(stream.Record[int64, int64]) {})
	stream.To(x, stream.NewTopic("out", serde.Int64, serde.Int64))
	top, err := b.Build()
	if err != nil {
		return r, err
	}
	var out nowhere
	t, err := task.New(task.Config{Graph: top.Graph(), Out: &out})
	if err != nil {
		return r, err
	}
	batch := &kafka.Batch{TopicPartition: kafka.TopicPartition{Topic: "in"}, Next: 1000}
	for i := range 1000 {
		raw := appendKey(nil, int64(i))
		batch.Records = append(batch.Records, kafka.Record{Key: raw, Value: raw, Offset: int64(i), Time: int64(i)})
	}
	var w window
	for n := int64(0); n < s.Records; n += 1000 {
		if n == s.Records/4/1000*1000 {
			w.start(n)
		}
		if err := t.Add(batch); err != nil {
			return r, err
		}
		if _, err := t.Process(1000); err != nil {
			return r, err
		}
	}
	w.extend()
	if out.n < s.Records {
		return r, fmt.Errorf("%d of %d records came out", out.n, s.Records)
	}
	return w.result(out.n), nil
}

// runStore reads, changes and writes rows of 100 bytes, with a cut every 100 ms that settles at the next one, as in an App. The
// flushes that follow from that, and the last one, are in the figure. Each row counts how often it was written, which is verified.
func (s spec) runStore(pick func() uint64) (r result, err error) {
	path := filepath.Join(s.StateDir, s.Workload+".db")
	e, _, err := bolt.Open(bolt.Options{Path: path, Budget: memtable.NewBudget(0)})
	if err != nil {
		return r, err
	}
	defer os.Remove(path)
	c := &cutter{e: e}
	key, value := make([]byte, 16), make([]byte, valueSize)
	for i := range uint64(s.Before) {
		storeKey(key, i)
		if err := e.Put(key, value, 0); err != nil {
			return r, err
		}
		if i%10_000 == 0 {
			if err := c.cut(); err != nil {
				return r, err
			}
		}
	}
	if err := c.end(); err != nil {
		return r, err
	}
	written := make([]uint32, s.Before)
	var w window
	w.start(0)
	for n := range s.Records {
		k := pick()
		storeKey(key, k)
		v, ts, ok, err := e.Get(key)
		if err != nil || !ok {
			return r, fmt.Errorf("row %d is missing: %w", k, err)
		}
		copy(value, v)
		binary.BigEndian.PutUint64(value, binary.BigEndian.Uint64(value)+1)
		if err := e.Put(key, value, ts+1); err != nil {
			return r, err
		}
		written[k]++
		if n%256 == 0 && time.Since(c.at) > 100*time.Millisecond {
			if err := c.cut(); err != nil {
				return r, err
			}
		}
	}
	if err := c.end(); err != nil {
		return r, err
	}
	w.extend()
	for k, n := range written {
		storeKey(key, uint64(k))
		if v, _, ok, err := e.Get(key); err != nil || !ok || binary.BigEndian.Uint64(v) != uint64(n) {
			return r, fmt.Errorf("row %d is not as it was written (%v, %v)", k, ok, err)
		}
	}
	return w.result(s.Records), e.Close(true)
}

func storeKey(b []byte, n uint64) {
	binary.BigEndian.PutUint64(b, mix(n))
	binary.BigEndian.PutUint64(b[8:], n)
}

// cutter commits as a worker does.
type cutter struct {
	e       store.Engine
	at      time.Time
	changes int64
	last    uint64
}

// cut settles what was cut before, and cuts.
func (c *cutter) cut() (err error) {
	c.settle()
	c.last, err = c.e.Cut(func(store.Change) error { c.changes++; return nil })
	c.at = time.Now()
	return err
}

func (c *cutter) settle() {
	if c.last > 0 {
		c.e.Settle(c.last, store.Checkpoint{Offset: c.changes, Time: time.Now()})
		c.last = 0
	}
}

// end settles and flushes everything.
func (c *cutter) end() error {
	if err := c.cut(); err != nil {
		return err
	}
	c.settle()
	return c.e.Flush(true)
}
