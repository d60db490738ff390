package segmented_test

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

// version is one in the model.
type version struct {
	from      int64
	value     string
	tombstone bool
}

// table is the model of a versioned store.
type table struct {
	*randomHistory
	keys     map[string][]version // by time
	observed int64
	before   []tableSnapshot
}

type tableSnapshot struct {
	keys     map[string][]version
	observed int64
}

func (m *table) snapshot() tableSnapshot {
	s := tableSnapshot{map[string][]version{}, m.observed}
	for k, v := range m.keys {
		s.keys[k] = slices.Clone(v)
	}
	return s
}

func (m *table) undoModel() {
	m.before = m.before[:1]
	m.keys, m.observed = m.before[0].keys, m.before[0].observed
	m.before[0] = m.snapshot()
}

func (m *table) put() {
	key, v := m.key(), version{from: m.time(), value: string(m.value()), tombstone: m.rand.IntN(4) == 0}
	var value []byte
	if !v.tombstone {
		value = append([]byte{}, v.value...)
	}
	to, written, err := m.handle().Versions.Put(key, value, v.from)
	require.NoError(m.t, err)
	if v.from < m.observed-retention {
		require.False(m.t, written)
		return
	}
	require.True(m.t, written)
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

func (m *table) version(key string, i int) storage.Version {
	all := m.keys[key]
	v := storage.Version{Value: append([]byte{}, all[i].value...), From: all[i].from, To: math.MaxInt64}
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
	require.Equal(m.t, n >= 0 && !m.keys[string(key)][n].tombstone, ok)
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
		if all[i].tombstone || i < len(all)-1 && at < m.observed-retention {
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
	want := []storage.Version{}
	for i, version := range m.keys[string(key)] {
		v := m.version(string(key), i)
		if v.From <= to && v.To > from && v.To > m.observed-retention && !version.tombstone {
			want = append(want, v)
		}
	}
	if backward {
		slices.Reverse(want)
	}
	got := []storage.Version{}
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
		if v := all[len(all)-1]; !v.tombstone {
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
	last := map[string]storage.Change{}
	for _, c := range m.changelog[m.logStart:] {
		last[string(c.Key)] = c
	}
	for k, all := range m.before[0].keys {
		v := all[len(all)-1]
		c, present := last[k]
		if !present && v.tombstone && v.from <= m.before[0].observed-retention {
			continue // forgotten, and deleted with what was before it
		}
		require.Equal(m.t, v, version{c.Time, map[bool]string{false: string(c.Value), true: v.value}[c.Value == nil], c.Value == nil}, "key %q", k)
	}
}

func TestVersions_RandomHistories(t *testing.T) {
	for name, segment := range map[string]time.Duration{"one segment": 0, "segments": 9 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			histories(t, graph.Store{Kind: graph.Versioned, Segment: segment}, func(b *randomHistory) {
				m := &table{randomHistory: b, keys: map[string][]version{}, observed: -1}
				m.before = []tableSnapshot{m.snapshot()}
				b.run(1500, []step{
					{200, m.put}, {60, m.get}, {100, m.asOf}, {60, m.history}, {5, m.check},
					{20, func() { m.cut(); m.before = append(m.before, m.snapshot()) }},
					{16, func() { m.before = m.before[m.settle():] }},
					{3, m.flush},
					{3, func() {
						require.NoError(m.t, m.engine.Undo())
						segmented.Unwrap(m.engine).Committed(m.committed)
						m.cuts = nil
						m.undoModel()
						m.check()
					}},
					{3, func() { m.compacted(); m.before = m.before[m.reopen():]; m.undoModel(); m.check() }},
				})
			})
		})
	}
}

// TestTimeIndex_ExpiresBySettledTime: rows that emission on close has not sent yet must be there,
// whatever was put.
func TestTimeIndex_ExpiresBySettledTime(t *testing.T) {
	for _, kind := range []graph.StoreKind{graph.Window, graph.Session} {
		b := newRandomHistory(t, &graph.Store{Name: "s", Kind: kind, Retention: retention * time.Millisecond, ByTime: true, Changelog: true}, "disk", 1)
		r := &rows{randomHistory: b, session: kind == graph.Session, observed: -1}
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
		b.committed = 10
		put("a", 10)
		put("b", 100_000)
		require.Equal(t, 2, all())
		b.cut()
		b.changelog = append(b.changelog, b.cuts[0].changes...) // accepted, and not settled
		b.reopen()
		require.Equal(t, 2, all(), "after a crash")
		r.observed = 100_000
		r.observeStreamTime()
		require.Equal(t, 1, all())
		require.NoError(t, b.engine.Close(false))
	}
}
