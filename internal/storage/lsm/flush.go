package lsm

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/run"
)

const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 10 * time.Second
	smallPages     = 1 << 20 // memtables below have small pages in their files
	smallPageSize  = 4 << 10
)

// FlushInfo says what a flush did.
type FlushInfo struct {
	Path  string
	Rows  int64 // tombstones are not counted
	Files int
	Bytes int64
	Took  time.Duration
	Err   error // the memtable stays, and the flush is tried again
}

// A flusher writes sealed memtables as runs, oldest first. Its goroutine runs while there are any.
type flusher struct {
	background
	e *Engine
	m *merger

	// Guarded by mu.
	queue   []*table
	current *table // being written
	on      storage.Checkpoint
	has     bool
}

func newFlusher(e *Engine) *flusher {
	return &flusher{background: newBackground(e.levels), e: e, m: e.merger, on: e.settled, has: e.has}
}

// add adds a table to the queue, and starts the goroutine unless it runs.
func (f *flusher) add(t *table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, t)
	f.launch(f.run)
}

// run flushes until the queue is empty. An attempt that fails is repeated after a pause, which gets
// longer each time.
func (f *flusher) run(done chan struct{}) {
	defer close(done)
	defer crashpoint.Catch(f.die)
	backoff := firstBackoff
	for t := f.next(); t != nil; t = f.next() {
		err := f.flush(t)
		if errors.Is(err, errEnding) {
			return
		}
		f.finish(t, err)
		switch {
		case err == nil:
			backoff = firstBackoff
		case errors.Is(err, crashpoint.Dead):
			f.die() // the merger met the crash point
			return
		case errors.Is(err, storage.ErrDamaged):
			return // the owner closes the store
		case !pause(backoff, f.ending, f.kick):
			return
		default:
			backoff = min(2*backoff, longestBackoff)
		}
	}
}

// next returns the oldest table; nil, and the goroutine's end, when there is none.
func (f *flusher) next() *table {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 || f.stopping {
		f.done = nil
		return nil
	}
	f.current = f.queue[0]
	return f.current
}

// finish notes how an attempt ended.
func (f *flusher) finish(t *table, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current = nil
	if err == nil {
		f.queue = f.queue[1:]
		if t.has {
			f.on, f.has = t.c, true
		}
		close(t.flushed)
		f.e.account.AddFlushing(-t.drained)
	}
	f.attemptEnded(err)
}

func (f *flusher) dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.died
}

// checkpoint returns the checkpoint on disk.
func (f *flusher) checkpoint() (storage.Checkpoint, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on, f.has
}

// newest returns the checkpoint that will be on disk when the queue is empty.
func (f *flusher) newest() (storage.Checkpoint, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.queue) - 1; i >= 0; i-- {
		if f.queue[i].has {
			return f.queue[i].c, true
		}
	}
	return f.on, f.has
}

// waitOnce waits for the end of the attempt under way, unless flushes are failing.
func (f *flusher) waitOnce() {
	f.mu.Lock()
	attempt, wait := f.attempt, len(f.queue) > 0 && f.err == nil
	f.mu.Unlock()
	if wait {
		<-attempt
	}
}

// waitAll waits until the queue is empty or an attempt that began or went on after the call has failed.
func (f *flusher) waitAll() error {
	for {
		f.mu.Lock()
		// Read together: the end of an attempt between the two would be missed, and no other may
		// come.
		attempt, left, died := f.attempt, len(f.queue), f.died
		f.mu.Unlock()
		switch err := f.l.damaged(); {
		case left == 0:
			return nil
		case died:
			return crashpoint.Dead
		case err != nil:
			return err
		}
		// Ends the pause after a failure: the caller wants to know whether a flush works now.
		f.wake()
		<-attempt
		if err := f.healthy(); err != nil {
			return err
		}
	}
}

// withdraw removes views from the queue, since their owner stops waiting: from here on it writes to
// their tables.
func (f *flusher) withdraw() {
	for {
		f.mu.Lock()
		attempt, busy := f.attempt, f.current != nil && f.current.view && !f.died
		if !busy {
			f.queue = slices.DeleteFunc(f.queue, func(t *table) bool { return t.view })
		}
		f.mu.Unlock()
		if !busy {
			return
		}
		<-attempt
	}
}

// stop ends the goroutine, and drops the queue.
func (f *flusher) stop() {
	f.end()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.queue {
		f.e.account.AddFlushing(-t.drained)
	}
	f.queue = nil
}

// errEnding ends an attempt because the store is being closed.
var errEnding = errors.New("closing")

// reset makes a flusher that was stopped ready for an empty store.
func (f *flusher) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.background.reset()
	f.current, f.on, f.has = nil, storage.Checkpoint{}, false
}

