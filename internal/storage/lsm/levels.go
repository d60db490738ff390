package lsm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/run"
)

// levels are the runs of a store partition on disk.
//
// What a reader sees is a version: the runs at one moment. A flush or a merge replaces it as a whole.
// A version is counted by those who read it, a file by the versions that have it. The last one closes
// the file, and removes it if the root does not list it any more.
//
// Invariants:
//  1. The current version is what the root on disk lists, or what it will list after a power loss too:
//     a version is published after its root was renamed into place.
//  2. A file that some root on disk may list is never removed.
//  3. In the runs of a version the newest row of a key is in the first run that has the key.
type levels struct {
	o        *Options
	lock     chan struct{} // held for an edit; a channel, so that a simulation sees who waits
	current  atomic.Pointer[version]
	next     atomic.Uint64                    // the number of the next file or run
	files    atomic.Int64                     // that are open
	series   atomic.Pointer[storage.Series]   // that files note; nil: none
	segments atomic.Pointer[storage.Segments] // nil: none
	// scansReadRuns reports that scans of series read several runs each, lately.
	scansReadRuns atomic.Bool
	// flushing is set by the first flush since the store was opened. Before it, its owner may not have said what its
	// segments are, and no merge begins.
	flushing atomic.Bool

	// Guarded by lock.
	root    root
	expired []memtable.Expiry // the ranges that were declared last; rows in them may be dropped

	dead     atomic.Bool  // a crash point has ended the process: nothing is written or removed any more
	written  atomic.Int64 // bytes of run files since the store was opened
	flushed  atomic.Int64 // those of them that flushes wrote
	flushes  atomic.Int64 // that wrote them
	paced    atomic.Int64 // how long merges have waited for their pace, ns
	compared atomic.Int64 // pages of files that were closed, with their checksums
	damage   atomic.Pointer[error]
	onDamage atomic.Pointer[func()]
}

// An openFile is a run file that is mapped.
type openFile struct {
	*run.Reader
	versions atomic.Int64 // that have it
	obsolete atomic.Bool  // the root does not list it any more
}

// A version is the runs that a reader sees.
type version struct {
	readers atomic.Int64 // and 1 while it is the current one
	runs    []run.Files  // the newest first, none of them empty
	files   map[uint64]*openFile
	listed  []listedRun // as the root lists the runs; not to be changed
}

// openLevels opens what the root lists, and removes the other run files.
func openLevels(o *Options) (*levels, error) {
	l := &levels{o: o, lock: make(chan struct{}, 1)}
	if err := checkDir(o.Path); err != nil {
		return nil, err
	}
	r, there, err := readRoot(o)
	if err != nil {
		return nil, err
	}
	files := map[uint64]*openFile{}
	for _, x := range r.runs {
		// The number in into counts too: when all files that a merge has written have expired, no
		// run has it. A second run with that number would be treated as the output of the merge.
		l.raise(max(x.id, x.into))
		for _, f := range x.files {
			if err := l.open(files, f.info); err != nil {
				return nil, errors.Join(err, l.closeAll(files))
			}
		}
	}
	// After each listed file was opened: nothing is removed from a store that turns out to be
	// damaged.
	if err := removeUnlisted(o, files, there); err != nil {
		return nil, errors.Join(err, l.closeAll(files))
	}
	l.root = r
	l.publish(files)
	return l, nil
}

// checkDir returns an error when something else is where the directory of a store should be. A link
// is something else, too: the files behind it may be anybody's.
func checkDir(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%w: %q is not a directory (symbolic links are not followed)", storage.ErrDamaged, path)
	}
	return nil
}

func (l *levels) open(files map[uint64]*openFile, info run.Info) error {
	r, err := run.Open(l.path(info.Sequence), info)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, safefile.ErrNotRegular) {
		err = fmt.Errorf("%w: %w", storage.ErrDamaged, err) // the root lists it
	}
	if err != nil {
		return err
	}
	files[info.Sequence] = &openFile{Reader: r}
	// A merge goes on as soon as the store is open, and its files are to be as those that it merges.
	if s := r.Series(); s.Tail > 0 {
		l.series.Store(&s)
	}
	l.files.Add(1)
	l.raise(info.Sequence)
	return nil
}

// segmentsOf sets the segments of a merge of n bytes. Few rows stay together: a store with many small files
// would be read, and opened, more slowly.
func (l *levels) segmentsOf(o *run.MergeOptions, n int64) {
	if s := l.segments.Load(); s != nil && n >= l.o.segmentBytes() {
		o.Segment, o.SegmentBytes = s.Of, l.o.segmentBytes()
	}
}

// insertOnly reports whether rows are only inserted.
func (l *levels) insertOnly() bool {
	s := l.segments.Load()
	return s != nil && s.InsertOnly
}

// segmentBytes is about how many bytes a file has at least that ends with its segment.
func (o *Options) segmentBytes() int64 { return max(1, o.FileBytes/64) }

