package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
)

// An expiry is a history of rows that expire: keys "x..." by their number, others stay.
type expiry struct {
	t    testing.TB
	s    Store
	e    store.Engine
	rand *rand.Rand
	now  expiring
	// before are the states before each epoch that is not settled, the oldest first.
	before []expiring
	cuts   []cutEpoch
	log    []store.Change
	next   int
}

type expiring struct {
	rows  map[string]Row
	floor string // rows of x below it have expired
}

func (x expiring) clone() expiring { return expiring{maps.Clone(x.rows), x.floor} }

func (x expiring) has(key string) bool { return key < "x" || key >= "y" || key >= x.floor }

func newExpiry(t testing.TB, s Store, seed uint64) *expiry {
	x := &expiry{t: t, s: s, e: s.Open(t), rand: rand.New(rand.NewPCG(seed, 2)), now: expiring{map[string]Row{}, "x"}}
	x.before = []expiring{x.now.clone()}
	return x
}

func (x *expiry) run() {
	steps := []func(){x.cut, x.settle, x.settle, x.expire, x.flush}
	for range 600 {
		for range x.rand.IntN(30) {
			x.write()
		}
		switch n := x.rand.IntN(40); {
		case n == 0:
			require.NoError(x.t, x.e.Undo())
			x.forget()
		case n == 1 && x.s.Reopen != nil:
			x.reopen()
		default:
			steps[n%len(steps)]()
		}
		if x.rand.IntN(10) == 0 {
			x.check()
		}
	}
	x.check()
	require.NoError(x.t, x.e.Close(false))
}

func (x *expiry) write() {
	key := fmt.Sprintf("x%06d", max(0, x.next-x.rand.IntN(200)))
	if x.rand.IntN(5) == 0 {
		key = fmt.Sprintf("%c%03d", "az"[x.rand.IntN(2)], x.rand.IntN(100))
	}
	x.next += x.rand.IntN(2)
	if !x.now.has(key) {
		return
	}
	if x.rand.IntN(6) == 0 {
		require.NoError(x.t, x.e.Delete([]byte(key), 1))
		delete(x.now.rows, key)
		return
	}
	value := bytes.Repeat([]byte{byte('a' + x.rand.IntN(26))}, x.rand.IntN(200))
	require.NoError(x.t, x.e.Put([]byte(key), value, 2))
	x.now.rows[key] = Row{key, string(value), 2}
}

func (x *expiry) expire() {
	x.now.floor = max(x.now.floor, fmt.Sprintf("x%06d", max(0, x.next-100-x.rand.IntN(300))))
	x.e.Expire([]byte("x"), []byte(x.now.floor))
}

func (x *expiry) cut() {
	if len(x.cuts) == 3 {
		return
	}
	var c cutEpoch
	number, err := x.e.Cut(func(ch store.Change) error {
		c.changes = append(c.changes, store.Change{Key: bytes.Clone(ch.Key), Value: bytes.Clone(ch.Value), Time: ch.Time})
		return nil
	})
	require.NoError(x.t, err)
	c.number = number
	x.cuts = append(x.cuts, c)
	x.before = append(x.before, x.now.clone())
}

func (x *expiry) settle() {
	if len(x.cuts) == 0 {
		return
	}
	n := 1 + x.rand.IntN(len(x.cuts))
	for _, c := range x.cuts[:n] {
		x.log = append(x.log, c.changes...)
	}
	x.e.Settle(x.cuts[n-1].number, Checkpoint(int64(len(x.log))))
	x.cuts, x.before = x.cuts[n:], x.before[n:]
}

func (x *expiry) flush() { require.NoError(x.t, x.e.Flush(x.rand.IntN(2) == 0)) }

func (x *expiry) forget() {
	x.now = x.before[0].clone()
	x.before, x.cuts = x.before[:1], nil
}

func (x *expiry) reopen() {
	require.NoError(x.t, x.e.Close(x.rand.IntN(2) == 0))
	x.e = x.s.Reopen(x.t)
	x.forget()
	c, _ := x.e.Checkpoint()
	require.NoError(x.t, x.e.Restore(x.log[c.Offset:], Checkpoint(int64(len(x.log)))))
	x.check()
}

// check compares the rows that have not expired.
func (x *expiry) check() {
	got, want := []Row{}, []Row{}
	for _, k := range slices.Sorted(maps.Keys(x.now.rows)) {
		if x.now.has(k) {
			want = append(want, x.now.rows[k])
		}
	}
	for _, r := range Rows(x.t, x.e, store.Range{}) {
		if x.now.has(r.Key) {
			got = append(got, r)
		}
	}
	require.Equal(x.t, want, got)
	n, err := x.e.Len()
	require.NoError(x.t, err)
	require.GreaterOrEqual(x.t, n, int64(len(want)))
}

// expireUndone checks that rows stay until the epoch settles in which they expired, and come back when it is undone.
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
	assert.Equal(t, "a x1 x2 x3 z", keys(t, e, store.Range{}))
	assert.Equal(t, "1", get(t, e, "x3"))
	e.Expire([]byte("x"), []byte("x3"))
	settle(t, e, 6)
	put(t, e, "x3", "3")
	settle(t, e, 7)
	require.NoError(t, e.Flush(true))
	assert.Equal(t, "3", get(t, e, "x3"))
	assert.Equal(t, "x3 z", keys(t, e, store.Range{From: []byte("x3")}))
}
