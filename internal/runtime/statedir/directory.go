// Package statedir is the state directory of one App: where the files of its stores are, which task
// uses which store, and the memory that the stores share.
package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// IdleTime is how long a store stays open that no task uses: its task may come back with the next
// rebalance.
const IdleTime = 10 * time.Minute

// Kind is where a store has its rows.
type Kind uint8

const (
	OnDisk   Kind = iota // memtables over files: restored from their checkpoint on
	InMemory             // restored in full for each task that acquires it
)

// Options configure a Directory. The zero value is complete.
type Options struct {
	Budget   int64               // bytes of memtables of all stores. Defaults to memtable.DefaultBudget.
	PageSize int                 // of new files, in bytes. Defaults to 16 KiB.
	Flushes  int                 // stores that flush at once. Defaults to 2.
	Merges   int                 // stores that merge their runs at once. Defaults to 2.
	NoSync   bool                // for tests and simulations: a power loss may cost files. Defaults to false.
	OnFlush  func(lsm.FlushInfo) // called after every flush, on the flushing goroutine. Defaults to nothing.
	OnMerge  func(lsm.MergeInfo) // called when a merge begins, ends and fails. Defaults to nothing.
	Hook     crashpoint.Hook     // called at the crash points of flushes and merges. Defaults to nothing.
	Crashed  func()              // called when a crash point killed a flush or a merge. Defaults to nothing.
	// OnDamage is called once for each file that is moved aside, on the goroutine that acquires,
	// releases or closes the store. Defaults to nothing.
	OnDamage func(Damage)

	// FileBytes, Factor and MaxRuns are as in lsm.Options, and so are their defaults. A simulation makes
	// them small: then stores of a few rows split their files and merge them, too.
	FileBytes       int64
	Factor, MaxRuns int
	// ReplayBytes is how much changelog a restore may have to read again because the files do not
	// have it yet; then the store flushes. Defaults to 256 MiB; a simulation makes it small.
	ReplayBytes int64
}

// Directory is the state of one App: a directory `<root>/<application>/<store>/<partition>` for each
// store partition. The path has no number of a sub-topology in it: these change with the topology, and
// the state is to be found again. Safe from any goroutine; the engines that it returns are not.
//
// A store is open or closed. An open one is in use by one task, or idle. Invariants:
//
//  1. An engine is in use by one task at a time. Acquire and Release pass it from goroutine to goroutine
//     under mu.
//  2. mu is not held while a file is opened, flushed or closed. The store is marked busy instead.
type Directory struct {
	path        string // empty: there is no directory
	application string
	options     Options
	lock        *os.File
	budget      *memtable.Budget
	// A merge may take minutes. With the slots of flushes, a few merges would stop the flushes of all
	// stores, and with them the commits.
	flushSlots, mergeSlots chan struct{}
	pace                   *lsm.Pace

	lastProbe atomic.Pointer[error] // the result of the last Probe

	mu     sync.Mutex
	stores map[Name]*openStore
	closed bool
}

// Name is that of a store's partition.
type Name struct {
	Store     string
	Partition int32
}

// String returns "counts-3".
func (n Name) String() string { return fmt.Sprintf("%s-%d", n.Store, n.Partition) }

// Damage is a file that could not be trusted and was moved aside. The store is empty then.
type Damage struct {
	Name
	File    string // its path
	MovedTo string // where it is now; empty when there was nothing left of it
	Reason  string
}

// openStore is a store that is not closed.
type openStore struct {
	engine    storage.Engine // nil while busy: opening, closing or being released
	kind      Kind
	inUse     bool
	idleSince time.Time
	// maintained is not nil while the directory itself has the store, to write, close or remove it, and closed then.
	maintained chan struct{}
}

