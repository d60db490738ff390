package segmented_test

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

// line is a row as the model and the store are compared.
type line struct {
	key        string
	start, end int64
	seq        int // orders duplicates in the model
	value      string
	time       int64
}

// rows is the model of windows and sessions: what was put, expired or not.
type rows struct {
	*randomHistory
	session  bool
	all      []line
	observed int64
	before   []snapshot // of the epochs that are not settled, the oldest first
}

type snapshot struct {
	all      []line
	observed int64
}

func (r *rows) snapshot() snapshot { return snapshot{slices.Clone(r.all), r.observed} }

func (r *rows) at(l line) int64 {
	if r.session {
		return l.end
	}
	return l.start
}

func (r *rows) visible(f func(line) bool, order func(a, b line) int) []line {
	out := []line{}
	for _, l := range r.all {
		if r.at(l) > r.observed-retention && f(l) {
			l.seq, out = 0, append(out, l)
		}
	}
	slices.SortStableFunc(out, order)
	return out
}

func byKey(a, b line) int { return cmp.Or(cmp.Compare(a.key, b.key), byTime(a, b)) }

func byTime(a, b line) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.start, b.start)) }

func byTimeKey(a, b line) int {
	return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.key, b.key), cmp.Compare(a.start, b.start))
}

func collect(t testing.TB, seq iter.Seq2[storage.WindowEntry, error]) []line {
	out := []line{}
	for e, err := range seq {
		require.NoError(t, err)
		out = append(out, line{string(e.Key), e.Start, e.End, 0, string(e.Value), e.Time})
	}
	return out
}

func (r *rows) write(l line, delete bool) {
	isPresent := func(x line) bool {
		return x.key == l.key && x.start == l.start && x.end == l.end && r.at(x) > r.observed-retention
	}
	if delete && r.spec.Duplicates && !slices.ContainsFunc(r.all, isPresent) {
		return // nothing is deleted, and nothing goes to the changelog
	}
	r.observed = max(r.observed, r.at(l))
	if r.at(l) <= r.observed-retention {
		return
	}
	if !r.spec.Duplicates || delete {
		r.all = slices.DeleteFunc(r.all, func(x line) bool { return x.key == l.key && x.start == l.start && x.end == l.end })
	}
	if !delete {
		r.all = append(r.all, l)
	}
}

const size = 20

func (r *rows) line() line {
	l := line{key: string(r.key()), value: string(r.value()), time: r.rand.Int64N(1000)}
	l.start = r.time()
	l.end = l.start + size
	if r.session {
		l.end = l.start + r.rand.Int64N(3)*7
		l.time = l.end
	}
	return l
}

func (r *rows) put() {
	l := r.line()
	var written bool
	var err error
	if r.session {
		written, err = r.handle().Sessions.Put([]byte(l.key), l.start, l.end, []byte(l.value), 5)
	} else {
		written, err = r.handle().Windows.Put([]byte(l.key), l.start, []byte(l.value), l.time)
	}
	require.NoError(r.t, err)
	r.write(l, false)
	require.Equal(r.t, r.at(l) > r.observed-retention, written)
	r.observeStreamTime()
}

// observeStreamTime has a store with an index by time expire rows as others do.
func (r *rows) observeStreamTime() {
	switch h := r.handle(); {
	case !r.spec.ByTime:
	case r.session:
		require.NoError(r.t, h.Sessions.Observe(r.observed))
	default:
		require.NoError(r.t, h.Windows.Observe(r.observed))
	}
}

// some returns a row that is there, or any.
func (r *rows) some() line {
	if len(r.all) > 0 && r.rand.IntN(5) > 0 {
		return r.all[r.rand.IntN(len(r.all))]
	}
	return r.line()
}

func (r *rows) delete() {
	l := r.some()
	if r.session {
		require.NoError(r.t, r.handle().Sessions.Delete([]byte(l.key), l.start, l.end, 5))
	} else {
		require.NoError(r.t, r.handle().Windows.Delete([]byte(l.key), l.start, 5))
	}
	r.write(l, true)
	r.observeStreamTime()
}

func (r *rows) get() {
	l := r.some()
	want := r.visible(func(x line) bool { return x.key == l.key && x.start == l.start && x.end == l.end }, byTime)
	var v []byte
	var ok bool
	var err error
	if r.session {
		v, ok, err = r.handle().Sessions.Get([]byte(l.key), l.start, l.end)
	} else {
		var at int64
		v, at, ok, err = r.handle().Windows.Get([]byte(l.key), l.start)
		if ok {
			require.Equal(r.t, want[len(want)-1].time, at)
		}
	}
	require.NoError(r.t, err)
	require.Equal(r.t, len(want) > 0, ok)
	if ok {
		require.Equal(r.t, want[len(want)-1].value, string(v))
	}
}

func (r *rows) span() (from, to int64) {
	from = r.time()
	to = from + r.rand.Int64N(100) - 5
	switch r.rand.IntN(5) {
	case 0:
		from = math.MinInt64
	case 1:
		to = math.MaxInt64
	}
	return from, to
}

// keys is a range of keys, which may be empty.
func (r *rows) keys() storage.Range {
	k := storage.Range{Backward: r.rand.IntN(2) == 0, FromAfter: r.rand.IntN(2) == 0, ToBefore: r.rand.IntN(2) == 0}
	if r.rand.IntN(3) == 0 {
		k.From = r.key()
	}
	if r.rand.IntN(3) == 0 {
		k.To = r.key()
	}
	return k
}

