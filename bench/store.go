package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/millstream-go/millstream/internal/storage"
)

// The store of one partition without Kafka, in four phases: rows are loaded in no order, read, and read, changed and written, uniformly
// and by a zipf distribution. What was written is committed every 100 ms, as in an App.

var storePhases = []string{"store-load", "store-get", "store-uniform", "store-zipf"}

// rowStorer is a store as its workloads use it.
type rowStorer interface {
	// Get returns the value of a row until the next call.
	Get(key []byte) (value []byte, ok bool, err error)
	Put(key, value []byte) error
	// Commit ends a transaction. What it contains need not be on disk: an App restores it from Kafka.
	Commit() error
	// Flush writes to disk what was committed.
	Flush() error
	// Scan calls f with all rows that were flushed.
	Scan(f func(key, value []byte) error) error
	Close() error
}

// engine is a way to store rows.
type engine struct {
	who  string
	peer string // its name for -peers; empty: ours
	open func(dir string) (rowStorer, error)
}

var engines = []engine{
	{who: whoApp, open: openOurs},
	{who: whoPebbleIngest, peer: peerPebble, open: openPebbleIngest},
	{who: whoPebbleBatches, peer: peerPebble, open: openPebbleBatches},
	{who: whoBbolt, peer: peerBbolt, open: openBolt},
}

// stores measures each engine in a process of its own.
func (b *bench) stores(ctx context.Context, rows int64) error {
	for _, e := range engines {
		if e.peer != "" && !b.peers.has(e.peer) {
			continue
		}
		s := spec{Workload: "store", Kind: kindStore, Engine: e.who, Rows: rows, Records: b.records, Limit: b.phase.Milliseconds()}
		s.StateDir, s.Profile = b.state(s), b.profile
		if err := b.store(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", e.who, err)
		}
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) store(ctx context.Context, s spec) error {
	p, err := startChild(ctx, s)
	if err != nil {
		return err
	}
	defer p.kill()
	type phase struct {
		r result
		m memory
	}
	var phases []phase
	for {
		r, err := p.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		phases = append(phases, phase{r, p.peak()})
	}
	// The process has ended well: what it stored is verified.
	for _, x := range phases {
		s.Records = x.r.Processed
		if b.wanted(x.r.Phase) {
			b.add(s, s.Engine, x.r, x.m)
		}
	}
	return nil
}

// storeRun is one run of the phases.
type storeRun struct {
	spec
	rows    rowStorer
	report  func(result) error
	commit  time.Time // the last one
	key     []byte
	value   []byte
	changed int64
	sample  []uint32 // how often each row of a sample was changed
}

const sampled = 64 // one of so many rows is in the sample

// runStore runs the phases on an engine, and verifies in the end: all rows are there once, as they were made, they were changed as often
// as there were changes, and each of a sample as often as it was.
func (s spec) runStore(report func(result) error) error {
	for _, e := range engines {
		if e.who != s.Engine {
			continue
		}
		rows, err := e.open(s.StateDir)
		if err != nil {
			return err
		}
		return errors.Join(newStoreRun(s, rows, report).run(), rows.Close())
	}
	return fmt.Errorf("there is no engine %q", s.Engine)
}

func newStoreRun(s spec, rows rowStorer, report func(result) error) *storeRun {
	return &storeRun{
		spec: s, rows: rows, report: report, commit: time.Now(), key: make([]byte, 8), value: make([]byte, valueSize),
		sample: make([]uint32, s.Rows/sampled+1),
	}
}

func (r *storeRun) run() error {
	uniform := rand.New(rand.NewPCG(1, 1))
	any := func() uint64 { return uniform.Uint64N(uint64(r.Rows)) }
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(r.Rows)-1)
	for i, do := range []func(int64) error{
		func(n int64) error { return r.put(uint64(n), 0) },
		func(int64) error { _, err := r.get(any()); return err },
		func(int64) error { return r.change(any()) },
		func(int64) error { return r.change(zipf.Uint64()) },
	} {
		n, limit := r.Records, time.Duration(r.Limit)*time.Millisecond
		if i == 0 {
			n, limit = r.Rows, 0
		}
		if err := r.phase(storePhases[i], n, limit, do); err != nil {
			return fmt.Errorf("%s: %w", storePhases[i], err)
		}
	}
	return r.verify()
}