// Open opens the application's directory below root, and locks it against other processes. When
// another process has it, the error is ErrInUse and names that process. With an empty root there is
// no directory, and only stores in memory can be acquired.
func Open(root, application string, options Options) (*Directory, error) {
	if err := checkName("application", application); err != nil {
		return nil, err
	}
	if options.Flushes <= 0 {
		options.Flushes = 2
	}
	if options.Merges <= 0 {
		options.Merges = 2
	}
	dir := &Directory{
		application: application, options: options, budget: memtable.NewBudget(options.Budget),
		flushSlots: make(chan struct{}, options.Flushes), mergeSlots: make(chan struct{}, options.Merges),
		pace:   lsm.NewPace(lsm.PaceBytes),
		stores: map[Name]*openStore{},
	}
	if root == "" {
		return dir, nil
	}
	if err := CheckRoot(root); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	dir.path = filepath.Join(root, application)
	if err := safefile.MakeDir(dir.path, !options.NoSync); err != nil {
		return nil, fmt.Errorf("state directory: %w; Config.StateDir has to be a directory that this user can write to", err)
	}
	// Before anything in it is opened, the lock file included.
	if err := checkAccess(dir.path); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := lockDir(dir.path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	dir.lock = lock
	return dir, nil
}

// legalName is what Kafka allows in names, but for names that begin with a dot: ".." is none, and
// the others are files of this package. What follows a plus is the layout of a store's rows
// (DirName).
var legalName = regexp.MustCompile(`^[a-zA-Z0-9_-][a-zA-Z0-9._-]*(\+[a-z]+)*$`)

func checkName(what, name string) error {
	if !legalName.MatchString(name) {
		return fmt.Errorf("%s name %q: only letters, digits, '.', '_' and '-' can be in it, and no '.' in front", what, name)
	}
	return nil
}

// Path returns the application's directory; empty when there is none.
func (d *Directory) Path() string { return d.path }

// Budget returns the memory that the stores share. When it is Full, no records should be processed
// before Room.
func (d *Directory) Budget() *memtable.Budget { return d.budget }

// storePath returns the directory of a store partition.
func (d *Directory) storePath(n Name) string {
	return filepath.Join(d.path, n.Store, strconv.Itoa(int(n.Partition)))
}

// Identity returns the name of a store in its files: files of another application's store of the same
// name are not its own.
func Identity(application, store string) string { return application + "/" + store }

// Acquire gives the caller the use of a store until Release: the one that is open and idle, or the
// one on disk, or a new one. memoryWanted is called, on any goroutine, when the caller should cut
// early so that memory can be freed, or when the store turned out to be damaged
// (storage.Damageable). It must not block, and may be nil. A file that is already known to be
// damaged is moved aside.
func (d *Directory) Acquire(name Name, kind Kind, memoryWanted func()) (storage.Engine, lsm.Info, error) {
	if err := checkName("store", name.Store); err != nil {
		return nil, lsm.Info{}, err
	}
	if kind == OnDisk && d.path == "" {
		return nil, lsm.Info{}, fmt.Errorf("store %s: there is no state directory", name)
	}
	entry, isOpen, maintained, err := d.reserve(name, kind)
	for maintained != nil { // a task does not fail because its store is being closed as an idle one just now
		<-maintained
		entry, isOpen, maintained, err = d.reserve(name, kind)
	}
	if err != nil {
		return nil, lsm.Info{}, err
	}
	var info lsm.Info
	if isOpen {
		b, ok := entry.engine.(*lsm.Engine)
		if !ok || b.Damaged() == nil {
			setCallbacks(entry.engine, memoryWanted)
			return entry.engine, lsm.Info{}, nil
		}
		info, err = d.quarantine(name, b) // a flush has found damage while it was idle
	}
	var engine storage.Engine
	if err == nil {
		engine, info, err = d.open(name, kind, info)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.stores, name)
		return nil, info, err
	}
	setCallbacks(engine, memoryWanted)
	entry.engine = engine
	return engine, info, nil
}

// reserve marks a store as in use, and reports whether it has an engine already. The caller, who
// has the store alone then, opens it without mu (invariant 2). While the directory has the store
// itself, it returns a channel to wait for.
func (d *Directory) reserve(n Name, kind Kind) (e *openStore, isOpen bool, maintained chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, isOpen = d.stores[n]
	switch {
	case d.closed:
		return nil, false, nil, fmt.Errorf("store %s: state directory is closed", n)
	case isOpen && e.maintained != nil:
		return nil, false, e.maintained, nil
	case isOpen && (e.inUse || e.engine == nil):
		return nil, false, nil, fmt.Errorf("store %s is in use by another task", n)
	case isOpen && e.kind != kind:
		return nil, false, nil, fmt.Errorf("store %s is open as another kind", n)
	case !isOpen:
		e = &openStore{kind: kind}
		d.stores[n] = e
	}
	e.inUse = true
	return e, isOpen, nil, nil
}

