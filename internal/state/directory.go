// Package state keeps the stores of one App: where their files are, who uses them, and the memory that they share.
package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/memory"
)

// IdleTime is how long a store stays open that no task uses: its task may come back with the next rebalance.
const IdleTime = 10 * time.Minute

// Kind is where a store keeps its rows.
type Kind uint8

const (
	OnDisk   Kind = iota // memtables over a file: restored from where the file stands
	InMemory             // restored in full by each new owner
)

// Options configure a Directory. The zero value is complete.
type Options struct {
	Budget   int64                // bytes of memtables of all stores. Defaults to memory.DefaultBudget.
	PageSize int                  // of new files, in bytes. Defaults to 16 KiB.
	Flushes  int                  // stores that flush at once. Defaults to 2.
	NoSync   bool                 // for tests and simulations: a power loss may cost files. Defaults to false.
	OnFlush  func(bolt.FlushInfo) // told of every flush, on the flushing goroutine. Defaults to nothing.
	Hook     crashpoint.Hook      // called at the crash points of flushes. Defaults to nothing.
	Died     func()               // told when a crash point killed a flush. Defaults to nothing.

	// TransactionBytes bounds one transaction of a flush. Defaults to 16 MiB; a simulation makes it small, so that there are several.
	TransactionBytes int64
	// RewriteRows is from how many rows on a flush may write a new file. Defaults to 4,096; a simulation makes it small, to have both ways.
	RewriteRows int
	// ReplayBytes is how much changelog a store may owe to its file before it flushes. Defaults to 256 MiB; a simulation makes it small.
	ReplayBytes int64
}

// Directory is the state of one App: `<root>/<application>/<store>/<partition>.db`. The path has no sub-topology number in it, so that a
// renumbered topology keeps its state. Safe from any goroutine; the engines that it lends are not.
//
// A store is open or closed; an open one is lent to one task, or idle. Invariants:
//
//  1. An engine is lent to one borrower at a time. Lending and returning hand it from goroutine to goroutine under mu.
//  2. mu is not held while a file is opened, flushed or closed: its entry is marked busy instead.
type Directory struct {
	path   string // empty: there is no directory
	o      Options
	lock   *os.File
	budget *memory.Budget
	slots  chan struct{}

	mu     sync.Mutex
	stores map[Name]*entry
	closed bool
}

// Name is that of a store's partition.
type Name struct {
	Store     string
	Partition int32
}

// String returns "counts-3".
func (n Name) String() string { return fmt.Sprintf("%s-%d", n.Store, n.Partition) }

// An entry is a store that is not closed.
type entry struct {
	engine store.Engine // nil while busy
	kind   Kind
	lent   bool
	since  time.Time // idle
}

// Open takes the application's directory below root and locks it against other processes; ErrOwned says who has it. With an empty
// root there is no directory and only stores in memory can be borrowed.
func Open(root, application string, o Options) (*Directory, error) {
	if err := checkName("application", application); err != nil {
		return nil, err
	}
	if o.Flushes <= 0 {
		o.Flushes = 2
	}
	d := &Directory{
		o: o, budget: memory.NewBudget(o.Budget), slots: make(chan struct{}, o.Flushes), stores: map[Name]*entry{},
	}
	if root == "" {
		return d, nil
	}
	d.path = filepath.Join(root, application)
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := lockDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	d.lock = lock
	return d, nil
}

// legal is what Kafka allows in names, less names that start with a dot: those are ours, and "..". What follows a plus says which rows a
// store has.
var legal = regexp.MustCompile(`^[a-zA-Z0-9_-][a-zA-Z0-9._-]*(\+[a-z]+)*$`)

func checkName(what, name string) error {
	if !legal.MatchString(name) {
		return fmt.Errorf("%s name %q: only letters, digits, '.', '_' and '-' can be in it, and no '.' in front", what, name)
	}
	return nil
}

// Path returns the application's directory; empty when there is none.
func (d *Directory) Path() string { return d.path }

// Budget returns the memory that the stores share. When it is Full, no further records should be processed before Room.
func (d *Directory) Budget() *memory.Budget { return d.budget }

func (d *Directory) file(n Name) string {
	return filepath.Join(d.path, n.Store, strconv.Itoa(int(n.Partition))+".db")
}

