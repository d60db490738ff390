package lsm

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/run"
)

// plan returns which runs of a list are to be merged, as [from, to), the newest first; none when from
// is to.
//
//  1. Among the runs above, Factor and more that are of one tier or smaller: tiers grow by Factor, so a
//     row is written about once for each of them. This comes before a merge that was begun further
//     down, which may take long: the number of runs grows meanwhile.
//  2. A merge that was begun, whatever the sizes are now.
//  3. All runs, when those above the oldest have a part of its size: that bounds the space of rows that
//     were replaced. In a store of few files they may have more, which are few bytes, and merging all at
//     each second flush would write each row several times.
//
// With lazy there is one reason to merge runs, that there are too many of them. All are in tiers, which have
// more runs each, and there is no rule 3 but for their number. What expires leaves them before most are merged.
func plan(runs []listedRun, o *Options, lazy bool) (from, to int) {
	factor, begun := o.Factor, slices.IndexFunc(runs, func(x listedRun) bool { return x.into != 0 })
	// Runs behind a merge that was begun belong to that merge or are older than it. Without one,
	// the oldest run is left out: it has most of the store, and only rule 3 writes it again.
	above := begun
	if begun < 0 {
		above = max(0, len(runs)-1)
	}
	if lazy {
		factor *= moreRuns
		if begun < 0 {
			above = len(runs)
		}
	}
	for from = range above {
		tier := o.tier(runs[from].bytes())
		// A smaller run that stands between larger ones is merged along: only neighbours can be
		// merged, since the order of runs says which row of a key is the newest.
		for to = from + 1; to < above && o.tier(runs[to].bytes()) <= tier; to++ {
		}
		if to-from >= factor {
			return from, to
		}
	}
	if begun >= 0 {
		for to = begun + 1; to < len(runs) && runs[to].into == runs[begun].into; to++ {
		}
		return begun, to
	}
	if lazy {
		if len(runs) > moreRuns*o.MaxRuns/2 {
			return 0, len(runs)
		}
		return 0, 0
	}
	if above == 0 {
		return 0, 0
	}
	size := bytesOf(runs[:above])
	// The second reason: many runs of different tiers, none with Factor neighbours. At MaxRuns
	// flushes would wait, so a merge of all begins at half of it.
	if size > max(runs[above].bytes()*spacePercent/100, 2*o.FileBytes) || len(runs) > o.MaxRuns/2 {
		return 0, len(runs)
	}
	return 0, 0
}

// moreRuns is how many times as many runs there are when they are merged lazily.
const moreRuns = 4

// plan is plan for the store of l. To merge rows that are only inserted saves no space, and no reads while
// most scans end in memory, or in the newest run. Before the first flush only a merge that was begun goes on.
func (l *levels) plan(runs []listedRun) (from, to int) {
	if !l.flushing.Load() && !slices.ContainsFunc(runs, func(x listedRun) bool { return x.into != 0 }) {
		return 0, 0
	}
	return plan(runs, l.o, l.insertOnly() && !l.scansReadRuns.Load())
}

// maxRuns returns with how many runs flushes wait for merges.
func (l *levels) maxRuns() int {
	if l.insertOnly() {
		return moreRuns * l.o.MaxRuns
	}
	return l.o.MaxRuns
}

// room returns how many runs there may be more until merges have to hurry.
func (l *levels) room() int { return l.maxRuns()/2 - len(l.list()) }

// spacePercent is how much the runs above the oldest may have of its size.
const spacePercent = 30

// tier returns the tier of a run of n bytes.
func (o *Options) tier(n int64) (t int) {
	for size := max(1, o.FileBytes/256); size < n; size *= int64(o.Factor) {
		t++
	}
	return t
}

func (x *listedRun) bytes() (n int64) {
	for _, f := range x.files {
		n += f.info.Length
	}
	return n
}

func bytesOf(runs []listedRun) (n int64) {
	for _, x := range runs {
		n += x.bytes()
	}
	return n
}

// A merger merges runs on a goroutine that runs while there is something to merge. The end of an attempt
// means that the list of runs has changed, or that the merge has failed.
type merger struct {
	background

	// What OnMerge reports of merges under way, by the run that they make, and the one that went on
	// last. A long merge is interrupted by short ones. The goroutine's.
	under map[uint64]*underWay
	last  *underWay

	again bool // the list has changed since the last plan; guarded by mu
}

func newMerger(l *levels) *merger {
	return &merger{background: newBackground(l), under: map[uint64]*underWay{}}
}

// start makes the goroutine look at the list of runs. Called after each change of it.
func (m *merger) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.again = true
	m.wake()
	m.launch(m.run)
}

// reset makes a merger that was stopped ready for an empty store.
func (m *merger) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.background.reset()
	m.under, m.last = map[uint64]*underWay{}, nil
}