// open opens a store. before is what quarantine returned of the file that was there, if it was
// damaged.
func (d *Directory) open(n Name, kind Kind, before lsm.Info) (storage.Engine, lsm.Info, error) {
	if kind == InMemory {
		return memtable.New(d.budget), lsm.Info{}, nil
	}
	onFlush, err := d.replaceEarlier(n)
	if err != nil {
		return nil, lsm.Info{}, fmt.Errorf("store %s: %w", n, err)
	}
	e, info, err := lsm.Open(lsm.Options{
		Path: d.storePath(n), Store: Identity(d.application, n.Store), Partition: n.Partition,
		Budget: d.budget, PageSize: d.options.PageSize, NoSync: d.options.NoSync,
		FileBytes: d.options.FileBytes, Factor: d.options.Factor, MaxRuns: d.options.MaxRuns,
		ReplayBytes: d.options.ReplayBytes, Slots: d.flushSlots, MergeSlots: d.mergeSlots, Pace: d.pace,
		OnFlush: onFlush, OnMerge: d.options.OnMerge, Hook: d.options.Hook, Crashed: d.options.Crashed,
	})
	if info.Reason == "" {
		info = before
	} else {
		d.reportDamage(n, info)
	}
	return e, info, err
}

// quarantine closes a damaged store and moves the file aside that is damaged. The caller has the store alone.
func (d *Directory) quarantine(n Name, e *lsm.Engine) (lsm.Info, error) {
	info, err := e.Discard()
	if err != nil {
		return info, fmt.Errorf("store %s: %w", n, err)
	}
	d.reportDamage(n, info)
	return info, nil
}

func (d *Directory) reportDamage(n Name, info lsm.Info) {
	if d.options.OnDamage != nil {
		d.options.OnDamage(Damage{Name: n, File: info.File, MovedTo: info.Quarantined, Reason: info.Reason})
	}
}

// closeStore closes a store, and moves the file aside that is damaged, if one is. The last flush may have
// found that. The caller has the store alone.
func (d *Directory) closeStore(n Name, e storage.Engine, flush bool) error {
	b, ok := e.(*lsm.Engine)
	if !ok {
		return e.Close(flush)
	}
	var err error
	if b.Damaged() == nil {
		err = e.Close(flush)
	}
	if b.Damaged() != nil {
		_, err = d.quarantine(n, b) // what the flush said is the reason
	}
	return err
}

// setCallbacks sets what an engine calls when its memory is wanted, and when it finds damage.
func setCallbacks(engine storage.Engine, callback func()) {
	if b, ok := engine.(*lsm.Engine); ok {
		b.OnPressure(callback)
		if callback == nil {
			callback = func() {}
		}
		b.OnDamage(callback)
	}
}

func dropCached(e storage.Engine) {
	if b, ok := e.(*lsm.Engine); ok {
		b.Trim()
	}
}

// Release ends the use of a store. The caller must not use the engine any more.
//
// With stayOpen what is not settled is undone, the rest is written in the background, and the store
// stays open for IdleTime. Its Position is forgotten, but for that of its files. Without, it is closed
// at once, and the next restore reads what is not on disk from the changelog: that is for work that was
// lost and cannot be undone. A store in memory is always closed. A file that is damaged is moved aside, and
// the store's others are removed.
func (d *Directory) Release(name Name, stayOpen bool, now time.Time) error {
	return d.release(name, stayOpen, false, false, now)
}

// ReleaseSettled is Release for a store of which nothing is unsettled, all of whose rows are in the changelog
// up to the engine's Position: whoever acquires it next may continue there. So a store in memory may stay open,
// too. That takes as much memory as its rows do, so only with inMemory.
func (d *Directory) ReleaseSettled(name Name, inMemory bool, now time.Time) error {
	return d.release(name, true, true, inMemory, now)
}

