package layout_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
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