// run merges until nothing is to be merged.
func (m *merger) run(done chan struct{}) {
	defer close(done)
	defer crashpoint.Catch(m.die)
	backoff := firstBackoff
	for m.next() {
		err := m.merge()
		if errors.Is(err, run.ErrStopped) {
			m.finish(nil)
			continue
		}
		m.finish(err)
		if err != nil && !errors.Is(err, crashpoint.Dead) {
			m.notify(MergeFails, err)
		}
		switch {
		case err == nil:
			backoff = firstBackoff
		case errors.Is(err, storage.ErrDamaged), errors.Is(err, crashpoint.Dead):
			return // the owner closes the store
		case !pause(backoff, m.ending, m.kick):
			return
		default:
			backoff = min(2*backoff, longestBackoff)
		}
	}
}

// next reports whether there is something to merge, and ends the goroutine otherwise.
func (m *merger) next() bool {
	for {
		m.mu.Lock()
		m.again = false
		m.mu.Unlock()
		from, to := m.l.plan(m.l.list())
		m.mu.Lock()
		if from < to && !m.stopping {
			m.mu.Unlock()
			return true
		}
		if !m.again || m.stopping {
			m.done = nil
			m.mu.Unlock()
			return false
		}
		m.mu.Unlock()
	}
}

// An underWay is a merge that has begun.
type underWay struct {
	began   time.Time
	info    MergeInfo
	bytes   int64 // that it read when it began
	written int64
	flushed int64 // by flushes until then
}

// notify reports what becomes of the merge that went on last.
func (m *merger) notify(event MergeEvent, err error) {
	i := MergeInfo{}
	if m.last != nil { // else it has failed before it began
		i = m.last.info
		i.Took = time.Since(m.last.began)
	}
	i.Event, i.Err = event, err
	m.l.notify(i)
}

// finish notes how a step has ended.
func (m *merger) finish(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attemptEnded(err)
}

// waitForRoom waits until there are few enough runs for another one: reads look into each of them. It
// returns when merges fail, too: their errors are shown, and rows in files are better than in memory.
func (m *merger) waitForRoom(ending <-chan struct{}) error {
	m.l.flushing.Store(true)
	var waiting time.Time // since when; zero: not at all
	for {
		m.mu.Lock()
		changed, err := m.attempt, m.err
		m.mu.Unlock()
		runs := len(m.l.list())
		if runs < m.l.maxRuns() || err != nil {
			if !waiting.IsZero() {
				m.l.notify(MergeInfo{Event: MergesCaughtUp, Runs: runs, Took: time.Since(waiting)})
			}
			return nil
		}
		if waiting.IsZero() {
			waiting = time.Now()
			defer m.l.o.Pace.hurry()()
			m.l.notify(MergeInfo{Event: MergesBehind, Runs: runs})
		}
		m.start()
		select {
		case <-changed:
		case <-ending:
			m.l.notify(MergeInfo{Event: MergesLeft, Runs: runs, Took: time.Since(waiting)})
			return errEnding
		}
	}
}

// enter waits for the merger's place in MergeSlots.
func (m *merger) enter() error {
	if m.l.room() <= 0 {
		defer m.l.o.Pace.hurry()()
	}
	return enter(m.l.o.MergeSlots, m.ending)
}

// merge merges a part of the runs that are to be merged: up to the first file that it writes. Then it
// changes the list: the output run has the file, and the inputs begin behind it. So a merge holds no
// files of its inputs longer than that, can end anywhere, and goes on after a restart where it ended.
func (m *merger) merge() error {
	if err := m.enter(); err != nil {
		return run.ErrStopped
	}
	defer leave(m.l.o.MergeSlots)
	// One call for all three: filesOf looks for files of the list in the version, which an edit
	// between two calls could have replaced.
	v, runs, expired := m.l.snapshot()
	defer m.l.release(v)
	// next has planned already, but flushes may have added runs while this goroutine waited for its
	// slot.
	from, to := m.l.plan(runs)
	if from == to {
		return nil
	}
	// A merge that was begun goes on under its number, which the root has: its next file belongs to
	// the same output run.
	into := runs[from].into
	if into == 0 {
		m.l.o.Hook.At(crashpoint.MergeBegin)
		into = m.l.next.Add(1)
	}
	if m.last = m.under[into]; m.last == nil {
		m.last = &underWay{
			began: time.Now(), info: MergeInfo{Runs: to - from},
			bytes: bytesOf(runs[from:to]), flushed: m.l.flushed.Load(),
		}
		m.under[into] = m.last
		m.notify(MergeBegins, nil)
	}
	var inputs []run.Input
	for _, x := range runs[from:to] {
		w := &run.Walk{}
		// Verifying, though readers may have compared the page before: a page that has changed
		// since then would get a new checksum in the output, and be right for ever.
		w.Start(v.filesOf(x), storage.Range{}, true)
		inputs = append(inputs, w)
	}
	// The output run is behind its inputs too, but has other keys: it has no row that a tombstone
	// must hide.
	older := slices.ContainsFunc(runs[to:], func(x listedRun) bool { return x.id != into })
	step := mergeStep{m: m, into: into, inputs: idsOf(runs[from:to])}
	o := run.MergeOptions{
		Create:    func() (*run.Builder, error) { return m.l.create(m.l.o.PageSize) },
		FileBytes: m.l.o.FileBytes, Bottom: !older, Expired: expired, Stopped: m.isEnding,
	}
	m.l.segmentsOf(&o, bytesOf(runs[from:to]))
	if m.l.o.Pace != nil {
		o.Pace = m.pace
	}
	merge, err := run.NewMerge(inputs, o)
	if err == nil {
		err = step.run(merge)
	}
	return safefile.ExplainDiskFull(m.l.o.Path, m.l.o.FileBytes, m.l.noted(err))
}

