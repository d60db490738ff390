package lsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

var (
	seriesSeed      = flag.Uint64("series-seed", 0, "run one random history of series, with this seed")
	seriesHistories = flag.Int("series-histories", 12, "random histories of series")
)

// Keys are those of a store of windows with duplicates: class, segment, key of a user, time, number of the duplicate.
const seriesClass = 2

var seriesOf = storage.Series{Class: seriesClass, Tail: 12}

func seriesPrefix(segment int64, name string) []byte {
	b := appendOrdered([]byte{seriesClass}, segment)
	for _, c := range []byte(name) { // no name is the beginning of another
		if b = append(b, c); c == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 0)
}

func appendOrdered(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)^(1<<63))
}

type seriesRow struct {
	value string
	time  int64
}

// seriesState is a store as it should be. Rows of segments below the one in expired need not be there any more.
type seriesState struct {
	rows    map[string]seriesRow
	expired int64
}

func (s *seriesState) clone() seriesState { return seriesState{maps.Clone(s.rows), s.expired} }

func (s *seriesState) hides(key []byte) bool {
	return len(key) > 0 && key[0] == seriesClass && bytes.Compare(key, appendOrdered([]byte{seriesClass}, s.expired)) < 0
}

// visible returns what a scan visits, in its order.
func (s *seriesState) visible(r storage.Range) []string {
	var keys []string
	for key := range s.rows {
		if r.Contains([]byte(key)) && !s.hides([]byte(key)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if r.Backward {
		slices.Reverse(keys)
	}
	out := []string{}
	for _, key := range keys {
		out = append(out, fmt.Sprintf("%x=%s@%d", key, s.rows[key].value, s.rows[key].time))
	}
	return out
}

type seriesCut struct {
	epoch   uint64
	changes []storage.Change
}

type seriesSnapshot struct {
	storage.Snapshot
	state seriesState
}

type seriesHistory struct {
	t         *testing.T
	rand      *rand.Rand
	options   lsm.Options
	e         *lsm.Engine
	indexed   bool // the engine was told of the series
	now       seriesState
	before    []seriesState // before each epoch that has not settled
	cuts      []seriesCut
	changelog []storage.Change
	recent    [64][]byte // keys that were written
	clock     int64
	// Histories differ in how long series are, how far out of order their rows come, and whether some are of times far away, because of which
	// no file and no memtable is left out.
	segment, disorder int64
	names             int
	extremes          bool
	snapshots         []seriesSnapshot
	scanned           int
	depth             int
}

func (h *seriesHistory) name() string {
	odd := []string{"", "a", "ab", "a\x00", "\x00", "a\x00\xff", "\xff", "\xff\xff", "b"}
	if n := h.rand.IntN(h.names); n < len(odd) {
		return odd[n]
	} else {
		return fmt.Sprint("n", n)
	}
}

func (h *seriesHistory) at() int64 {
	if h.extremes && h.rand.IntN(40) == 0 {
		return []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, math.MaxInt64 - 1, math.MaxInt64}[h.rand.IntN(6)]
	}
	return h.clock - h.rand.Int64N(h.disorder)
}

func (h *seriesHistory) segmentAt(at int64) int64 {
	n := at / h.segment
	if at < 0 && n*h.segment != at {
		n--
	}
	return n
}

func (h *seriesHistory) key() []byte {
	if h.rand.IntN(12) == 0 { // of other classes, and shorter than the end of a series' keys
		return append([]byte{byte(1 + 2*h.rand.IntN(2))}, make([]byte, h.rand.IntN(20))...)
	}
	at := h.at()
	b := appendOrdered(seriesPrefix(h.segmentAt(at), h.name()), at)
	return binary.BigEndian.AppendUint32(b, []uint32{0, 1, 2, math.MaxUint32}[h.rand.IntN(4)])
}

func (h *seriesHistory) write() {
	key := h.key()
	if again := h.rand.IntN(len(h.recent)); h.rand.IntN(3) == 0 && h.recent[again] != nil {
		key = h.recent[again]
	} else {
		h.recent[again] = key
	}
	if h.now.hides(key) {
		return
	}
	at := h.rand.Int64N(1 << 40)
	if h.rand.IntN(3) == 0 {
		require.NoError(h.t, h.e.Delete(key, at))
		delete(h.now.rows, string(key))
		return
	}
	value := fmt.Sprintf("%0*d", h.rand.IntN(60), h.rand.IntN(1000))
	require.NoError(h.t, h.e.Put(key, []byte(value), at))
	h.now.rows[string(key)] = seriesRow{value, at}
}

// scanRange returns a scan of a part of a series.
func (h *seriesHistory) scanRange() storage.Range {
	from := h.at()
	prefix := seriesPrefix(h.segmentAt(from), h.name())
	// Most are near a row that was written: an end that is a row's decides most.
	if near := h.recent[h.rand.IntN(len(h.recent))]; h.rand.IntN(4) > 0 && seriesOf.Prefix(near) != nil {
		prefix = seriesOf.Prefix(near)
		from = int64(binary.BigEndian.Uint64(near[len(prefix):])^(1<<63)) - max(0, h.rand.Int64N(8)-4)
	}
	return seriesRangeOf(h.rand, prefix, from, h.at, h.indexed)
}

func seriesRangeOf(rnd *rand.Rand, prefix []byte, from int64, at func() int64, indexed bool) storage.Range {
	to := from + rnd.Int64N(1<<rnd.IntN(6))
	switch rnd.IntN(8) {
	case 0:
		from = math.MinInt64
	case 1:
		to = math.MaxInt64
	case 2:
		to = at()
	case 3, 4:
		from, to = from-rnd.Int64N(1<<rnd.IntN(6)), from
	}
	r := storage.Range{Backward: rnd.IntN(2) == 0, FromAfter: rnd.IntN(3) == 0, ToBefore: rnd.IntN(3) == 0}
	r.From, r.To = appendOrdered(slices.Clone(prefix), from), appendOrdered(slices.Clone(prefix), to)
	if rnd.IntN(2) == 0 {
		r.From = binary.BigEndian.AppendUint32(r.From, uint32(rnd.IntN(3)))
	}
	if rnd.IntN(4) > 0 {
		r.To = binary.BigEndian.AppendUint32(r.To, []uint32{0, 1, math.MaxUint32}[rnd.IntN(3)])
	}
	if indexed {
		r.Series = len(prefix)
	}
	return r
}

func (h *seriesHistory) scan() {
	r := h.scanRange()
	if h.rand.IntN(20) == 0 {
		r = storage.Range{Backward: h.rand.IntN(2) == 0}
	}
	got := []string{}
	h.e.Visit(r, func(x storage.Entry, err error) bool {
		require.NoError(h.t, err)
		if !h.now.hides(x.Key) {
			got = append(got, fmt.Sprintf("%x=%s@%d", x.Key, x.Value, x.Time))
		}
		return true
	})
	require.Equal(h.t, h.now.visible(r), got, "%+v", r)
	h.scanned += len(got)
}

// scanAndWrite writes in the middle of a scan, which sees what is ahead of it.
func (h *seriesHistory) scanAndWrite() {
	r := h.scanRange()
	left := r
	ended := true
	h.depth++
	defer func() { h.depth-- }()
	h.e.Visit(r, func(x storage.Entry, err error) bool {
		require.NoError(h.t, err)
		if h.now.hides(x.Key) {
			return true
		}
		key := slices.Clone(x.Key)
		want := h.now.visible(left)
		require.NotEmpty(h.t, want, "%+v", r)
		require.Equal(h.t, want[0], fmt.Sprintf("%x=%s@%d", x.Key, x.Value, x.Time), "%+v", r)
		left = left.Behind(key)
		for range h.rand.IntN(4) {
			h.write()
		}
		// Near the scan, which few of the others are.
		near := slices.Clone(key)
		near[len(near)-5] += byte(h.rand.IntN(5) - 2)
		if h.rand.IntN(2) == 0 && !h.now.hides(near) {
			require.NoError(h.t, h.e.Put(near, []byte("near"), 1))
			h.now.rows[string(near)] = seriesRow{"near", 1}
		}
		if h.depth < 3 && h.rand.IntN(4) == 0 {
			h.scanAndWrite()
		}
		ended = h.rand.IntN(20) > 0
		return ended
	})
	if ended {
		require.Empty(h.t, h.now.visible(left), "%+v", r)
	}
}

// scanAndWriteAfterSeal is scanAndWrite while there is nothing in the active memtable.
func (h *seriesHistory) scanAndWriteAfterSeal() {
	h.cut()
	for len(h.cuts) > 0 {
		h.settle()
	}
	h.tolerate(h.e.Flush(false))
	h.scanAndWrite()
}

func (h *seriesHistory) cut() {
	if len(h.cuts) == 3 {
		return
	}
	var c seriesCut
	epoch, err := h.e.Cut(func(x storage.Change) error {
		c.changes = append(c.changes, storage.Change{Key: bytes.Clone(x.Key), Value: bytes.Clone(x.Value), Time: x.Time})
		return nil
	})
	require.NoError(h.t, err)
	c.epoch = epoch
	h.cuts, h.before = append(h.cuts, c), append(h.before, h.now.clone())
}

func (h *seriesHistory) expire() {
	if to := h.segmentAt(h.clock-h.disorder) - 1; to > h.now.expired {
		h.now.expired = to
		h.e.Expire([]byte{seriesClass}, appendOrdered([]byte{seriesClass}, to))
	}
}

func (h *seriesHistory) settle() {
	n := h.rand.IntN(len(h.cuts) + 1)
	for _, c := range h.cuts[:n] {
		h.changelog = append(h.changelog, c.changes...)
		h.e.Settle(c.epoch, h.checkpoint(len(h.changelog)))
	}
	h.cuts, h.before = h.cuts[n:], h.before[n:]
}

func (h *seriesHistory) checkpoint(n int) storage.Checkpoint {
	return storage.Checkpoint{TopicID: [16]byte{1}, Offset: int64(n), Time: time.UnixMilli(int64(n)).UTC()}
}

func (h *seriesHistory) undo() {
	require.NoError(h.t, h.e.Undo())
	h.undoModel()
}

func (h *seriesHistory) undoModel() {
	h.now, h.before, h.cuts = h.before[0].clone(), h.before[:1], nil
}

func (h *seriesHistory) flush() { h.tolerate(h.e.Flush(h.rand.IntN(2) == 0)) }

func (h *seriesHistory) tolerate(err error) {
	if !errors.Is(err, crashpoint.Dead) {
		require.NoError(h.t, err)
	}
}

func (h *seriesHistory) open() {
	h.e = open(h.t, h.options)
	if h.rand.IntN(3) > 0 { // files end with segments, and are removed with them
		h.e.GroupSegments(storage.Segments{Of: func(key []byte) storage.Segment {
			if len(key) < 9 || key[0] != seriesClass {
				return storage.Segment{}
			}
			return storage.Segment{Class: seriesClass, Number: int64(binary.BigEndian.Uint64(key[1:]) ^ (1 << 63))}
		}})
	}
	switch h.rand.IntN(6) {
	case 0: // as a program did that knew of no series
		h.indexed = false
	case 1: // as one that had the store as another kind
		h.e.IndexSeries(storage.Series{Class: seriesClass, Tail: 16})
		h.indexed = false
	default:
		h.e.IndexSeries(seriesOf)
		h.indexed = true
	}
}

func (h *seriesHistory) reopen() {
	h.closeSnapshots()
	h.tolerate(h.e.Close(h.rand.IntN(2) == 0))
	accepted := h.rand.IntN(len(h.cuts) + 1)
	for _, c := range h.cuts[:accepted] {
		h.changelog = append(h.changelog, c.changes...)
	}
	h.before = h.before[accepted:]
	h.undoModel()
	h.open()
	c, _ := h.e.Checkpoint()
	if h.now.expired > math.MinInt64 {
		h.e.Expire([]byte{seriesClass}, appendOrdered([]byte{seriesClass}, h.now.expired))
	}
	for at := int(c.Offset); at < len(h.changelog); {
		n := min(at+1+h.rand.IntN(100), len(h.changelog))
		require.NoError(h.t, h.e.Restore(h.changelog[at:n], h.checkpoint(n)))
		at = n
	}
}

func (h *seriesHistory) snapshot() {
	if len(h.snapshots) == 3 {
		h.snapshots[0].Close()
		h.snapshots = h.snapshots[1:]
	}
	s, err := h.e.Snapshot()
	require.NoError(h.t, err)
	h.snapshots = append(h.snapshots, seriesSnapshot{s, h.before[0].clone()})
}

func (h *seriesHistory) readSnapshot() {
	if len(h.snapshots) == 0 {
		return
	}
	s, r := h.snapshots[h.rand.IntN(len(h.snapshots))], h.scanRange()
	got := []string{}
	rows := s.Rows(r)
	for {
		x, ok, err := rows.Next()
		if errors.Is(err, storage.ErrSnapshotEnded) {
			return
		}
		require.NoError(h.t, err)
		if !ok {
			break
		}
		if !s.state.hides(x.Key) {
			got = append(got, fmt.Sprintf("%x=%s@%d", x.Key, x.Value, x.Time))
		}
		if h.rand.IntN(4) == 0 {
			h.write()
		}
	}
	require.Equal(h.t, s.state.visible(r), got, "%+v", r)
}

func (h *seriesHistory) closeSnapshots() {
	for _, s := range h.snapshots {
		s.Close()
	}
	h.snapshots = nil
}

func (h *seriesHistory) run(steps int) {
	all := []struct {
		weight int
		do     func()
	}{
		{200, h.write}, {120, h.scan}, {20, h.scanAndWrite}, {5, h.scanAndWriteAfterSeal}, {12, h.cut}, {12, h.settle}, {3, h.flush}, {3, h.undo}, {2, h.reopen}, {2, h.expire},
		{4, h.snapshot}, {12, h.readSnapshot}, {20, func() { h.clock += h.rand.Int64N(12) }},
		{1, func() { merged(h.e) }},
	}
	sum := 0
	for _, s := range all {
		sum += s.weight
	}
	for range steps {
		n := h.rand.IntN(sum)
		for _, s := range all {
			if n -= s.weight; n < 0 {
				s.do()
				break
			}
		}
	}
	h.undo()
	for range 100 {
		h.scan()
	}
	h.closeSnapshots()
}

// Scans of series visit what a map of all rows has: in memory, in files that note the numbers of their rows and in files that do not,
// whatever is written during them, flushed, merged, undone, expired or killed.
func TestSeries_RandomHistories(t *testing.T) {
	seeds := []uint64{*seriesSeed}
	if *seriesSeed == 0 {
		seeds = nil
		for range *seriesHistories {
			seeds = append(seeds, rand.Uint64()|1)
		}
	}
	scanned := 0
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 3))
			o := lsm.Options{
				Path: pathIn(t), NoSync: true, PageSize: 1024, FileBytes: 1 << (10 + rnd.IntN(6)), Factor: 2 + rnd.IntN(3),
				MaxRuns: 3 + rnd.IntN(8), ReplayBytes: 1 << (11 + rnd.IntN(6)), Budget: memtable.NewBudget(1 << (15 + rnd.IntN(6))),
			}
			if rnd.IntN(3) == 0 { // the process dies now and then
				passes, every := new(atomic.Uint32), uint32(20+rnd.IntN(100))
				o.Hook = func(crashpoint.Point) {
					if passes.Add(1)%every == 0 {
						panic(crashpoint.Dead)
					}
				}
			}
			h := &seriesHistory{
				t: t, rand: rnd, options: o, clock: rnd.Int64N(2000) - 1000, now: seriesState{rows: map[string]seriesRow{}, expired: math.MinInt64},
				segment: 20 << (5 * rnd.IntN(3)), disorder: 5 << rnd.IntN(10), names: 1 + rnd.IntN(25), extremes: rnd.IntN(4) == 0,
			}
			h.before = []seriesState{h.now.clone()}
			h.open()
			h.run(1500)
			h.tolerate(h.e.Close(true))
			scanned += h.scanned
		})
	}
	if len(seeds) > 1 {
		require.Greater(t, scanned, 100)
	}
}