// raise makes the next number greater than n. The flusher and the merger take numbers meanwhile, each
// on its goroutine: a number that was taken between the load and a plain store would be taken once
// more, and one file would be written over the other.
func (l *levels) raise(n uint64) {
	for next := l.next.Load(); next < n && !l.next.CompareAndSwap(next, n); next = l.next.Load() {
	}
}

func (l *levels) closeAll(files map[uint64]*openFile) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
		l.files.Add(-1)
	}
	return err
}

// removeUnlisted removes what a flush or a merge has left that did not come to its end.
func removeUnlisted(o *Options, listed map[uint64]*openFile, there bool) error {
	entries, err := os.ReadDir(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for sequence := range listed {
		names[fileName(sequence)] = true
	}
	for _, e := range entries {
		if e.Name() == newRootName || strings.HasSuffix(e.Name(), ".run") && !names[e.Name()] {
			// Whatever it is: a directory that has something in it would keep the store from being opened.
			if err := os.RemoveAll(filepath.Join(o.Path, e.Name())); err != nil {
				return err
			}
		}
	}
	// Without a root, the store may be one whose Truncate was interrupted: the root was removed,
	// but the removal was not synced. A power loss later could bring back root and files with the
	// rows from before.
	if !there {
		return syncDir(o)
	}
	return nil
}

func fileName(sequence uint64) string { return fmt.Sprintf("%06d.run", sequence) }

func (l *levels) path(sequence uint64) string { return filepath.Join(l.o.Path, fileName(sequence)) }

// create begins a file.
func (l *levels) create(pageSize int) (*run.Builder, error) {
	if l.dead.Load() {
		return nil, crashpoint.Dead
	}
	if err := safefile.MakeDir(l.o.Path, !l.o.NoSync); err != nil {
		return nil, err
	}
	sequence := l.next.Add(1)
	id := run.Identity{Store: l.o.Store, Partition: l.o.Partition, Sequence: sequence}
	o := run.Options{PageSize: pageSize, NoSync: l.o.NoSync}
	if s := l.series.Load(); s != nil {
		o.Series = *s
	}
	return run.Create(l.path(sequence), id, o)
}

// publish makes the listed runs the current version, with the lock held. files are open, those that
// are listed and perhaps others.
func (l *levels) publish(files map[uint64]*openFile) {
	v := &version{files: map[uint64]*openFile{}, listed: l.root.runs}
	v.readers.Store(1)
	for _, x := range l.root.runs {
		var all run.Files
		for _, f := range x.files {
			open := files[f.info.Sequence]
			open.versions.Add(1)
			v.files[f.info.Sequence] = open
			all = append(all, run.File{Reader: open.Reader, After: f.after})
		}
		v.runs = append(v.runs, all)
	}
	if before := l.current.Swap(v); before != nil {
		l.release(before)
	}
}

// acquire returns the current version, to be released.
func (l *levels) acquire() *version {
	for {
		v := l.current.Load()
		for n := v.readers.Load(); n > 0; n = v.readers.Load() {
			if v.readers.CompareAndSwap(n, n+1) {
				return v
			}
		}
		// It was replaced and released after it was loaded.
	}
}

func (l *levels) release(v *version) {
	if v.readers.Add(-1) > 0 {
		return
	}
	for _, f := range v.files {
		if f.versions.Add(-1) > 0 {
			continue
		}
		path := f.Path()
		l.compared.Add(f.Compared())
		_ = f.Close()
		l.files.Add(-1)
		if f.obsolete.Load() && !l.dead.Load() {
			_ = removeIfThere(path) // a file that stays is removed when the store is opened
		}
	}
}

// edit changes the list of runs: change returns a new list, and must not change the old one. added are
// files that were written and are synced; they are removed when the list could not be changed. c is the
// new checkpoint, nil: the old one stays.
func (l *levels) edit(added []run.Info, c *storage.Checkpoint, change func([]listedRun) []listedRun) error {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	if l.dead.Load() {
		return crashpoint.Dead
	}
	files := map[uint64]*openFile{}
	before := l.acquire()
	defer l.release(before)
	defer func() { l.closeUnused(files) }()
	for sequence, f := range before.files {
		files[sequence] = f
	}
	for _, info := range added {
		if err := l.open(files, info); err != nil {
			l.closeUnused(files)
			return errors.Join(l.distrust(err), l.remove(added))
		}
	}
	r := l.root
	r.runs = withoutEmpty(change(slices.Clone(r.runs)))
	if c != nil {
		r.checkpoint, r.has = *c, true
	}
	l.o.Hook.At(crashpoint.RunsWritten)
	if err := safefile.MakeDir(l.o.Path, !l.o.NoSync); err != nil {
		l.closeUnused(files)
		return errors.Join(err, l.remove(added))
	}
	renamed, err := writeRoot(l.o, &r)
	if !renamed {
		l.closeUnused(files)
		return errors.Join(err, l.remove(added))
	}
	if err == nil {
		// Before the list changes: when the goroutine dies here, the list stays that of the version. The
		// other goroutine may be about to merge what is in it.
		l.o.Hook.At(crashpoint.RootReplaced)
	}
	l.root = r
	for _, info := range added {
		l.written.Add(info.Length)
	}
	// When the rename is not synced, the old root may be back after a power loss: its files stay.
	if err == nil {
		l.markObsolete(before.files)
	}
	l.publish(files)
	return err
}

// closeUnused closes the files that no version has.
func (l *levels) closeUnused(files map[uint64]*openFile) {
	for sequence, f := range files {
		if f.versions.Load() == 0 {
			_ = f.Close() // a map that stays costs addresses, nothing else
			l.files.Add(-1)
			delete(files, sequence)
		}
	}
}

// remove removes files that were never listed.
func (l *levels) remove(added []run.Info) (err error) {
	for _, info := range added {
		err = errors.Join(err, removeIfThere(l.path(info.Sequence)))
	}
	return err
}

// markObsolete marks the files that the root does not list any more.
func (l *levels) markObsolete(files map[uint64]*openFile) {
	listed := map[uint64]bool{}
	for _, x := range l.root.runs {
		for _, f := range x.files {
			listed[f.info.Sequence] = true
		}
	}
	for sequence, f := range files {
		if !listed[sequence] {
			f.obsolete.Store(true)
		}
	}
}

func withoutEmpty(runs []listedRun) []listedRun {
	return slices.DeleteFunc(runs, func(x listedRun) bool { return len(x.files) == 0 })
}

// list returns the list of runs. It must not be changed.
func (l *levels) list() []listedRun {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	return l.root.runs
}

// snapshot returns the current version, to be released, its list of runs, and the ranges that have
// expired.
func (l *levels) snapshot() (*version, []listedRun, []memtable.Expiry) {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	return l.acquire(), l.root.runs, l.expired
}

// expire notes ranges whose rows may be dropped.
func (l *levels) expire(ranges []memtable.Expiry) {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	l.expired = ranges
}

// maxTouched is in how many runs a read touches the filters first: few stores have more.
const maxTouched = 16

// get appends the row of key to buf, eight bytes of time and the value. It returns nil when there is
// none.
func (l *levels) get(buf, key []byte) (stored []byte, err error) {
	v := l.acquire()
	defer l.release(v)
	return l.getIn(v, buf, key, nil)
}

// getIn is get in a version that the caller has acquired. place, when not nil, is where the row of key was
// found in this version.
func (l *levels) getIn(v *version, buf, key []byte, place *place) (stored []byte, err error) {
	var at *run.File // which is read
	fault := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(fault)
		if p := recover(); p != nil {
			if at == nil {
				panic(p)
			}
			stored, err = nil, l.distrust(at.Damage(p))
		}
	}()
	if place != nil {
		at = place.file
		switch row, state := at.At(buf, key, place.row); state {
		case memtable.Live:
			return row, nil
		case memtable.Deleted:
			return nil, nil
		}
	}
	hash := run.Hash(key)
	var inRuns [maxTouched]*run.File
	for i, files := range v.runs[:min(len(v.runs), maxTouched)] {
		if at = files.For(key); at != nil {
			at.Touch(hash)
		}
		inRuns[i] = at
	}
	for i, files := range v.runs {
		if i < maxTouched {
			at = inRuns[i]
		} else {
			at = files.For(key)
		}
		if at == nil {
			continue
		}
		switch row, state := at.Find(buf, key, hash); state {
		case memtable.Live:
			return row, nil
		case memtable.Deleted:
			return nil, nil
		}
	}
	return nil, nil
}

