package layout_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/layout"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/memory"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run one random history, with this seed")
	histFlag = flag.Int("histories", 60, "random histories of each kind of store and engine")
)

const retention = 100

// places are where stores are kept: what opens one, and what opens it again after it was closed.
var places = map[string]func(t testing.TB) func() store.Engine{
	"memory": func(testing.TB) func() store.Engine { return func() store.Engine { return memory.New(nil) } },
	"bolt": func(t testing.TB) func() store.Engine {
		path := filepath.Join(t.TempDir(), "0.db")
		return func() store.Engine {
			e, _, err := bolt.Open(bolt.Options{Path: path, NoSync: true, TransactionBytes: 4 << 10, RewriteRows: 50})
			require.NoError(t, err)
			return e
		}
	},
	// One that is killed in the middle of flushes now and then.
	"bolt that dies": func(t testing.TB) func() store.Engine {
		path, flushes := filepath.Join(t.TempDir(), "0.db"), new(atomic.Uint32)
		hook := func(p crashpoint.Point) {
			if p == crashpoint.FlushHalf && flushes.Add(1)%23 == 0 {
				panic(crashpoint.Dead)
			}
		}
		return func() store.Engine {
			e, _, err := bolt.Open(bolt.Options{Path: path, NoSync: true, TransactionBytes: 2 << 10, PageSize: 1024, RewriteRows: 300, Hook: hook})
			require.NoError(t, err)
			return e
		}
	},
}

// base is what all histories share: a store, its changelog, and what was settled.
type base struct {
	t      testing.TB
	rand   *rand.Rand
	spec   *graph.Store
	open   func() store.Engine
	e      store.Engine
	log    []store.Change
	cuts   []cut
	latest int64 // event time that goes on
}

type cut struct {
	epoch   uint64
	changes []store.Change
}

func newBase(t testing.TB, spec *graph.Store, place string, seed uint64) *base {
	b := &base{t: t, rand: rand.New(rand.NewPCG(seed, 7)), spec: spec, open: places[place](t)}
	b.start()
	return b
}

func (b *base) start() {
	e, err := layout.Wrap(b.spec, b.open())
	require.NoError(b.t, err)
	b.e = e
}

func (b *base) handle() store.Handle {
	h, err := layout.Handle(b.spec, b.e, func() int64 { return 0 })
	require.NoError(b.t, err)
	return h
}

func (b *base) cut() {
	c := cut{}
	epoch, err := b.e.Cut(func(ch store.Change) error {
		c.changes = append(c.changes, store.Change{Key: bytes.Clone(ch.Key), Value: bytes.Clone(ch.Value), Time: ch.Time})
		return nil
	})
	require.NoError(b.t, err)
	c.epoch = epoch
	b.cuts = append(b.cuts, c)
}

// settle settles some epochs and returns how many.
func (b *base) settle() int {
	n := b.rand.IntN(len(b.cuts) + 1)
	for _, c := range b.cuts[:n] {
		b.log = append(b.log, c.changes...)
		b.e.Settle(c.epoch, checkpoint(len(b.log)))
	}
	b.cuts = b.cuts[n:]
	return n
}

func (b *base) flush() { b.unlessDead(b.e.Flush(b.rand.IntN(2) == 0)) }

func (b *base) unlessDead(err error) {
	if !errors.Is(err, crashpoint.Dead) {
		require.NoError(b.t, err)
	}
}

func checkpoint(n int) store.Checkpoint {
	return store.Checkpoint{TopicID: [16]byte{1}, Offset: int64(n), Time: time.UnixMilli(int64(n)).UTC()}
}

// reopen closes the store, perhaps loses the disk, and restores it from its changelog in batches.
func (b *base) reopen() {
	b.unlessDead(b.e.Close(b.rand.IntN(2) == 0))
	b.cuts = nil
	b.start()
	if b.rand.IntN(3) == 0 {
		require.NoError(b.t, b.e.Truncate())
	}
	c, ok := b.e.Checkpoint()
	if !ok {
		require.NoError(b.t, b.e.Truncate())
	}
	for at := int(c.Offset); at < len(b.log); {
		n := min(at+1+b.rand.IntN(40), len(b.log))
		require.NoError(b.t, b.e.Restore(b.log[at:n], checkpoint(n)))
		at = n
	}
}

var keys = []string{"", "a", "a\x00", "a\x00\x00", "a\x00\xff", "ab", "b", "\x00", "\xff", "\xff\xff", "longer key with more in it"}

func (b *base) key() []byte {
	if b.rand.IntN(3) == 0 { // many, so that a flush takes several transactions
		return fmt.Appendf(nil, "n%03d", b.rand.IntN(150))
	}
	return []byte(keys[b.rand.IntN(len(keys))])
}