// Other goroutines scan series in snapshots while the owner writes, flushes and merges: what they visit is what is in a scan of all rows.
func TestSeries_SnapshotsWhileTheOwnerWrites(t *testing.T) {
	rnd := random(t)
	o := tiny(pathIn(t))
	o.Budget = memtable.NewBudget(1 << 18)
	e := open(t, o)
	e.IndexSeries(seriesOf)
	const seriesWrites = 1500
	var wg sync.WaitGroup
	var ended atomic.Bool
	var reads atomic.Int64
	for reader := range 2 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(reader), 1))
			for !ended.Load() {
				s, err := e.Snapshot()
				if err != nil {
					t.Error(err)
					return
				}
				all, ok := entriesOf(t, s, storage.Range{})
				for range 20 {
					at := func() int64 { return rnd.Int64N(seriesWrites) }
					r := seriesRangeOf(rnd, seriesPrefix(0, fmt.Sprint("n", 10+rnd.IntN(5))), at(), at, true)
					got, still := entriesOf(t, s, r)
					want := slices.DeleteFunc(slices.Clone(all), func(x storage.Entry) bool { return !r.Contains(x.Key) })
					if r.Backward {
						slices.Reverse(want)
					}
					if ok && still && fmt.Sprint(want) != fmt.Sprint(got) {
						t.Errorf("%+v: %v, and there are %v", r, got, want)
					}
					reads.Add(int64(len(got)))
				}
				s.Close()
			}
		})
	}
	h := &seriesHistory{t: t, rand: rnd, options: o, e: e, indexed: true, now: seriesState{rows: map[string]seriesRow{}, expired: math.MinInt64},
		segment: 1 << 20, disorder: 50, names: 15}
	h.before = []seriesState{h.now.clone()}
	for reads.Load() < 200 || h.clock < seriesWrites {
		h.clock = min(h.clock+1, seriesWrites)
		h.write()
		h.write()
		if h.rand.IntN(40) == 0 {
			h.scan()
		}
		if h.rand.IntN(20) == 0 {
			h.cut()
			h.settle()
		}
		if h.rand.IntN(300) == 0 {
			h.undo()
		}
		if h.rand.IntN(300) == 0 {
			h.flush()
		}
	}
	ended.Store(true)
	wg.Wait()
	require.NoError(t, e.Close(true))
}