// phase does something n times, or for so long.
func (r *storeRun) phase(name string, n int64, limit time.Duration, do func(int64) error) error {
	var w window
	before := written()
	w.start(0)
	i := int64(0)
	for ; i < n; i++ {
		if err := do(i); err != nil {
			return err
		}
		if i%256 != 0 {
			continue
		}
		now := time.Now()
		if now.Sub(r.commit) > 100*time.Millisecond {
			if err := r.rows.Commit(); err != nil {
				return err
			}
			r.commit = now
		}
		if limit > 0 && now.Sub(w.begin.At) > limit {
			i++
			break
		}
	}
	if err := errors.Join(r.rows.Commit(), r.rows.Flush()); err != nil {
		return err
	}
	w.extend()
	// What was put off is part of what it cost.
	took := w.end.At
	w.quiet()
	res := w.result(i)
	res.Phase, res.Seconds = name, took.Sub(w.begin.At).Seconds()
	res.Written, res.Disk = res.Written-before, diskUse(r.StateDir)
	return r.report(res)
}

// quiet moves the end to when the process does nothing any more: merges that go on in the background belong to what caused them.
func (w *window) quiet() {
	const look, idle = 20 * time.Millisecond, 10
	last := now()
	for still := 0; still < idle; {
		time.Sleep(look)
		m := now()
		// Merges that are held up take little CPU: a twentieth of the time.
		if m.CPU-last.CPU < look/50 {
			still++
		} else {
			still = 0
			w.mu.Lock()
			w.end = m
			w.mu.Unlock()
		}
		last = m
	}
}

// rowKey sets the key of row n: keys are in no order.
func (r *storeRun) rowKey(n uint64) []byte {
	binary.BigEndian.PutUint64(r.key, mix(n))
	return r.key
}

// put writes row n, which was changed so often.
func (r *storeRun) put(n, changes uint64) error {
	r.value = appendValue(r.value[:0], int64(n))
	binary.BigEndian.PutUint64(r.value, changes)
	return r.rows.Put(r.rowKey(n), r.value)
}

func (r *storeRun) get(n uint64) ([]byte, error) {
	v, ok, err := r.rows.Get(r.rowKey(n))
	if err == nil && (!ok || len(v) != valueSize || binary.BigEndian.Uint64(v[8:]) != mix(n)) {
		err = fmt.Errorf("row %d is missing, or not as it was written: %d bytes", n, len(v))
	}
	return v, err
}

func (r *storeRun) change(n uint64) error {
	v, err := r.get(n)
	if err != nil {
		return err
	}
	r.value = append(r.value[:0], v...)
	binary.BigEndian.PutUint64(r.value, binary.BigEndian.Uint64(v)+1)
	r.changed++
	if n%sampled == 0 {
		r.sample[n/sampled]++
	}
	return r.rows.Put(r.rowKey(n), r.value)
}

func (r *storeRun) verify() error {
	rows, changes := int64(0), int64(0)
	var want []byte
	var last []byte
	err := r.rows.Scan(func(key, value []byte) error {
		n := unmix(binary.BigEndian.Uint64(key))
		if len(value) != valueSize || n >= uint64(r.Rows) || string(key) <= string(last) {
			return fmt.Errorf("verify: a row of key %x", key)
		}
		last = append(last[:0], key...)
		c := binary.BigEndian.Uint64(value)
		want = appendValue(want[:0], int64(n))
		if string(want[8:]) != string(value[8:]) {
			return fmt.Errorf("verify: row %d is not as it was written", n)
		}
		if n%sampled == 0 && c != uint64(r.sample[n/sampled]) {
			return fmt.Errorf("verify: row %d was changed %d times, not %d", n, r.sample[n/sampled], c)
		}
		rows++
		changes += int64(c)
		return nil
	})
	if err == nil && (rows != r.Rows || changes != r.changed) {
		err = fmt.Errorf("verify: %d rows with %d changes, not %d with %d", rows, changes, r.Rows, r.changed)
	}
	return err
}

// ours is the engine of Apps.
type ours struct {
	storage.Engine
	changes int64
	time    int64
}

func openOurs(dir string) (rowStorer, error) {
	e, err := openEngine(filepath.Join(dir, "store"), 0)
	return &ours{Engine: e}, err
}

func (o *ours) Get(key []byte) ([]byte, bool, error) {
	v, _, ok, err := o.Engine.Get(key)
	return v, ok, err
}

func (o *ours) Put(key, value []byte) error {
	o.time++
	return o.Engine.Put(key, value, o.time)
}

// Commit settles at once what is cut: Kafka's answer, which an App waits for, is not measured here.
func (o *ours) Commit() error {
	epoch, err := o.Cut(func(storage.Change) error { o.changes++; return nil })
	if err == nil {
		o.Settle(epoch, storage.Checkpoint{Offset: o.changes, Time: time.Now()})
	}
	return err
}

func (o *ours) Flush() error { return o.Engine.Flush(true) }

func (o *ours) Scan(f func(key, value []byte) error) error {
	for e, err := range o.Engine.Scan(storage.Range{}) {
		if err == nil {
			err = f(e.Key, e.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *ours) Close() error { return o.Engine.Close(true) }