// time returns a time around the latest one, which it moves now and then.
func (b *base) time() int64 {
	if b.rand.IntN(4) == 0 {
		b.latest += b.rand.Int64N(30)
	}
	if b.rand.IntN(200) == 0 {
		b.latest += 500
	}
	return max(0, b.latest-b.rand.Int64N(retention+40))
}

func (b *base) value() []byte { return fmt.Appendf(nil, "%0*d", b.rand.IntN(12), b.rand.IntN(1000)) }

type step struct {
	weight int
	do     func()
}

func (b *base) run(n int, steps []step) {
	sum := 0
	for _, s := range steps {
		sum += s.weight
	}
	for range n {
		at := b.rand.IntN(sum)
		for _, s := range steps {
			if at -= s.weight; at < 0 {
				s.do()
				break
			}
		}
	}
	require.NoError(b.t, b.e.Close(false))
}

func histories(t *testing.T, spec graph.Store, run func(b *base)) {
	spec.Name, spec.Retention, spec.Changelog = "s", retention*time.Millisecond, true
	for place := range places {
		seeds := []uint64{*seedFlag}
		if *seedFlag == 0 {
			seeds = nil
			n := *histFlag
			if testing.Short() {
				n = min(n, 10)
			}
			for range n {
				seeds = append(seeds, rand.Uint64()|1)
			}
		}
		for _, seed := range seeds {
			t.Run(fmt.Sprintf("%s/seed=%d", place, seed), func(t *testing.T) {
				s := spec
				run(newBase(t, &s, place, seed))
			})
		}
	}
}

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
	*base
	session  bool
	all      []line
	observed int64
	seq      int
	before   []snapshot // of the epochs that are not settled, the oldest first
}

type snapshot struct {
	all      []line
	observed int64
}

func (r *rows) snap() snapshot { return snapshot{slices.Clone(r.all), r.observed} }

func (r *rows) at(l line) int64 {
	if r.session {
		return l.end
	}
	return l.start
}

