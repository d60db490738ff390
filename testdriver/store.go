package testdriver

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/layout"
	"github.com/millstream-go/millstream/internal/partition"
	"github.com/millstream-go/millstream/store"
)

var _ store.Opener = (*Driver)(nil)

// OpenStore opens a store by name, all its partitions as one. References of package store call it: totals.In(d). What a test
// writes is committed with the next record, or by Commit; the row goes to the partition that its key has by default.
func (d *Driver) OpenStore(name string) (store.Handle, error) {
	s := d.g.Store(name)
	if s == nil {
		return store.Handle{}, fmt.Errorf("testdriver: the program has no store %q: %s", name, d.storeNames())
	}
	return layout.Handle(s, &view{d, name}, func() int64 { return d.now.UnixMilli() })
}

func (d *Driver) storeNames() string {
	if len(d.g.Stores) == 0 {
		return "it has none"
	}
	names := make([]string, len(d.g.Stores))
	for i, s := range d.g.Stores {
		names[i] = s.Name
	}
	return "it has " + strings.Join(names, ", ")
}

// view is a store with all its partitions. It finds the engines for each call: they are others after a restart.
type view struct {
	d    *Driver
	name string
}

func (v *view) engines() ([]store.Engine, error) {
	e := v.d.stores[v.name]
	if len(e) == 0 {
		return nil, fmt.Errorf("testdriver: store %q is used after the end of the test", v.name)
	}
	return e, nil
}

// Get implements store.Bytes. A partitioner of the program may have put the key anywhere.
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

// home returns the partition that has key, or would have it by default.
func (v *view) home(key []byte) (store.Engine, error) {
	engines, err := v.engines()
	if err != nil {
		return nil, err
	}
	for _, e := range engines {
		if _, _, ok, err := e.Get(key); ok || err != nil {
			return e, err
		}
	}
	return engines[partition.ForKey(key, len(engines))], nil
}

// Home implements layout.Partitions: where a key is written that is not of a key-value store.
func (v *view) Home(key []byte) (*layout.Log, error) {
	engines, err := v.engines()
	if err != nil {
		return nil, err
	}
	return layout.Of(engines[partition.ForKey(key, len(engines))]), nil
}

// Observed implements layout.Partitions.
func (v *view) Observed(local []byte) (int64, error) {
	engines, err := v.engines()
	latest := int64(-1)
	for _, e := range engines {
		l := layout.Of(e)
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

// Put implements store.Bytes.
func (v *view) Put(key, value []byte, time int64) error {
	e, err := v.home(key)
	if err != nil {
		return err
	}
	return e.Put(key, value, time)
}

// Delete implements store.Bytes.
func (v *view) Delete(key []byte, time int64) error {
	e, err := v.home(key)
	if err != nil {
		return err
	}
	return e.Delete(key, time)
}

// Len implements store.Bytes.
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

// Scan implements store.Bytes: the partitions merged.
func (v *view) Scan(r store.Range) iter.Seq2[store.Entry, error] {
	engines, err := v.engines()
	if err != nil {
		return func(yield func(store.Entry, error) bool) { yield(store.Entry{}, err) }
	}
	if len(engines) == 1 {
		return engines[0].Scan(r)
	}
	return func(yield func(store.Entry, error) bool) { merge(engines, r, yield) }
}

// head is the next entry of one partition's scan.
type head struct {
	store.Entry
	err  error
	next func() (store.Entry, error, bool)
}

func merge(engines []store.Engine, r store.Range, yield func(store.Entry, error) bool) {
	var heads []*head
	for _, e := range engines {
		next, stop := iter.Pull2(e.Scan(r))
		defer stop()
		h := &head{next: next}
		if h.move() {
			heads = append(heads, h)
		}
	}
	for len(heads) > 0 {
		first := slices.MinFunc(heads, func(a, b *head) int {
			if r.Backward {
				return bytes.Compare(b.Key, a.Key)
			}
			return bytes.Compare(a.Key, b.Key)
		})
		if !yield(first.Entry, first.err) {
			return
		}
		if !first.move() {
			heads = slices.DeleteFunc(heads, func(h *head) bool { return h == first })
		}
	}
}

func (h *head) move() bool {
	var ok bool
	h.Entry, h.err, ok = h.next()
	return ok
}
