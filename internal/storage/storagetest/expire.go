package storagetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
)

// An expiry is a history of rows that expire: keys "x..." by their number, others stay.
type expiry struct {
	t       testing.TB
	store   Store
	engine  storage.Engine
	rand    *rand.Rand
	current expiryModel
	// before are the states before each epoch that is not settled, the oldest first.
	before    []expiryModel
	cuts      []cutEpoch
	changelog []storage.Change
	next      int
}

type expiryModel struct {
	rows  map[string]Row
	floor string // rows of x below it have expired
}

func (m expiryModel) clone() expiryModel { return expiryModel{maps.Clone(m.rows), m.floor} }

func (m expiryModel) has(key string) bool { return key < "x" || key >= "y" || key >= m.floor }

func newExpiry(t testing.TB, s Store, seed uint64) *expiry {
	ex := &expiry{
		t: t, store: s, engine: s.Open(t), rand: rand.New(rand.NewPCG(seed, 2)),
		current: expiryModel{map[string]Row{}, "x"},
	}
	ex.before = []expiryModel{ex.current.clone()}
	return ex
}

func (ex *expiry) run() {
	steps := []func(){ex.cut, ex.settle, ex.settle, ex.expire, ex.flush}
	for range 600 {
		for range ex.rand.IntN(30) {
			ex.write()
		}
		switch n := ex.rand.IntN(40); {
		case n == 0:
			require.NoError(ex.t, ex.engine.Undo())
			ex.undoModel()
		case n == 1 && ex.store.Reopen != nil:
			ex.reopen()
		default:
			steps[n%len(steps)]()
		}
		if ex.rand.IntN(10) == 0 {
			ex.check()
		}
	}
	ex.check()
	require.NoError(ex.t, ex.engine.Close(false))
}

func (ex *expiry) write() {
	key := fmt.Sprintf("x%06d", max(0, ex.next-ex.rand.IntN(200)))
	if ex.rand.IntN(5) == 0 {
		key = fmt.Sprintf("%c%03d", "az"[ex.rand.IntN(2)], ex.rand.IntN(100))
	}
	ex.next += ex.rand.IntN(2)
	if !ex.current.has(key) {
		return
	}
	if ex.rand.IntN(6) == 0 {
		require.NoError(ex.t, ex.engine.Delete([]byte(key), 1))
		delete(ex.current.rows, key)
		return
	}
	value := bytes.Repeat([]byte{byte('a' + ex.rand.IntN(26))}, ex.rand.IntN(200))
	require.NoError(ex.t, ex.engine.Put([]byte(key), value, 2))
	ex.current.rows[key] = Row{key, string(value), 2}
}

func (ex *expiry) expire() {
	ex.current.floor = max(ex.current.floor, fmt.Sprintf("x%06d", max(0, ex.next-100-ex.rand.IntN(300))))
	ex.engine.Expire([]byte("x"), []byte(ex.current.floor))
}

func (ex *expiry) cut() {
	if len(ex.cuts) == 3 {
		return
	}
	var c cutEpoch
	number, err := ex.engine.Cut(func(ch storage.Change) error {
		c.changes = append(c.changes, storage.Change{Key: bytes.Clone(ch.Key), Value: bytes.Clone(ch.Value), Time: ch.Time})
		return nil
	})
	require.NoError(ex.t, err)
	c.number = number
	ex.cuts = append(ex.cuts, c)
	ex.before = append(ex.before, ex.current.clone())
}

func (ex *expiry) settle() {
	if len(ex.cuts) == 0 {
		return
	}
	n := 1 + ex.rand.IntN(len(ex.cuts))
	for _, c := range ex.cuts[:n] {
		ex.changelog = append(ex.changelog, c.changes...)
	}
	ex.engine.Settle(ex.cuts[n-1].number, Checkpoint(int64(len(ex.changelog))))
	ex.cuts, ex.before = ex.cuts[n:], ex.before[n:]
}

func (ex *expiry) flush() { require.NoError(ex.t, ex.engine.Flush(ex.rand.IntN(2) == 0)) }

func (ex *expiry) undoModel() {
	ex.current = ex.before[0].clone()
	ex.before, ex.cuts = ex.before[:1], nil
}

func (ex *expiry) reopen() {
	require.NoError(ex.t, ex.engine.Close(ex.rand.IntN(2) == 0))
	ex.engine = ex.store.Reopen(ex.t)
	ex.undoModel()
	c, _ := ex.engine.Checkpoint()
	require.NoError(ex.t, ex.engine.Restore(ex.changelog[c.Offset:], Checkpoint(int64(len(ex.changelog)))))
	ex.check()
}

// check compares the rows that have not expired.
func (ex *expiry) check() {
	got, want := []Row{}, []Row{}
	for _, k := range slices.Sorted(maps.Keys(ex.current.rows)) {
		if ex.current.has(k) {
			want = append(want, ex.current.rows[k])
		}
	}
	for _, r := range Rows(ex.t, ex.engine, storage.Range{}) {
		if ex.current.has(r.Key) {
			got = append(got, r)
		}
	}
	require.Equal(ex.t, want, got)
	n, err := ex.engine.Len()
	require.NoError(ex.t, err)
	require.GreaterOrEqual(ex.t, n, int64(len(want)))
}

// expireUndone checks that rows stay until the epoch settles in which they expired, and come back
// when it is undone.
func expireUndone(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "a", "1", "x1", "1", "x2", "1", "x3", "1", "z", "1")
	settle(t, e, 5)
	require.NoError(t, e.Flush(true))
	put(t, e, "x3", "2")
	e.Expire([]byte("x"), []byte("x3"))
	_, changes := cut(t, e)
	assert.Len(t, changes, 1, "rows expire without a word")
	require.NoError(t, e.Flush(true))
	require.NoError(t, e.Undo())
	assert.Equal(t, "a x1 x2 x3 z", keys(t, e, storage.Range{}))
	assert.Equal(t, "1", get(t, e, "x3"))
	e.Expire([]byte("x"), []byte("x3"))
	settle(t, e, 6)
	put(t, e, "x3", "3")
	settle(t, e, 7)
	require.NoError(t, e.Flush(true))
	assert.Equal(t, "3", get(t, e, "x3"))
	assert.Equal(t, "x3 z", keys(t, e, storage.Range{From: []byte("x3")}))
}