// entriesOf returns the rows of a scan; ok is false when the snapshot was ended.
func entriesOf(t *testing.T, s storage.Snapshot, r storage.Range) (all []storage.Entry, ok bool) {
	rows := s.Rows(r)
	for {
		x, more, err := rows.Next()
		if errors.Is(err, storage.ErrSnapshotEnded) {
			return nil, false
		}
		if err != nil {
			t.Error(err)
			return nil, false
		}
		if !more {
			return all, true
		}
		all = append(all, storage.Entry{Key: bytes.Clone(x.Key), Value: bytes.Clone(x.Value), Time: x.Time})
	}
}

// A file or a memtable that has nothing of a series but a deletion hides the row in older files, and a scan sees a row that is written ahead
// of it though nothing in memory was of the series when it began.
func TestSeries_WhatIsLeftOutOfScans(t *testing.T) {
	key := func(number uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{seriesClass, 'a'}, number), 0, 0, 0, 0)
	}
	visit := func(e *lsm.Engine, from, to uint64, f func(number uint64)) (numbers []uint64) {
		r := storage.Range{From: key(from), To: key(to), Series: 2}
		e.Visit(r, func(x storage.Entry, err error) bool {
			require.NoError(t, err)
			numbers = append(numbers, binary.BigEndian.Uint64(x.Key[2:]))
			f(numbers[len(numbers)-1])
			return true
		})
		return numbers
	}
	none := func(uint64) {}
	o := tiny(pathIn(t))
	o.Factor, o.MaxRuns, o.ReplayBytes = 100, 100, 1<<20 // neither merges nor flushes that the test does not want
	e := open(t, o)
	e.IndexSeries(seriesOf)
	for n := range uint64(100) {
		require.NoError(t, e.Put(key(10+n), []byte("v"), 1))
	}
	settle(t, e, 1)
	require.NoError(t, e.Flush(true))
	e.Trim()
	require.NoError(t, e.Delete(key(50), 1))
	require.Equal(t, []uint64{49, 51}, visit(e, 49, 51, none))
	settle(t, e, 2)
	require.Equal(t, []uint64{49, 51}, visit(e, 49, 51, none))
	require.NoError(t, e.Flush(true))
	require.Equal(t, []uint64{49, 51}, visit(e, 49, 51, none))
	e.Trim()
	require.Equal(t, []uint64{49, 51}, visit(e, 49, 51, none))
	require.NoError(t, e.Close(true))
	e = open(t, o)
	e.IndexSeries(seriesOf)
	require.Equal(t, []uint64{49, 51}, visit(e, 49, 51, none))
	require.Empty(t, visit(e, 50, 50, none))

	got := visit(e, 105, 120, func(number uint64) {
		if number == 107 {
			require.NoError(t, e.Delete(key(108), 1))
			require.NoError(t, e.Put(key(115), []byte("ahead"), 1))
		}
	})
	require.Equal(t, []uint64{105, 106, 107, 109, 115}, got)
	require.NoError(t, e.Close(true))
}