func (r *rows) live(f func(line) bool, order func(a, b line) int) []line {
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

func collect(t testing.TB, seq iter.Seq2[store.WindowEntry, error]) []line {
	out := []line{}
	for e, err := range seq {
		require.NoError(t, err)
		out = append(out, line{string(e.Key), e.Start, e.End, 0, string(e.Value), e.Time})
	}
	return out
}

func (r *rows) write(l line, delete bool) {
	there := func(x line) bool {
		return x.key == l.key && x.start == l.start && x.end == l.end && r.at(x) > r.observed-retention
	}
	if delete && r.spec.Duplicates && !slices.ContainsFunc(r.all, there) {
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
	var kept bool
	var err error
	if r.session {
		kept, err = r.handle().Sessions.Put([]byte(l.key), l.start, l.end, []byte(l.value), 5)
	} else {
		kept, err = r.handle().Windows.Put([]byte(l.key), l.start, []byte(l.value), l.time)
	}
	require.NoError(r.t, err)
	r.write(l, false)
	require.Equal(r.t, r.at(l) > r.observed-retention, kept)
	r.tell()
}

// tell has a store with an index by time expire rows as others do.
func (r *rows) tell() {
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
	r.tell()
}

func (r *rows) get() {
	l := r.some()
	want := r.live(func(x line) bool { return x.key == l.key && x.start == l.start && x.end == l.end }, byTime)
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

func (r *rows) fetch() {
	from, to := r.span()
	key := string(r.key())
	backward := r.rand.IntN(2) == 0
	want := r.live(func(l line) bool { return l.key == key && r.within(l, from, to) }, byTime)
	if backward {
		slices.Reverse(want)
	}
	if r.session {
		require.Equal(r.t, want, collect(r.t, r.handle().Sessions.Find([]byte(key), from, to, backward)))
		return
	}
	require.Equal(r.t, want, collect(r.t, r.handle().Windows.Fetch([]byte(key), from, to, backward)))
}

// within is what bounds of a scan mean: of windows both are for starts, of sessions the first is for ends and the second for starts.
func (r *rows) within(l line, from, to int64) bool {
	if r.session {
		return l.end >= from && l.start <= to
	}
	return l.start >= from && l.start <= to
}

func (r *rows) scan() {
	from, to := r.span()
	want := r.live(func(l line) bool { return r.within(l, from, to) }, byKey)
	timely := r.live(func(l line) bool { return r.at(l) >= from && r.at(l) <= to }, byTimeKey)
	h := r.handle()
	if r.session {
		require.Equal(r.t, want, collect(r.t, h.Sessions.All(from, to)))
		require.Equal(r.t, timely, collect(r.t, h.Sessions.ByTime(from, to)))
		require.Equal(r.t, r.observed, h.Sessions.ObservedTime())
		return
	}
	require.Equal(r.t, want, collect(r.t, h.Windows.All(from, to)))
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
	for e, err := range w.All(r.observed-30, r.observed) {
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

func (r *rows) back() {
	s := r.before[0]
	r.all, r.observed, r.before = slices.Clone(s.all), s.observed, r.before[:1]
}

func (r *rows) steps() []step {
	r.observed = -1
	r.before = []snapshot{r.snap()}
	return []step{
		{200, r.put}, {40, r.delete}, {60, r.get}, {60, r.fetch}, {20, r.scan}, {3, r.deleteAll}, {4, r.observe},
		{20, func() { r.cut(); r.before = append(r.before, r.snap()) }},
		{16, func() { r.before = r.before[r.settle():] }},
		{3, r.flush},
		{3, func() { require.NoError(r.t, r.e.Undo()); r.cuts = nil; r.back(); r.tell(); r.scan() }},
		{3, func() {
			r.reopen()
			r.back()
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
			r.log = append(r.log, r.cuts[0].changes...)
			r.e.Settle(r.cuts[0].epoch, checkpoint(len(r.log)))
			r.cuts = nil
			r.scan()
		}},
	}
}

func TestWindows(t *testing.T) {
	for name, spec := range map[string]graph.Store{
		"plain":      {},
		"duplicates": {Duplicates: true},
		"by time":    {ByTime: true},
		"both":       {ByTime: true, Duplicates: true},
		"segments":   {ByTime: true, Segment: 9 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Kind, spec.Size = graph.Window, size*time.Millisecond
			histories(t, spec, func(b *base) {
				r := &rows{base: b}
				b.run(1500, r.steps())
			})
		})
	}
}

func TestSessions(t *testing.T) {
	for name, spec := range map[string]graph.Store{
		"plain":    {},
		"by time":  {ByTime: true},
		"segments": {Segment: 9 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Kind = graph.Session
			histories(t, spec, func(b *base) {
				r := &rows{base: b, session: true}
				b.run(1500, r.steps())
			})
		})
	}
}

// version is one in the model.
type version struct {
	from  int64
	value string
	gone  bool
}

// table is the model of a versioned store.
type table struct {
	*base
	keys     map[string][]version // by time
	observed int64
	before   []tableSnapshot
}

type tableSnapshot struct {
	keys     map[string][]version
	observed int64
}

func (m *table) snap() tableSnapshot {
	s := tableSnapshot{map[string][]version{}, m.observed}
	for k, v := range m.keys {
		s.keys[k] = slices.Clone(v)
	}
	return s
}

func (m *table) back() {
	m.before = m.before[:1]
	m.keys, m.observed = m.before[0].keys, m.before[0].observed
	m.before[0] = m.snap()
}

func (m *table) put() {
	key, v := m.key(), version{from: m.time(), value: string(m.value()), gone: m.rand.IntN(4) == 0}
	var value []byte
	if !v.gone {
		value = append([]byte{}, v.value...)
	}
	to, kept, err := m.handle().Versions.Put(key, value, v.from)
	require.NoError(m.t, err)
	if v.from < m.observed-retention {
		require.False(m.t, kept)
		return
	}
	require.True(m.t, kept)
	m.observed = max(m.observed, v.from)
	all := m.keys[string(key)]
	i, found := slices.BinarySearchFunc(all, v.from, func(v version, t int64) int { return cmp.Compare(v.from, t) })
	if found {
		all[i] = v
	} else {
		all = slices.Insert(all, i, v)
	}
	m.keys[string(key)] = all
	want := int64(math.MaxInt64)
	if i+1 < len(all) {
		want = all[i+1].from
	}
	require.Equal(m.t, want, to)
}

func (m *table) version(key string, i int) store.Version {
	all := m.keys[key]
	v := store.Version{Value: append([]byte{}, all[i].value...), From: all[i].from, To: math.MaxInt64}
	if i+1 < len(all) {
		v.To = all[i+1].from
	}
	return v
}

func (m *table) get() {
	key := m.key()
	v, ok, err := m.handle().Versions.Get(key)
	require.NoError(m.t, err)
	n := len(m.keys[string(key)]) - 1
	require.Equal(m.t, n >= 0 && !m.keys[string(key)][n].gone, ok)
	if ok {
		require.Equal(m.t, m.version(string(key), n), v)
	}
}

func (m *table) asOf() {
	key, at := m.key(), m.time()
	v, ok, err := m.handle().Versions.AsOf(key, at)
	require.NoError(m.t, err)
	all := m.keys[string(key)]
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].from > at {
			continue
		}
		if all[i].gone || i < len(all)-1 && at < m.observed-retention {
			break
		}
		require.True(m.t, ok)
		require.Equal(m.t, m.version(string(key), i), v)
		return
	}
	require.False(m.t, ok)
}

func (m *table) history() {
	from := m.time()
	to := from + m.rand.Int64N(100) - 5
	if m.rand.IntN(3) == 0 {
		from = 0
	}
	m.historyOf(m.key(), from, to, m.rand.IntN(2) == 0)
}

func (m *table) historyOf(key []byte, from, to int64, backward bool) {
	want := []store.Version{}
	for i, x := range m.keys[string(key)] {
		v := m.version(string(key), i)
		if v.From <= to && v.To > from && v.To > m.observed-retention && !x.gone {
			want = append(want, v)
		}
	}
	if backward {
		slices.Reverse(want)
	}
	got := []store.Version{}
	for v, err := range m.handle().Versions.History(key, from, to, backward) {
		require.NoError(m.t, err)
		v.Value = bytes.Clone(v.Value)
		got = append(got, v)
	}
	require.Equal(m.t, want, got)
}

func (m *table) check() {
	got, want := []line{}, []line{}
	for e, err := range m.handle().Versions.Latest() {
		require.NoError(m.t, err)
		got = append(got, line{key: string(e.Key), value: string(e.Value), time: e.Time})
	}
	for k, all := range m.keys {
		if v := all[len(all)-1]; !v.gone {
			want = append(want, line{key: k, value: v.value, time: v.from})
		}
	}
	slices.SortFunc(want, byKey)
	require.Equal(m.t, want, got)
	require.Equal(m.t, m.observed, m.handle().Versions.ObservedTime())
	for k := range m.keys {
		m.historyOf([]byte(k), 0, math.MaxInt64, false)
	}
}

// compacted checks that the last record of each key in the changelog is its latest version.
func (m *table) compacted() {
	last := map[string]store.Change{}
	for _, c := range m.log {
		last[string(c.Key)] = c
	}
	for k, all := range m.before[0].keys {
		v := all[len(all)-1]
		c := last[k]
		require.Equal(m.t, v, version{c.Time, map[bool]string{false: string(c.Value), true: v.value}[c.Value == nil], c.Value == nil}, "key %q", k)
	}
}

func TestVersions(t *testing.T) {
	for name, segment := range map[string]time.Duration{"one segment": 0, "segments": 9 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			histories(t, graph.Store{Kind: graph.Versioned, Segment: segment}, func(b *base) {
				m := &table{base: b, keys: map[string][]version{}, observed: -1}
				m.before = []tableSnapshot{m.snap()}
				b.run(1500, []step{
					{200, m.put}, {60, m.get}, {100, m.asOf}, {60, m.history}, {5, m.check},
					{20, func() { m.cut(); m.before = append(m.before, m.snap()) }},
					{16, func() { m.before = m.before[m.settle():] }},
					{3, m.flush},
					{3, func() { require.NoError(m.t, m.e.Undo()); m.cuts = nil; m.back(); m.check() }},
					{3, func() { m.compacted(); m.reopen(); m.back(); m.check() }},
				})
			})
		})
	}
}