// Borrow lends the store to the caller until Return: the one that is open and idle, or the one on disk, or a new one. pressure is called,
// on any goroutine, when the borrower should cut early to give memory back; it must not block. It may be nil.
func (d *Directory) Borrow(n Name, kind Kind, pressure func()) (store.Engine, bolt.Info, error) {
	if err := checkName("store", n.Store); err != nil {
		return nil, bolt.Info{}, err
	}
	if kind == OnDisk && d.path == "" {
		return nil, bolt.Info{}, fmt.Errorf("store %s: there is no state directory", n)
	}
	e, open, err := d.reserve(n, kind)
	if err != nil {
		return nil, bolt.Info{}, err
	}
	if open {
		press(e.engine, pressure)
		return e.engine, bolt.Info{}, nil
	}
	engine, info, err := d.open(n, kind)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.stores, n)
		return nil, info, err
	}
	press(engine, pressure)
	e.engine = engine
	return engine, info, nil
}

// reserve marks the store as lent; open is whether its engine is there already.
func (d *Directory) reserve(n Name, kind Kind) (e *entry, open bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, open = d.stores[n]
	switch {
	case d.closed:
		return nil, false, fmt.Errorf("store %s: state directory is closed", n)
	case open && (e.lent || e.engine == nil):
		return nil, false, fmt.Errorf("store %s is in use by another task", n)
	case open && e.kind != kind:
		return nil, false, fmt.Errorf("store %s is open as another kind", n)
	case !open:
		e = &entry{kind: kind}
		d.stores[n] = e
	}
	e.lent = true
	return e, open, nil
}

func (d *Directory) open(n Name, kind Kind) (store.Engine, bolt.Info, error) {
	if kind == InMemory {
		return memory.New(d.budget), bolt.Info{}, nil
	}
	return bolt.Open(bolt.Options{
		Path: d.file(n), Budget: d.budget, PageSize: d.o.PageSize, NoSync: d.o.NoSync, Slots: d.slots,
		OnFlush: d.o.OnFlush, Hook: d.o.Hook, Died: d.o.Died, TransactionBytes: d.o.TransactionBytes,
		RewriteRows: d.o.RewriteRows,
		ReplayBytes: d.o.ReplayBytes,
	})
}

func press(e store.Engine, f func()) {
	if b, ok := e.(*bolt.Engine); ok {
		b.OnPressure(f)
	}
}

func trim(e store.Engine) {
	if b, ok := e.(*bolt.Engine); ok {
		b.Trim()
	}
}

// Return takes a borrowed store back. With keep, what is not settled is undone, the rest is written in the background, and the store stays
// open for IdleTime; without, as for a store in memory, it is closed and what is not on disk is left to the changelog: after work was
// lost that cannot be undone. The caller must not use the engine any more.
func (d *Directory) Return(n Name, keep bool, now time.Time) error {
	d.mu.Lock()
	e := d.stores[n]
	if e == nil || !e.lent || e.engine == nil {
		d.mu.Unlock()
		return fmt.Errorf("store %s is returned but not lent", n)
	}
	engine := e.engine
	e.engine = nil // busy
	d.mu.Unlock()

	press(engine, nil)
	keep = keep && e.kind == OnDisk
	var err error
	if keep {
		// A flush that fails is tried again, and Healthy tells.
		err = engine.Undo()
		_ = engine.Flush(false)
	} else {
		err = engine.Close(false)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if keep {
		e.engine, e.lent, e.since = engine, false, now
	} else {
		delete(d.stores, n)
	}
	return err
}

// Healthy returns nil, or why flushes fail.
func (d *Directory) Healthy() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	for n, e := range d.stores {
		if e.engine == nil {
			continue
		}
		if unwell := e.engine.Healthy(); unwell != nil {
			err = errors.Join(err, fmt.Errorf("store %s: %w", n, unwell))
		}
	}
	return err
}

// Found returns the stores that have a file, open or not.
func (d *Directory) Found() ([]Name, error) {
	if d.path == "" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(d.path, "*", "*.db"))
	var names []Name
	for _, f := range files {
		p, bad := strconv.ParseInt(strings.TrimSuffix(filepath.Base(f), ".db"), 10, 32)
		if bad == nil {
			names = append(names, Name{filepath.Base(filepath.Dir(f)), int32(p)})
		}
	}
	return names, err
}

// Close closes all stores, writes what is settled when flush is true, and gives the directory up. Stores still lent are closed without
// flush, and named in the error: their borrowers must have stopped. Closing twice does nothing.
func (d *Directory) Close(flush bool) error {
	d.mu.Lock()
	stores, closed := d.stores, d.closed
	d.stores, d.closed = map[Name]*entry{}, true
	d.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	for n, e := range stores {
		if e.engine == nil {
			continue
		}
		if e.lent {
			err = errors.Join(err, fmt.Errorf("store %s is still in use", n))
		}
		err = errors.Join(err, e.engine.Close(flush && !e.lent))
	}
	d.budget.Close()
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}
