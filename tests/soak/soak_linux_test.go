package soak

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

var (
	duration = flag.Duration("soak", 3*time.Second, "how long the stores are under load")
	rate     = flag.Int("rate", 25_000, "writes a second, of all stores")
	seed     = flag.Uint64("seed", 0, "of the writes; 0: a new one, which is printed")
)

const (
	keys      = 200_000
	valueSize = 100
	commits   = 100 * time.Millisecond
	windows   = 50 // keys of the window store
	retention = 20 * time.Second
)

// A change is a record of a changelog.
type change struct {
	storage.Change
	offset int64
}

// A soaked store is one with its changelog since its checkpoint, from which it is restored after a crash.
type soaked struct {
	t    *testing.T
	opts lsm.Options
	kind graph.Store

	engine  *lsm.Engine
	wrapped storage.Engine
	log     []change
	end     int64 // of the changelog

	readable atomic.Pointer[storage.Engine] // what readers take snapshots of
}

func (s *soaked) open() {
	e, info, err := lsm.Open(s.opts)
	require.NoError(s.t, err)
	require.Empty(s.t, info)
	s.engine = e
	s.wrapped, err = segmented.Wrap(&s.kind, e)
	require.NoError(s.t, err)
	at, ok := s.wrapped.Checkpoint()
	require.True(s.t, ok || s.end == 0 || len(s.log) > 0 && s.log[0].offset == 0, "no checkpoint, and the changelog does not begin")
	var rest []storage.Change
	for _, c := range s.log {
		if c.offset >= at.Offset {
			rest = append(rest, c.Change)
		}
	}
	require.NoError(s.t, s.wrapped.Restore(rest, storage.Checkpoint{Offset: s.end, Time: time.Now()}))
	s.readable.Store(&s.wrapped)
}

func (s *soaked) commit() {
	epoch, err := s.wrapped.Cut(func(c storage.Change) error {
		c.Key, c.Value = slices.Clone(c.Key), slices.Clone(c.Value)
		s.log = append(s.log, change{c, s.end})
		s.end++
		return nil
	})
	require.NoError(s.t, err)
	s.wrapped.Settle(epoch, storage.Checkpoint{Offset: s.end, Time: time.Now()})
	at, _ := s.wrapped.Checkpoint()
	n := 0
	for n < len(s.log) && s.log[n].offset < at.Offset {
		n++
	}
	s.log = slices.Delete(s.log, 0, n)
	require.NoError(s.t, s.engine.Healthy())
	require.NoError(s.t, s.engine.Damaged())
}

// reopen stops the store, cleanly or as a crash does, which flushes nothing, and starts it again.
func (s *soaked) reopen(clean bool) {
	s.commit()
	s.readable.Store(nil)
	require.NoError(s.t, s.wrapped.Close(clean))
	s.open()
}

// table is a store of keys, with the version of each row: how often it was written. A row of version 0 is none; each eighth
// version is a deletion.
type table struct {
	soaked
	versions []uint32
	value    []byte
}

func rowKey(k uint64) []byte { return binary.BigEndian.AppendUint64(nil, k*0x9e3779b97f4a7c15) }

// fill appends the value of a version of a row: readers see whether it is whole.
func fill(value []byte, k uint64, version uint32) []byte {
	value = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(value[:0], k), version)
	for i := len(value); i < valueSize; i++ {
		value = append(value, byte(k)+byte(version)*31+byte(i))
	}
	return value
}

func whole(value []byte) bool {
	return len(value) == valueSize &&
		string(fill(nil, binary.BigEndian.Uint64(value), binary.BigEndian.Uint32(value[8:]))) == string(value)
}

func (s *table) write(k uint64) {
	s.versions[k]++
	if v := s.versions[k]; v%8 == 0 {
		require.NoError(s.t, s.wrapped.Delete(rowKey(k), int64(v)))
		return
	}
	s.value = fill(s.value, k, s.versions[k])
	require.NoError(s.t, s.wrapped.Put(rowKey(k), s.value, int64(s.versions[k])))
}

func (s *table) check(k uint64) {
	value, at, ok, err := s.wrapped.Get(rowKey(k))
	require.NoError(s.t, err)
	v := s.versions[k]
	require.Equal(s.t, v%8 != 0, ok, "row %d of version %d", k, v)
	if ok {
		require.Equal(s.t, int64(v), at)
		require.Equal(s.t, fill(s.value, k, v), value)
	}
}