// filesOf returns the files of a run that was listed when v was the current version.
func (v *version) filesOf(x listedRun) (files run.Files) {
	for _, f := range x.files {
		files = append(files, run.File{Reader: v.files[f.info.Sequence].Reader, After: f.after})
	}
	return files
}

func idsOf(runs []listedRun) (ids []uint64) {
	for _, x := range runs {
		ids = append(ids, x.id)
	}
	return ids
}

// A mergeStep is what one call of merge does.
type mergeStep struct {
	m      *merger
	into   uint64
	inputs []uint64
}

// run writes a file, and lists it with the files before it that were moved.
func (s *mergeStep) run(merge *run.Merge) error {
	var outputs []run.Output
	for {
		out, ok, err := merge.Output()
		if err != nil {
			return err
		}
		if !ok {
			return s.list(outputs, nil)
		}
		outputs = append(outputs, out)
		if out.Moved == nil || len(outputs) == maxMoved {
			return s.list(outputs, merge.After())
		}
	}
}

// maxMoved is how many files are moved before the list is written.
const maxMoved = 64

// list changes the list of runs: outputs are files of the run s.into, and the inputs begin after a key;
// nil: nothing is left of them.
func (s *mergeStep) list(outputs []run.Output, after []byte) error {
	var added []run.Info
	for _, out := range outputs {
		if out.Moved == nil {
			added = append(added, out.Info)
		}
	}
	left := true // something of what is merged is in the list
	err := s.m.l.edit(added, nil, func(runs []listedRun) []listedRun {
		present := map[uint64]bool{}
		last := -1
		var output listedRun
		for i := range runs {
			if slices.Contains(s.inputs, runs[i].id) {
				for _, f := range runs[i].files {
					present[f.info.Sequence] = true
				}
				runs[i] = runs[i].behind(after, s.into)
				last = i
			}
			if runs[i].id == s.into {
				output = runs[i]
			}
		}
		output = listedRun{id: s.into, files: slices.Clone(output.files)}
		for _, out := range outputs {
			if out.Moved == nil || present[out.Info.Sequence] { // else it has expired meanwhile
				output.files = append(output.files, listedFile{info: out.Info})
			}
		}
		if i := slices.IndexFunc(runs, func(x listedRun) bool { return x.id == s.into }); i >= 0 {
			runs[i] = output
			return runs
		}
		// Flushes have taken all inputs from the list meanwhile: their rows have expired, or newer runs have their keys.
		// The same is true of the output then, and in front of the newer runs it would hide them.
		if left = last >= 0; !left {
			return runs
		}
		// Behind the inputs: their keys are others, so any place among them would do.
		return slices.Insert(runs, last+1, output)
	})
	if !left {
		err = errors.Join(err, s.m.l.remove(added))
		added = nil
	}
	if err != nil {
		return err
	}
	for _, info := range added {
		s.m.last.info.Rows += info.Rows
		s.m.last.info.Bytes += info.Length
	}
	if slices.ContainsFunc(s.m.l.list(), func(x listedRun) bool { return slices.Contains(s.inputs, x.id) }) {
		s.m.l.o.Hook.At(crashpoint.MergeHalf)
	} else {
		s.m.l.o.Hook.At(crashpoint.MergeDone)
		s.m.notify(MergeEnds, nil)
		delete(s.m.under, s.into)
	}
	return nil
}

// behind returns the run without the keys up to after, as an input of the run into.
func (x listedRun) behind(after []byte, into uint64) listedRun {
	rest := listedRun{id: x.id, into: into}
	for _, f := range x.files {
		switch {
		case after == nil || bytes.Compare(f.info.Largest, after) <= 0:
			continue
		case bytes.Compare(f.info.Smallest, after) <= 0:
			f.after = after
		}
		rest.files = append(rest.files, f)
	}
	return rest
}

// pause waits, and reports whether it was not ended.
func pause(d time.Duration, ending, kick <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-kick:
	case <-ending:
		return false
	}
	return true
}

// enter waits for a place in slots; nil: there is always one.
func enter(slots chan struct{}, ending <-chan struct{}) error {
	if slots == nil {
		return nil
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-ending:
		return errEnding
	}
}

func leave(slots chan struct{}) {
	if slots != nil {
		<-slots
	}
}
