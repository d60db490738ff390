package testdriver

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/segmented"
	"github.com/millstream-go/millstream/store"
)

var _ store.Opener = (*Driver)(nil)

// OpenStore opens a store by name, with all its partitions as one. References of package store call
// it: totals.In(d). A test may write to the store; this is committed with the next record, or by
// Commit. A new row goes to the partition that its key has by default.
func (d *Driver) OpenStore(name string) (storage.Handle, error) {
	s := d.graph.Store(name)
	if s == nil {
		return storage.Handle{}, fmt.Errorf("testdriver: the program has no store %q: %s", name, d.storeNames())
	}
	return segmented.Handle(s, &view{d, name}, func() int64 { return d.now.UnixMilli() })
}

// Stores returns the sorted names of the program's stores, including global ones and those of
// tables and joins. Store references open them with their types, OpenStore without.
func (d *Driver) Stores() []string {
	names := make([]string, len(d.graph.Stores))
	for i, s := range d.graph.Stores {
		names[i] = s.Name
	}
	slices.Sort(names)
	return names
}

func (d *Driver) storeNames() string {
	if len(d.graph.Stores) == 0 {
		return "it has none"
	}
	return "it has " + strings.Join(d.Stores(), ", ")
}

// view is a store with all its partitions. It looks up the engines for each call, because a restart
// replaces them.
type view struct {
	driver *Driver
	name   string
}

func (v *view) engines() ([]storage.Engine, error) {
	e := v.driver.stores[v.name]
	if len(e) == 0 {
		return nil, fmt.Errorf("testdriver: store %q is used after the end of the test", v.name)
	}
	return e, nil
}

// Get implements storage.Bytes. It searches all partitions, because a partitioner of the program may
// have put the key in any of them.
func (v *view) Get(key []byte) ([]byte, int64, bool, error) {
	engines, err := v.engines()
	if err != nil {
		return nil, 0, false, err
	}
	for _, e := range engines {
		if value, at, ok, err := e.Get(key); ok || err != nil {
			return value, at, ok, err
		}
	}
	return nil, 0, false, nil
}

// engineOf returns the partition that has key, or the one that it has by default.
func (v *view) engineOf(key []byte) (storage.Engine, error) {
	engines, err := v.engines()
	if err != nil {
		return nil, err
	}
	for _, e := range engines {
		if _, _, ok, err := e.Get(key); ok || err != nil {
			return e, err
		}
	}
	return engines[partitioner.ForKey(key, len(engines))], nil
}

// PartitionOf implements segmented.Partitions: it returns the partition to which a key is written.
func (v *view) PartitionOf(key []byte) (*segmented.Store, error) {
	engines, err := v.engines()
	if err != nil {
		return nil, err
	}
	return segmented.Unwrap(engines[partitioner.ForKey(key, len(engines))]), nil
}

// Observed implements segmented.Partitions.
func (v *view) Observed(local []byte) (int64, error) {
	engines, err := v.engines()
	latest := int64(-1)
	for _, e := range engines {
		l := segmented.Unwrap(e)
		at, _ := l.Observed(nil)
		latest = max(latest, at)
		if local != nil {
			if _, _, ok, err := l.Get(local); ok || err != nil {
				return at, err
			}
		}
	}
	return latest, err
}

// Put implements storage.Bytes.
func (v *view) Put(key, value []byte, time int64) error {
	e, err := v.engineOf(key)
	if err != nil {
		return err
	}
	return e.Put(key, value, time)
}

// Delete implements storage.Bytes.
func (v *view) Delete(key []byte, time int64) error {
	e, err := v.engineOf(key)
	if err != nil {
		return err
	}
	return e.Delete(key, time)
}

// Len implements storage.Bytes.
func (v *view) Len() (int64, error) {
	engines, err := v.engines()
	var sum int64
	for _, e := range engines {
		n, err := e.Len()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, err
}

// Scan implements storage.Bytes: the partitions merged.
func (v *view) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	engines, err := v.engines()
	if err != nil {
		return func(yield func(storage.Entry, error) bool) { yield(storage.Entry{}, err) }
	}
	if len(engines) == 1 {
		return engines[0].Scan(r)
	}
	return func(yield func(storage.Entry, error) bool) { mergeScans(engines, r, yield) }
}

// partitionHead is the next entry of one partition's scan.
type partitionHead struct {
	storage.Entry
	err  error
	next func() (storage.Entry, error, bool)
}

func mergeScans(engines []storage.Engine, r storage.Range, yield func(storage.Entry, error) bool) {
	var heads []*partitionHead
	for _, e := range engines {
		next, stop := iter.Pull2(e.Scan(r))
		// At the return, not after each scan's last row: a caller that ends the loop early leaves
		// scans open, and an engine does not end an epoch inside a scan.
		defer stop()
		opened := &partitionHead{next: next}
		if opened.advance() {
			heads = append(heads, opened)
		}
	}
	for len(heads) > 0 {
		first := slices.MinFunc(heads, func(a, b *partitionHead) int {
			if r.Backward {
				return bytes.Compare(b.Key, a.Key)
			}
			return bytes.Compare(a.Key, b.Key)
		})
		if !yield(first.Entry, first.err) {
			return
		}
		if !first.advance() {
			heads = slices.DeleteFunc(heads, func(opened *partitionHead) bool { return opened == first })
		}
	}
}

func (h *partitionHead) advance() bool {
	var ok bool
	h.Entry, h.err, ok = h.next()
	return ok
}