// series is a store of windows: each write opens one, a millisecond after the last.
type series struct {
	soaked
	now   int64
	value []byte
}

func (s *series) view() storage.WindowBytes {
	h, err := segmented.Handle(&s.kind, s.wrapped, func() int64 { return s.now })
	require.NoError(s.t, err)
	return h.Windows
}

func (s *series) write() {
	s.now++
	k := uint64(s.now % windows)
	s.value = fill(s.value, k, uint32(s.now))
	written, err := s.view().Put(rowKey(k), s.now, s.value, s.now)
	require.NoError(s.t, err)
	require.True(s.t, written)
}

// check counts the rows of a key: one for each of its writes within the retention.
func (s *series) check(k uint64) {
	n := 0
	s.view().Visit(rowKey(k), 0, s.now, func(e storage.WindowEntry, err error) bool {
		require.NoError(s.t, err)
		require.Equal(s.t, fill(s.value, k, uint32(e.Start)), e.Value)
		n++
		return true
	})
	want := 0
	for at := s.now; at > max(s.now-retention.Milliseconds(), 0); at-- {
		if uint64(at%windows) == k {
			want++
		}
	}
	require.Equal(s.t, want, n)
}

// use is what the process and the directory use.
type use struct {
	anon, disk                           int64
	files, descriptors, maps, goroutines int
}

func (u use) String() string {
	return fmt.Sprintf("RssAnon %3d MB, on disk %4d MB in %3d files, %3d of them mapped, %2d descriptors, %2d goroutines",
		u.anon>>20, u.disk>>20, u.files, u.maps, u.descriptors, u.goroutines)
}

func measure(t *testing.T, dir string) use {
	u := use{goroutines: runtime.NumGoroutine()}
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	require.NoError(t, err)
	u.anon = kb << 10
	descriptors, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	u.descriptors = len(descriptors)
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	u.maps = strings.Count(string(maps), dir)
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // merged meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			u.disk += info.Size()
		}
		u.files++
		return nil
	}))
	return u
}

// peak returns the greatest of each figure.
func peak(all []use) (p use) {
	for _, u := range all {
		p.anon, p.disk = max(p.anon, u.anon), max(p.disk, u.disk)
		p.files, p.maps = max(p.files, u.files), max(p.maps, u.maps)
		p.descriptors, p.goroutines = max(p.descriptors, u.descriptors), max(p.goroutines, u.goroutines)
	}
	return p
}

// read scans snapshots of a store until stop is closed. Some scans end in the middle, some are slow, and some snapshots are read
// only after a while.
func read(t *testing.T, s *soaked, rnd *rand.Rand, stop <-chan struct{}) (scans, rows int) {
	for {
		select {
		case <-stop:
			return scans, rows
		default:
		}
		e := s.readable.Load()
		if e == nil {
			runtime.Gosched()
			continue
		}
		snapshot, err := segmented.OpenSnapshot(*e)
		if errors.Is(err, storage.ErrUnavailable) {
			continue
		}
		if !assert.NoError(t, err) {
			return scans, rows
		}
		limit := -1
		if rnd.IntN(3) == 0 {
			limit = rnd.IntN(1000)
		}
		pause := time.Duration(rnd.IntN(200)) * time.Millisecond
		select {
		case <-stop:
		case <-time.After(pause):
		}
		var last []byte
		for r := snapshot.Rows(storage.Range{}); limit != 0; limit-- {
			row, ok, err := r.Next()
			if errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrSnapshotEnded) || err == nil && !ok {
				break
			}
			if !assert.NoError(t, err) || !assert.Less(t, string(last), string(row.Key)) {
				break
			}
			last = append(last[:0], row.Key...)
			if s.kind.Kind == graph.Timestamped && !assert.True(t, whole(row.Value), "%x", row.Key) {
				break
			}
			rows++
		}
		scans++
		snapshot.Close()
	}
}

