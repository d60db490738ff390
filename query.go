package millstream

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/layout"
	"github.com/millstream-go/millstream/internal/partition"
	"github.com/millstream-go/millstream/internal/worker"
	"github.com/millstream-go/millstream/store"
)

// ErrNotRunning is returned by reads of stores while the App does not run.
var ErrNotRunning = errors.New("millstream: the App does not run")

// ErrReadOnly is returned by writes through what App.OpenStore returned.
var ErrReadOnly = errors.New("millstream: stores can be read from outside, not written")

// OpenStore opens a store for reading from outside the topology: references of package store call it. What it shows are the partitions
// that this App has at the time of each read; with several members of the group, each has a part, but of a global store each has
// all. Values are those that the topology has processed so far.
//
// It may be used by several goroutines. Each read runs on the goroutine of the worker that owns the partition, between two
// batches; a scan takes its rows in pieces, so it holds nobody up for long, and sees writes that happen ahead of it meanwhile. Global
// stores are read on the goroutine of the caller.
func (a *App) OpenStore(name string) (store.Handle, error) {
	s := a.g.Store(name)
	if s == nil {
		var names []string
		for _, s := range a.g.Stores {
			names = append(names, s.Name)
		}
		return store.Handle{}, fmt.Errorf("millstream: there is no store %q; there are: %s", name, strings.Join(names, ", "))
	}
	if s.Global {
		return layout.Handle(s, &globalReader{a, name}, func() int64 { return -1 })
	}
	return layout.Handle(s, &reader{a, name, s.Sub, layout.Has(s.Kind)}, func() int64 { return -1 })
}

// reader is a store of an App as others may read it: the partitions that are here, as one.
type reader struct {
	app  *App
	name string
	sub  int
	laid bool // keys are local ones of a layout
}

// partitions returns the store's partitions that are here.
func (r *reader) partitions() (*session, []int32, error) {
	s := r.app.current()
	if s == nil {
		return nil, nil, ErrNotRunning
	}
	return s, s.manager.partitionsOf(r.sub), nil
}

// Get implements store.Bytes. The partition that a key has by Kafka's default partitioner is asked first; others may have it where
// another partitioner was used.
func (r *reader) Get(key []byte) (value []byte, time int64, ok bool, err error) {
	s, here, err := r.partitions()
	if err != nil {
		return nil, 0, false, err
	}
	if n := s.group.Plan().Subs[r.sub].Tasks; n > 0 {
		user := key
		if r.laid {
			user = layout.UserKey(key)
		}
		likely := partition.ForKey(user, n)
		slices.SortStableFunc(here, func(a, b int32) int {
			switch {
			case a == likely && b != likely:
				return -1
			case b == likely && a != likely:
				return 1
			}
			return 0
		})
	}
	for _, p := range here {
		err := s.query(r.name, r.sub, p, func(b store.Bytes) (err error) {
			v, t, found, err := b.Get(key)
			value, time, ok = clone(v), t, found
			return err
		})
		if ok || err != nil && !errors.Is(err, worker.ErrNotHere) {
			return value, time, ok, err
		}
	}
	return nil, 0, false, nil
}

// clone copies a value and keeps it non-nil: an empty value is a value.
func clone(v []byte) []byte { return append([]byte{}, v...) }

// query runs f on the worker that has a partition.
func (s *session) query(name string, sub int, p int32, f func(store.Bytes) error) error {
	for i := range s.workers {
		if err := s.workers[i].Query(s.ctx, name, p, f); !errors.Is(err, worker.ErrNotHere) {
			return err
		}
	}
	return worker.ErrNotHere
}

// Put implements store.Bytes.
func (r *reader) Put([]byte, []byte, int64) error { return ErrReadOnly }

// Delete implements store.Bytes.
func (r *reader) Delete([]byte, int64) error { return ErrReadOnly }

// Len implements store.Bytes.
func (r *reader) Len() (int64, error) {
	s, here, err := r.partitions()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range here {
		err := s.query(r.name, r.sub, p, func(b store.Bytes) error {
			n, err := b.Len()
			sum += n
			return err
		})
		if err != nil && !errors.Is(err, worker.ErrNotHere) {
			return 0, err
		}
	}
	return sum, nil
}

// Home implements layout.Partitions.
func (r *reader) Home([]byte) (*layout.Log, error) { return nil, ErrReadOnly }

// Observed implements layout.Partitions.
func (r *reader) Observed(local []byte) (int64, error) {
	s, here, err := r.partitions()
	if err != nil {
		return -1, err
	}
	latest, found := int64(-1), false
	for _, p := range here {
		err := s.query(r.name, r.sub, p, func(b store.Bytes) (err error) {
			at, err := layout.Of(b).Observed(nil)
			if err != nil || local == nil {
				latest = max(latest, at)
				return err
			}
			if _, _, found, err = b.Get(local); found {
				latest = at
			}
			return err
		})
		if found || err != nil && !errors.Is(err, worker.ErrNotHere) {
			return latest, err
		}
	}
	return latest, nil
}

// pieceRows is how many rows a scan takes from a partition at a time.
const pieceRows = 256

// Scan implements store.Bytes: the rows of all partitions that are here, merged by key.
func (r *reader) Scan(all store.Range) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		s, here, err := r.partitions()
		if err != nil {
			yield(store.Entry{}, err)
			return
		}
		pieces := make([]*piece, 0, len(here))
		for _, p := range here {
			pieces = append(pieces, &piece{s: s, name: r.name, sub: r.sub, partition: p, left: all})
		}
		for {
			next, err := first(pieces, all.Backward)
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			if next == nil || !yield(next.pop(), nil) {
				return
			}
		}
	}
}

// piece is a part of one partition's rows that a scan has fetched ahead.
type piece struct {
	s         *session
	name      string
	sub       int
	partition int32
	left      store.Range // what has not been fetched
	rows      []store.Entry
	done      bool
}

// first returns the piece with the row that comes first, fetching where a piece is empty; nil when there is none.
func first(pieces []*piece, backward bool) (*piece, error) {
	var best *piece
	for _, p := range pieces {
		if err := p.fill(); err != nil {
			return nil, err
		}
		if len(p.rows) == 0 {
			continue
		}
		if best == nil || (bytes.Compare(p.rows[0].Key, best.rows[0].Key) < 0) != backward {
			best = p
		}
	}
	return best, nil
}

func (p *piece) pop() store.Entry {
	e := p.rows[0]
	p.rows = p.rows[1:]
	return e
}

// fill fetches the next rows, and goes on behind the last one then.
func (p *piece) fill() error {
	if len(p.rows) > 0 || p.done {
		return nil
	}
	var rows []store.Entry
	err := p.s.query(p.name, p.sub, p.partition, func(b store.Bytes) error {
		for e, err := range b.Scan(p.left) {
			if err != nil {
				return err
			}
			rows = append(rows, store.Entry{Key: clone(e.Key), Value: clone(e.Value), Time: e.Time})
			if len(rows) == pieceRows {
				return nil
			}
		}
		return nil
	})
	if errors.Is(err, worker.ErrNotHere) { // it has moved away
		p.done = true
		return nil
	}
	if err != nil {
		return err
	}
	p.rows, p.done = rows, len(rows) < pieceRows
	if !p.done {
		p.goOn(rows[len(rows)-1].Key)
	}
	return nil
}

func (p *piece) goOn(after []byte) {
	if p.left.Backward {
		p.left.To, p.left.ToBefore = after, true
	} else {
		p.left.From, p.left.FromAfter = after, true
	}
}
