package segmented_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
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
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run one random history, with this seed")
	histFlag = flag.Int("histories", 30, "random histories of each kind of store and engine")
)

const retention = 100

// engines are where stores are kept: what opens one, and what opens it again after it was closed.
var engines = map[string]func(t testing.TB) func() storage.Engine{
	"memory": func(testing.TB) func() storage.Engine { return func() storage.Engine { return memtable.New(nil) } },
	"disk": func(t testing.TB) func() storage.Engine {
		path := filepath.Join(t.TempDir(), "0")
		return func() storage.Engine {
			e, _, err := lsm.Open(lsm.Options{Path: path, NoSync: true, PageSize: 1024, FileBytes: 8 << 10, Factor: 2})
			require.NoError(t, err)
			return e
		}
	},
	// One that is killed in the middle of flushes and merges now and then.
	"disk that dies": func(t testing.TB) func() storage.Engine {
		path, passes := filepath.Join(t.TempDir(), "0"), new(atomic.Uint32)
		points := append(crashpoint.StorePoints(), crashpoint.FlushHalf)
		hook := func(p crashpoint.Point) {
			// Counted over all points: each of them has its turn.
			if slices.Contains(points, p) && passes.Add(1)%101 == 0 {
				panic(crashpoint.Dead)
			}
		}
		return func() storage.Engine {
			e, _, err := lsm.Open(lsm.Options{Path: path, NoSync: true, PageSize: 1024, FileBytes: 2 << 10, Factor: 3, Hook: hook})
			require.NoError(t, err)
			return e
		}
	},
}

// randomHistory is what all histories share: a store, its changelog, and what was settled.
type randomHistory struct {
	t         testing.TB
	rand      *rand.Rand
	spec      *graph.Store
	open      func() storage.Engine
	engine    storage.Engine
	changelog []storage.Change
	logStart  int // of the log: what stood before was deleted
	trims     int // how often
	cuts      []splitSized
	latest    int64 // event time that goes on
	committed int64 // the stream time that a start finds: that of all that was accepted, unless a test says otherwise
}

type splitSized struct {
	epoch   uint64
	changes []storage.Change
}

func newRandomHistory(t testing.TB, spec *graph.Store, place string, seed uint64) *randomHistory {
	b := &randomHistory{t: t, rand: rand.New(rand.NewPCG(seed, 7)), spec: spec, open: engines[place](t), committed: math.MaxInt64}
	b.start()
	return b
}

func (b *randomHistory) start() {
	e, err := segmented.Wrap(b.spec, b.open())
	require.NoError(b.t, err)
	b.engine = e
	segmented.Unwrap(e).SetPassAfter(60)
}

// trimChangelog deletes what no restore needs, by the store's TrimOffset.
func (b *randomHistory) trimChangelog() {
	l := segmented.Unwrap(b.engine)
	require.LessOrEqual(b.t, l.TrimSteps(), 40)
	if at := int(l.TrimOffset()); at > b.logStart {
		require.LessOrEqual(b.t, at, len(b.changelog))
		clear(b.changelog[b.logStart:at])
		b.logStart = at
		b.trims++
	}
}

func (b *randomHistory) handle() storage.Handle {
	h, err := segmented.Handle(b.spec, b.engine, func() int64 { return 0 })
	require.NoError(b.t, err)
	return h
}

func (b *randomHistory) cut() {
	c := splitSized{}
	epoch, err := b.engine.Cut(func(ch storage.Change) error {
		c.changes = append(c.changes, storage.Change{Key: bytes.Clone(ch.Key), Value: bytes.Clone(ch.Value), Time: ch.Time})
		return nil
	})
	require.NoError(b.t, err)
	c.epoch = epoch
	b.cuts = append(b.cuts, c)
}

// settle settles some epochs and returns how many.
func (b *randomHistory) settle() int {
	n := b.rand.IntN(len(b.cuts) + 1)
	for _, c := range b.cuts[:n] {
		b.changelog = append(b.changelog, c.changes...)
		b.engine.Settle(c.epoch, checkpoint(len(b.changelog)))
	}
	b.cuts = b.cuts[n:]
	if b.rand.IntN(2) == 0 {
		b.trimChangelog()
	}
	return n
}

func (b *randomHistory) flush() { b.ignoreCrash(b.engine.Flush(b.rand.IntN(2) == 0)) }

func (b *randomHistory) ignoreCrash(err error) {
	if !errors.Is(err, crashpoint.Dead) {
		require.NoError(b.t, err)
	}
}

func checkpoint(n int) storage.Checkpoint {
	return storage.Checkpoint{TopicID: [16]byte{1}, Offset: int64(n), Time: time.UnixMilli(int64(n)).UTC()}
}

// reopen closes the store, perhaps loses the disk, and restores it from its changelog in batches.
// It returns how many epochs that were not settled were accepted.
func (b *randomHistory) reopen() (accepted int) {
	b.ignoreCrash(b.engine.Close(b.rand.IntN(2) == 0))
	accepted = b.rand.IntN(len(b.cuts) + 1)
	for _, c := range b.cuts[:accepted] {
		b.changelog = append(b.changelog, c.changes...)
	}
	b.cuts = nil
	b.start()
	if b.rand.IntN(3) == 0 {
		require.NoError(b.t, b.engine.Truncate())
	}
	c, ok := b.engine.Checkpoint()
	if !ok || int(c.Offset) < b.logStart {
		require.NoError(b.t, b.engine.Truncate())
		c.Offset = int64(b.logStart)
	}
	segmented.Unwrap(b.engine).SetLogStart(int64(b.logStart))
	for at := int(c.Offset); at < len(b.changelog); {
		n := min(at+1+b.rand.IntN(40), len(b.changelog))
		var offsets []int64
		for i := at; i < n; i++ {
			offsets = append(offsets, int64(i))
		}
		require.NoError(b.t, segmented.Unwrap(b.engine).RestoreAt(b.changelog[at:n], offsets, checkpoint(n)))
		at = n
	}
	segmented.Unwrap(b.engine).Committed(b.committed)
	return accepted
}

var keys = []string{"", "a", "a\x00", "a\x00\x00", "a\x00\xff", "ab", "b", "\x00", "\xff", "\xff\xff", "longer key with more in it"}

func (b *randomHistory) key() []byte {
	if b.rand.IntN(3) == 0 { // many, so that a flush takes several transactions
		return fmt.Appendf(nil, "n%03d", b.rand.IntN(150))
	}
	return []byte(keys[b.rand.IntN(len(keys))])
}

// time returns a time around the latest one, which it moves now and then.
func (b *randomHistory) time() int64 {
	if b.rand.IntN(4) == 0 {
		b.latest += b.rand.Int64N(30)
	}
	if b.rand.IntN(200) == 0 {
		b.latest += 500
	}
	return max(0, b.latest-b.rand.Int64N(retention+40))
}

func (b *randomHistory) value() []byte {
	return fmt.Appendf(nil, "%0*d", b.rand.IntN(12), b.rand.IntN(1000))
}

type step struct {
	weight int
	do     func()
}

func (b *randomHistory) run(n int, steps []step) {
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
	require.NoError(b.t, b.engine.Close(false))
}

func histories(t *testing.T, spec graph.Store, run func(b *randomHistory)) {
	spec.Name, spec.Retention, spec.Changelog = "s", retention*time.Millisecond, true
	for place := range engines {
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
				run(newRandomHistory(t, &s, place, seed))
			})
		}
	}
}