// TestSoak has a table with uniform writes, one with skewed writes, and windows that expire, in one budget. They are read from
// outside all the time; every now and then one of them is stopped or crashes, and is opened again. All rows are as the model has
// them. In a soak of ten minutes or more, nothing that the process uses may grow: the peak of the last quarter is compared with
// that of the second.
func TestSoak(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	dir := t.TempDir()
	before := measure(t, dir)
	budget := memtable.NewBudget(8 << 20)
	defer budget.Close()
	options := func(name string) lsm.Options {
		return lsm.Options{
			Path: filepath.Join(dir, name, "0"), Store: "soak/" + name, Budget: budget, FileBytes: 4 << 20, ReplayBytes: 32 << 20,
		}
	}
	uniform := &table{versions: make([]uint32, keys)}
	skewed := &table{versions: make([]uint32, keys)}
	timed := &series{}
	for _, x := range []struct {
		s    *soaked
		name string
		kind graph.Store
	}{
		{&uniform.soaked, "uniform", graph.Store{Name: "uniform"}},
		{&skewed.soaked, "skewed", graph.Store{Name: "skewed"}},
		{&timed.soaked, "windows", graph.Store{
			Name: "windows", Kind: graph.Window, Retention: retention, Segment: retention / 4, Size: time.Millisecond, ByTime: true,
		}},
	} {
		x.s.t, x.s.opts, x.s.kind = t, options(x.name), x.kind
		x.s.open()
	}
	all := []*soaked{&uniform.soaked, &skewed.soaked, &timed.soaked}
	zipf := rand.NewZipf(rnd, 1.1, 1, keys-1)

	var readers sync.WaitGroup
	stop := make(chan struct{})
	var scans, rows atomic.Int64
	for i, s := range all {
		own := rand.New(rand.NewPCG(*seed, uint64(i+1)))
		readers.Go(func() {
			n, m := read(t, s, own, stop)
			scans.Add(int64(n))
			rows.Add(int64(m))
		})
	}

	var uses []use
	writes, opened := 0, 0
	begin := time.Now()
	tick := time.NewTicker(commits)
	for last, sampled := begin, begin; time.Since(begin) < *duration && !t.Failed(); <-tick.C {
		// What was missed is not made up for: a soak is not a benchmark.
		n := int(float64(*rate) * min(time.Since(last), 2*commits).Seconds())
		last = time.Now()
		for range n {
			switch rnd.IntN(4) {
			case 0:
				timed.write()
			case 1:
				skewed.write(zipf.Uint64())
			default:
				uniform.write(rnd.Uint64N(keys))
			}
			writes++
		}
		for range 20 {
			uniform.check(rnd.Uint64N(keys))
			skewed.check(zipf.Uint64())
		}
		timed.check(rnd.Uint64N(windows))
		for _, s := range all {
			s.commit()
		}
		if rnd.IntN(100) == 0 {
			all[rnd.IntN(len(all))].reopen(rnd.IntN(2) == 0)
			opened++
		}
		if time.Since(sampled) >= max(*duration/1000, commits) {
			sampled = time.Now()
			uses = append(uses, measure(t, dir))
			if len(uses)%50 == 0 {
				t.Logf("%7.0f s: %d writes, opened %d times, %v", time.Since(begin).Seconds(), writes, opened, uses[len(uses)-1])
			}
		}
	}
	tick.Stop()
	close(stop)
	readers.Wait()

	for _, s := range all {
		s.reopen(false)
	}
	for k := range uint64(keys) {
		uniform.check(k)
		skewed.check(k)
	}
	for k := range uint64(windows) {
		timed.check(k)
	}
	for _, s := range all {
		require.NoError(t, s.wrapped.Close(true))
	}
	runtime.GC()
	after := measure(t, dir)
	assert.Zero(t, after.maps, "no file is mapped once its store is closed")
	assert.LessOrEqual(t, after.descriptors, before.descriptors+1, "the runtime's own poller at most is new")
	t.Logf("%d writes, opened %d times, %d scans of %d rows; %v", writes, opened, scans.Load(), rows.Load(), after)

	if *duration < 10*time.Minute {
		return
	}
	early, late := peak(uses[len(uses)/4:len(uses)/2]), peak(uses[len(uses)*3/4:])
	t.Logf("peak of the second quarter: %v", early)
	t.Logf("peak of the last quarter:   %v", late)
	flat := func(what string, early, late, slack int64) {
		assert.LessOrEqual(t, late, early+early/4+slack, what)
	}
	flat("anonymous memory", early.anon, late.anon, 8<<20)
	flat("bytes on disk", early.disk, late.disk, 8<<20)
	flat("files", int64(early.files), int64(late.files), 10)
	flat("mapped files", int64(early.maps), int64(late.maps), 10)
	flat("descriptors", int64(early.descriptors), int64(late.descriptors), 4)
	flat("goroutines", int64(early.goroutines), int64(late.goroutines), 2)
}