// damaged returns why the files cannot be trusted, nil while nothing is known.
func (l *levels) damaged() error {
	if err := l.damage.Load(); err != nil {
		return *err
	}
	return nil
}

// distrust notes damage, the first counts, and returns the damage that is known.
func (l *levels) distrust(err error) error {
	if !errors.Is(err, storage.ErrDamaged) {
		return err
	}
	if !l.damage.CompareAndSwap(nil, &err) {
		return l.damaged()
	}
	if f := l.onDamage.Load(); f != nil {
		(*f)()
	}
	return err
}

// maps reports whether an address lies in the map of a file.
func (l *levels) maps(addr uintptr) bool {
	v := l.acquire()
	defer l.release(v)
	for _, f := range v.files {
		if f.Maps(addr) {
			return true
		}
	}
	return false
}

// suspect returns the file that is damaged, the root when it is no other.
func (l *levels) suspect() string {
	v := l.acquire()
	defer l.release(v)
	for _, f := range v.files {
		if f.Damaged() != nil {
			return f.Path()
		}
	}
	return rootPath(l.o)
}

// truncate removes all files. The root goes first: without it the others are none of the store's.
func (l *levels) truncate() error {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	err := removeIfThere(rootPath(l.o))
	l.root, l.expired = root{}, nil
	l.markObsolete(l.current.Load().files)
	l.publish(nil)
	return errors.Join(err, removeStore(l.o))
}

// close releases the current version. Nobody reads any more.
func (l *levels) close() {
	empty := &version{}
	empty.readers.Store(1)
	l.release(l.current.Swap(empty))
}

// noted returns err, and notes it when it is damage.
func (l *levels) noted(err error) error {
	if errors.Is(err, storage.ErrDamaged) {
		return l.distrust(err)
	}
	return err
}