// flush writes a table as a run, and publishes a version with it.
func (f *flusher) flush(t *table) (err error) {
	// Before a slot is occupied: a store that waits for its merges would stop the flushes of all
	// others.
	if err := f.m.waitForRoom(f.ending); err != nil {
		return err
	}
	if err := enter(f.e.o.Slots, f.ending); err != nil {
		return err
	}
	defer leave(f.e.o.Slots)
	// The owner discards the store and restores it: a run that is written now would be discarded
	// too.
	if err := f.l.damaged(); err != nil {
		return err
	}
	start := time.Now()
	f.e.o.Hook.At(crashpoint.FlushBegin)
	written, err := f.write(t)
	err = safefile.ExplainDiskFull(f.l.o.Path, t.Bytes(), err)
	if err == nil {
		f.e.o.Hook.At(crashpoint.FlushDone)
		f.m.start()
	}
	// An attempt that stop has ended is not reported: it is not a flush that failed.
	if f.e.o.OnFlush != nil && !errors.Is(err, errEnding) {
		info := FlushInfo{Path: f.l.o.Path, Files: len(written), Took: time.Since(start), Err: err}
		for _, w := range written {
			info.Rows += w.Rows
			info.Bytes += w.Length
		}
		f.e.o.OnFlush(info)
	}
	return err
}

// write writes the rows of a table to files and lists them. The checkpoint moves with the list: it
// keeps invariant 2 of storage.Engine.
func (f *flusher) write(t *table) (written []run.Info, err error) {
	// A view has no ranges of its own. It would replace those of the last table by none, and merges
	// would write rows again that have expired.
	if !t.view {
		f.l.expire(t.expired)
	}
	pageSize := f.e.o.PageSize
	// A file has four pages at least, however few its rows are. An application has many small
	// stores.
	if t.Bytes() < smallPages {
		pageSize = min(pageSize, smallPageSize)
	}
	// At the bottom, tombstones are left out: there is no row for them to hide. The list stays
	// empty until the edit below, since this goroutine alone adds runs to it.
	var merge *run.Merge
	o := run.MergeOptions{
		FileBytes: f.e.o.FileBytes, Bottom: len(f.l.list()) == 0, Expired: t.expired, Stopped: f.isEnding,
	}
	f.l.segmentsOf(&o, t.Bytes())
	o.Create = func() (*run.Builder, error) {
		// What comes before all segments is a few rows that the store keeps of itself, in a file of their own.
		if o.Segment != nil && len(written) == 0 && merge.NextSegment() == (storage.Segment{}) {
			return f.l.create(min(pageSize, smallPageSize))
		}
		return f.l.create(pageSize)
	}
	merge, err = run.NewMerge([]run.Input{run.NewTable(t.Table, t.view)}, o)
	for err == nil {
		out, ok, failed := merge.Output()
		if err = failed; err != nil || !ok {
			break
		}
		written = append(written, out.Info)
		f.e.o.Hook.At(crashpoint.FlushHalf)
	}
	if err != nil {
		if errors.Is(err, run.ErrStopped) {
			err = errEnding
		}
		// No root lists the files of this attempt, and the next one writes others. They would stay
		// until the store is opened again, on a disk that may be full.
		return nil, errors.Join(err, f.l.remove(written))
	}
	// Without a checkpoint of its own, a table leaves the older one in the root: replay then begins
	// earlier, which is safe.
	var c *storage.Checkpoint
	if t.has {
		c = &t.c
	}
	err = f.l.edit(written, c, func(runs []listedRun) []listedRun {
		// In front: its rows hide those of all others. A table without rows writes no file. Its run
		// is then left out of the list, and only the checkpoint moves.
		x := listedRun{id: f.l.next.Add(1)}
		for _, info := range written {
			x.files = append(x.files, listedFile{info: info})
		}
		return withoutExpired(withoutHidden(x, runs), t.expired)
	})
	if err == nil && len(written) > 0 {
		for _, info := range written {
			f.l.flushed.Add(info.Length)
		}
		f.l.flushes.Add(1)
	}
	return written, err
}

// withoutHidden returns a new run and the older ones, without those of their files whose keys are known to be
// in a file of the new one: files of one or two rows, both of which have few. A store whose rows expire writes
// a file of what it knows of itself with each flush. The older ones would be runs, when all else in them
// has expired, that are merged with others.
func withoutHidden(x listedRun, runs []listedRun) []listedRun {
	if len(x.files) > 0 && isPair(&x.files[0].info) {
		newer := &x.files[0].info
		for i := range runs {
			runs[i].files = slices.DeleteFunc(slices.Clone(runs[i].files), func(f listedFile) bool {
				return isPair(&f.info) && hasEnd(newer, f.info.Smallest) && hasEnd(newer, f.info.Largest)
			})
		}
	}
	return append([]listedRun{x}, runs...)
}

// isPair reports whether a file has two rows at most: then all of its keys are known.
func isPair(i *run.Info) bool { return i.Rows+i.Tombstones <= 2 }

// hasEnd reports whether key is the first or the last one of a file.
func hasEnd(i *run.Info, key []byte) bool {
	return bytes.Equal(i.Smallest, key) || bytes.Equal(i.Largest, key)
}

// withoutExpired returns the runs without the files all of whose rows have expired: they are removed
// without being read.
func withoutExpired(runs []listedRun, ranges []memtable.Expiry) []listedRun {
	if len(ranges) == 0 {
		return runs
	}
	for i := range runs {
		runs[i].files = slices.DeleteFunc(slices.Clone(runs[i].files), func(f listedFile) bool {
			return slices.ContainsFunc(ranges, func(x memtable.Expiry) bool {
				return bytes.Compare(f.info.Smallest, x.From) >= 0 && bytes.Compare(f.info.Largest, x.To) < 0
			})
		})
	}
	return runs
}