func (d *Directory) release(name Name, stayOpen, positioned, inMemory bool, now time.Time) error {
	d.mu.Lock()
	entry := d.stores[name]
	if entry == nil || !entry.inUse || entry.engine == nil {
		d.mu.Unlock()
		return fmt.Errorf("store %s is released but not in use", name)
	}
	engine := entry.engine
	entry.engine = nil // busy
	d.mu.Unlock()

	setCallbacks(engine, nil)
	b, onDisk := engine.(*lsm.Engine)
	_, known := engine.Position()
	stayOpen = stayOpen && (onDisk && b.Damaged() == nil || !onDisk && inMemory && known)
	var err error
	if stayOpen {
		// What was settled here may not be what the changelog has up to there: another process may have written between.
		if !positioned {
			engine.ForgetPosition()
		}
		// A flush that fails is tried again; Healthy returns its error meanwhile.
		err = engine.Undo()
		_ = engine.Flush(false)
	} else {
		err = d.closeStore(name, engine, false)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if stayOpen {
		entry.engine, entry.inUse, entry.idleSince = engine, false, now
	} else {
		delete(d.stores, name)
	}
	return err
}

// probeBytes are about what a small flush writes.
const probeBytes = 64 << 10

// Probe writes a file to the directory and removes it, so that Healthy knows of a full disk before
// anything has to be written. Only one goroutine may call it.
func (d *Directory) Probe() {
	if d.path == "" {
		return
	}
	path := filepath.Join(d.path, ".probe")
	err := safefile.ExplainDiskFull(path, probeBytes, safefile.Write(path, make([]byte, probeBytes)))
	if removeErr := os.Remove(path); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	if err != nil {
		err = fmt.Errorf("state directory: %w", err)
	}
	d.lastProbe.Store(&err)
}

// EachOpen calls f with each store on disk that is open, in use or not. f must not call d, and of an
// engine only what is safe from any goroutine.
func (d *Directory) EachOpen(f func(Name, *lsm.Engine)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, entry := range d.stores {
		if e, ok := entry.engine.(*lsm.Engine); ok {
			f(n, e)
		}
	}
}

// Healthy returns nil, or why flushes fail, or would fail.
func (d *Directory) Healthy() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if probed := d.lastProbe.Load(); probed != nil {
		err = *probed
	}
	for n, entry := range d.stores {
		if entry.engine == nil {
			continue
		}
		if flushErr := entry.engine.Healthy(); flushErr != nil {
			err = errors.Join(err, fmt.Errorf("store %s: %w", n, flushErr))
		}
	}
	return err
}

// List returns the stores that have files, open or not.
func (d *Directory) List() ([]Name, error) {
	if d.path == "" {
		return nil, nil
	}
	// No pattern is matched: the path is the user's, and may have brackets in it.
	stores, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	var names []Name
	var errs []error
	for _, storeDir := range stores {
		if checkName("store", storeDir.Name()) != nil { // our own files begin with a dot
			continue
		}
		path := filepath.Join(d.path, storeDir.Name())
		if info, err := os.Stat(path); err != nil || !info.IsDir() { // a store's directory may be a link to another disk
			continue
		}
		files, err := os.ReadDir(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("state directory: %w", err))
		}
		for _, f := range files {
			// A directory without a root is that of a store that died in its first flush.
			if p, ok := parsePartition(f.Name()); ok && lsm.Exists(filepath.Join(path, f.Name())) {
				names = append(names, Name{storeDir.Name(), p})
			}
		}
	}
	return names, errors.Join(errs...)
}

// parsePartition parses the name of a store partition's directory.
func parsePartition(s string) (int32, bool) {
	p, err := strconv.ParseInt(s, 10, 32)
	return int32(p), err == nil && strconv.FormatInt(p, 10) == s
}

// Close closes all stores and unlocks the directory. With flush it writes what is settled before
// that. Stores that are still in use are closed without a flush, and the error names them: who uses
// them must have stopped. A second call does nothing.
func (d *Directory) Close(flush bool) error {
	d.mu.Lock()
	stores, closed := d.stores, d.closed
	d.stores, d.closed = map[Name]*openStore{}, true
	d.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	for n, e := range stores {
		if e.engine == nil {
			continue
		}
		if e.inUse {
			err = errors.Join(err, fmt.Errorf("store %s is still in use", n))
		}
		err = errors.Join(err, d.closeStore(n, e.engine, flush && !e.inUse))
		if e.inUse {
			d.touch(n, time.Now())
		} else {
			d.touch(n, e.idleSince)
		}
	}
	d.budget.Close()
	// Last: another process may use the files from here on.
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}