func (r *rows) fetch() {
	from, to := r.span()
	key := string(r.key())
	backward := r.rand.IntN(2) == 0
	want := r.visible(func(l line) bool { return l.key == key && r.within(l, from, to) }, byTime)
	if backward {
		slices.Reverse(want)
	}
	if r.session {
		require.Equal(r.t, want, collect(r.t, r.handle().Sessions.Find([]byte(key), from, to, backward)))
		return
	}
	require.Equal(r.t, want, collect(r.t, r.handle().Windows.Fetch([]byte(key), from, to, backward)))
}

// within is what bounds of a scan mean: of windows both are for starts, of sessions the first is
// for ends and the second for starts.
func (r *rows) within(l line, from, to int64) bool {
	if r.session {
		return l.end >= from && l.start <= to
	}
	return l.start >= from && l.start <= to
}

func (r *rows) scan() {
	from, to := r.span()
	keys := r.keys()
	want := r.visible(func(l line) bool { return keys.Contains([]byte(l.key)) && r.within(l, from, to) }, byKey)
	if keys.Backward {
		slices.Reverse(want)
	}
	timely := r.visible(func(l line) bool { return r.at(l) >= from && r.at(l) <= to }, byTimeKey)
	h := r.handle()
	if r.session {
		require.Equal(r.t, want, collect(r.t, h.Sessions.All(keys, from, to)))
		require.Equal(r.t, timely, collect(r.t, h.Sessions.ByTime(from, to)))
		require.Equal(r.t, r.observed, h.Sessions.ObservedTime())
		return
	}
	require.Equal(r.t, want, collect(r.t, h.Windows.All(keys, from, to)))
	require.Equal(r.t, timely, collect(r.t, h.Windows.ByTime(from, to)))
	require.Equal(r.t, r.observed, h.Windows.ObservedTime())
}

// deleteAll deletes rows while it scans, as merging sessions may.
func (r *rows) deleteAll() {
	key := string(r.key())
	if r.session {
		s := r.handle().Sessions
		for e, err := range s.Find([]byte(key), r.observed-30, r.observed, false) {
			require.NoError(r.t, err)
			require.NoError(r.t, s.Delete(e.Key, e.Start, e.End, 5))
			r.write(line{key: string(e.Key), start: e.Start, end: e.End}, true)
		}
		return
	}
	w := r.handle().Windows
	for e, err := range w.All(storage.Range{Backward: r.rand.IntN(2) == 0}, r.observed-30, r.observed) {
		require.NoError(r.t, err)
		require.NoError(r.t, w.Delete(e.Key, e.Start, 5))
		r.write(line{key: string(e.Key), start: e.Start, end: e.End}, true)
	}
}

func (r *rows) observe() {
	at := r.time()
	if r.session {
		require.NoError(r.t, r.handle().Sessions.Observe(at))
	} else {
		require.NoError(r.t, r.handle().Windows.Observe(at))
	}
	r.observed = max(r.observed, at)
}

func (r *rows) undoModel() {
	s := r.before[0]
	r.all, r.observed, r.before = slices.Clone(s.all), s.observed, r.before[:1]
}

func (r *rows) steps() []step {
	r.observed = -1
	r.before = []snapshot{r.snapshot()}
	return []step{
		{200, r.put}, {40, r.delete}, {60, r.get}, {60, r.fetch}, {20, r.scan}, {3, r.deleteAll}, {4, r.observe},
		{20, func() { r.cut(); r.before = append(r.before, r.snapshot()) }},
		{16, func() { r.before = r.before[r.settle():] }},
		{3, r.flush},
		{3, func() {
			require.NoError(r.t, r.engine.Undo())
			segmented.Unwrap(r.engine).Committed(r.committed)
			r.cuts = nil
			r.undoModel()
			r.observeStreamTime()
			r.scan()
		}},
		{3, func() {
			r.before = r.before[r.reopen():]
			r.undoModel()
			// A changelog has the times of rows only; operators go on with their own.
			h := r.handle()
			if r.session {
				require.LessOrEqual(r.t, h.Sessions.ObservedTime(), r.observed)
				require.NoError(r.t, h.Sessions.Observe(r.observed))
			} else {
				require.LessOrEqual(r.t, h.Windows.ObservedTime(), r.observed)
				require.NoError(r.t, h.Windows.Observe(r.observed))
			}
			r.cut()
			r.changelog = append(r.changelog, r.cuts[0].changes...)
			r.engine.Settle(r.cuts[0].epoch, checkpoint(len(r.changelog)))
			r.cuts = nil
			r.scan()
		}},
	}
}

func TestWindows_RandomHistories(t *testing.T) {
	for name, spec := range map[string]graph.Store{
		"plain":      {},
		"duplicates": {Duplicates: true},
		"by time":    {ByTime: true},
		"both":       {ByTime: true, Duplicates: true},
		"segments":   {ByTime: true, Segment: 9 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Kind, spec.Size = graph.Window, size*time.Millisecond
			histories(t, spec, func(b *randomHistory) {
				r := &rows{randomHistory: b}
				b.run(1500, r.steps())
			})
		})
	}
}

func TestSessions_RandomHistories(t *testing.T) {
	for name, spec := range map[string]graph.Store{
		"plain":    {},
		"by time":  {ByTime: true},
		"segments": {Segment: 9 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Kind = graph.Session
			histories(t, spec, func(b *randomHistory) {
				r := &rows{randomHistory: b, session: true}
				b.run(1500, r.steps())
			})
		})
	}
}