// TestAStoreWithAnIndexByTimeExpiresByWhatItIsTold: rows that emission on close has not sent yet must be there, whatever was put.
func TestAStoreWithAnIndexByTimeExpiresByWhatItIsTold(t *testing.T) {
	for _, kind := range []graph.StoreKind{graph.Window, graph.Session} {
		b := newBase(t, &graph.Store{Name: "s", Kind: kind, Retention: retention * time.Millisecond, ByTime: true, Changelog: true}, "bolt", 1)
		r := &rows{base: b, session: kind == graph.Session, observed: -1}
		put := func(key string, at int64) {
			if r.session {
				_, err := b.handle().Sessions.Put([]byte(key), at, at, []byte("v"), at)
				require.NoError(t, err)
			} else {
				_, err := b.handle().Windows.Put([]byte(key), at, []byte("v"), at)
				require.NoError(t, err)
			}
		}
		all := func() int {
			if r.session {
				return len(collect(t, b.handle().Sessions.ByTime(0, math.MaxInt64)))
			}
			return len(collect(t, b.handle().Windows.ByTime(0, math.MaxInt64)))
		}
		put("a", 10)
		put("b", 100_000)
		require.Equal(t, 2, all())
		b.cut()
		b.log = append(b.log, b.cuts[0].changes...) // accepted, and not settled
		b.reopen()
		require.Equal(t, 2, all(), "after a crash")
		r.observed = 100_000
		r.tell()
		require.Equal(t, 1, all())
		require.NoError(t, b.e.Close(false))
	}
}
