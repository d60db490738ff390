package segmented_test

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

// onePartition is segmented.OpenPartitions of one snapshot.
type onePartition struct{ *segmented.Snapshot }

var errReadOnly = errors.New("read only")

func (onePartition) Put([]byte, []byte, int64) error { return errReadOnly }

func (onePartition) Delete([]byte, int64) error { return errReadOnly }

func (p onePartition) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) {
		for rows := p.Rows(r); ; {
			e, ok, err := rows.Next()
			if !ok && err == nil || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (p onePartition) Len() (n int64, err error) {
	for _, err := range p.Scan(storage.Range{}) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (p onePartition) Observed([]byte) (int64, error) { return p.Snapshot.Observed(), nil }

func (onePartition) PartitionOf([]byte) (*segmented.Store, error) { return nil, errReadOnly }

// dump reads a store in all ways.
func dump(t testing.TB, h storage.Handle) (out []string) {
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	windows := func(what string, rows iter.Seq2[storage.WindowEntry, error]) {
		for e, err := range rows {
			require.NoError(t, err)
			note("%s %q %d %d %q %d %v", what, e.Key, e.Start, e.End, e.Value, e.Time, e.Headers)
		}
	}
	keys := [][]byte{}
	for i := range 6 {
		keys = append(keys, fmt.Append(nil, "k", i))
	}
	everything := storage.Range{}
	switch {
	case h.Bytes != nil:
		for e, err := range h.Bytes.Scan(everything) {
			require.NoError(t, err)
			note("%q %q %d %v", e.Key, e.Value, e.Time, e.Headers)
			v, at, ok, err := h.Bytes.Get(e.Key)
			require.NoError(t, err)
			note("%q %d %t", v, at, ok)
		}
		n, err := h.Bytes.Len()
		require.NoError(t, err)
		note("%d rows", n)
	case h.Windows != nil:
		w := h.Windows
		note("observed %d", w.ObservedTime())
		windows("all", w.All(everything, math.MinInt64, math.MaxInt64))
		windows("back", w.All(storage.Range{From: keys[1], To: keys[4], Backward: true}, 100, math.MaxInt64))
		windows("time", w.ByTime(math.MinInt64, math.MaxInt64))
		for _, key := range keys {
			windows("fetch", w.Fetch(key, 0, math.MaxInt64, false))
			windows("fetch back", w.Fetch(key, 50, math.MaxInt64, true))
			// Around the oldest time that has not expired, so that the first segments have.
			oldest := w.ObservedTime() - 200
			windows("fetch oldest", w.Fetch(key, oldest-40, oldest+40, false))
			windows("fetch oldest back", w.Fetch(key, oldest-40, oldest+40, true))
			w.Visit(key, 0, 500, func(e storage.WindowEntry, err error) bool {
				require.NoError(t, err)
				v, at, ok, err := w.Get(key, e.Start)
				require.NoError(t, err)
				note("%d %q %d %t", e.Start, v, at, ok)
				return true
			})
		}
	case h.Sessions != nil:
		s := h.Sessions
		note("observed %d", s.ObservedTime())
		windows("all", s.All(everything, math.MinInt64, math.MaxInt64))
		windows("time", s.ByTime(math.MinInt64, math.MaxInt64))
		for _, key := range keys {
			windows("find", s.Find(key, 0, math.MaxInt64, false))
			for e, err := range s.Find(key, 0, 400, true) {
				require.NoError(t, err)
				v, ok, err := s.Get(key, e.Start, e.End)
				require.NoError(t, err)
				note("%q %t", v, ok)
			}
		}
	default:
		vs := h.Versions
		note("observed %d", vs.ObservedTime())
		for e, err := range vs.Latest() {
			require.NoError(t, err)
			note("latest %q %q %d %v", e.Key, e.Value, e.Time, e.Headers)
		}
		for _, key := range keys {
			for v, err := range vs.History(key, math.MinInt64, math.MaxInt64, false) {
				require.NoError(t, err)
				note("version %q %d %d %v", v.Value, v.From, v.To, v.Headers)
			}
			for at := int64(0); at < 800; at += 37 {
				v, ok, err := vs.AsOf(key, at)
				require.NoError(t, err)
				note("as of %d: %q %t", at, v.Value, ok)
			}
		}
	}
	return out
}

// TestReadHandle_IsTheSettledStore compares what is read from outside with what the owner of the store
// read when the last epoch settled, in all ways and for each kind of store; after rows were written and
// cut, and undone or not, it is still the same.
func TestReadHandle_IsTheSettledStore(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	for _, place := range []string{"memory", "disk"} {
		for _, kind := range []graph.Store{
			{Kind: graph.Plain}, {Kind: graph.Timestamped}, {Kind: graph.Window}, {Kind: graph.Window, ByTime: true},
			{Kind: graph.Window, Duplicates: true}, {Kind: graph.Session}, {Kind: graph.Session, ByTime: true}, {Kind: graph.Versioned},
			{Kind: graph.Window, Duplicates: true, Segment: 30 * time.Millisecond}, {Kind: graph.Session, Segment: 30 * time.Millisecond},
			{Kind: graph.Versioned, Segment: 30 * time.Millisecond},
		} {
			for _, headers := range []bool{false, true} {
				if headers && kind.Kind == graph.Plain {
					continue
				}
				spec := kind
				spec.Name, spec.Changelog, spec.KeepHeaders = "s", true, headers
				spec.Retention, spec.Size = 200*time.Millisecond, 10*time.Millisecond
				name := fmt.Sprintf("%s/kind %v, by time %t, duplicates %t, segment %v, headers %t", place, spec.Kind, spec.ByTime,
					spec.Duplicates, spec.Segment, headers)
				t.Run(name, func(t *testing.T) { readOutside(t, &spec, place, rand.New(rand.NewPCG(seed, 1))) })
			}
		}
	}
}

func readOutside(t *testing.T, spec *graph.Store, place string, rnd *rand.Rand) {
	engine := storage.Engine(memtable.New(nil))
	if place == "disk" {
		o := lsm.Options{Path: filepath.Join(t.TempDir(), "0"), NoSync: true, PageSize: 1024, FileBytes: 8 << 10, Factor: 2}
		var err error
		engine, _, err = lsm.Open(o)
		require.NoError(t, err)
	}
	e, err := segmented.Wrap(spec, engine)
	require.NoError(t, err)
	owner, err := segmented.Handle(spec, e, func() int64 { return 5 })
	require.NoError(t, err)
	open := func() (segmented.OpenPartitions, error) {
		s, err := segmented.OpenSnapshot(e)
		if err != nil {
			return nil, err
		}
		return onePartition{s}, nil
	}
	outside := segmented.ReadHandle(spec, open, errReadOnly, func() int64 { return -1 })
	require.Equal(t, dump(t, owner), dump(t, outside), "an empty store")
	now := int64(0)
	write := func() {
		for range 1 + rnd.IntN(12) {
			now += rnd.Int64N(12)
			key, value, at := fmt.Append(nil, "k", rnd.IntN(6)), fmt.Append(nil, rnd.IntN(100)), max(0, now-rnd.Int64N(60))
			if rnd.IntN(5) == 0 {
				value = nil
			}
			set := func(rows any) {
				if put := storage.HeaderSetter(rows); put != nil {
					put(storage.Headers{{Name: "h", Value: key}})
				}
			}
			var err error
			switch {
			case owner.Bytes != nil && value == nil:
				err = owner.Bytes.Delete(key, at)
			case owner.Bytes != nil:
				set(owner.Bytes)
				err = owner.Bytes.Put(key, value, at)
			case owner.Windows != nil && value == nil:
				err = owner.Windows.Delete(key, at/10*10, at)
			case owner.Windows != nil:
				set(owner.Windows)
				_, err = owner.Windows.Put(key, at/10*10, value, at)
			case owner.Sessions != nil && value == nil:
				err = owner.Sessions.Delete(key, at/20*20, at/20*20+5, at)
			case owner.Sessions != nil:
				set(owner.Sessions)
				_, err = owner.Sessions.Put(key, at/20*20, at/20*20+5, value, at)
			default:
				set(owner.Versions)
				_, _, err = owner.Versions.Put(key, value, at)
			}
			require.NoError(t, err)
		}
	}
	cut := func() uint64 {
		epoch, err := e.Cut(func(storage.Change) error { return nil })
		require.NoError(t, err)
		return epoch
	}
	for round := range 40 {
		write()
		// What has expired stays for the owner's scans by time until it says how far it has come.
		switch {
		case owner.Windows != nil:
			require.NoError(t, owner.Windows.Observe(owner.Windows.ObservedTime()))
		case owner.Sessions != nil:
			require.NoError(t, owner.Sessions.Observe(owner.Sessions.ObservedTime()))
		}
		e.Settle(cut(), checkpoint(round))
		if rnd.IntN(4) == 0 {
			require.NoError(t, e.Flush(rnd.IntN(2) == 0))
		}
		want := dump(t, owner)
		require.Equal(t, want, dump(t, outside), "round %d", round)
		write()
		require.Equal(t, want, dump(t, outside), "rows that were not cut are seen in round %d", round)
		if rnd.IntN(2) == 0 {
			cut()
			write()
			require.Equal(t, want, dump(t, outside), "rows that have not settled are seen in round %d", round)
		}
		require.NoError(t, e.Undo())
		require.Equal(t, want, dump(t, outside), "round %d", round)
	}
	switch {
	case outside.Bytes != nil:
		require.ErrorIs(t, outside.Bytes.Put([]byte("k"), []byte("v"), 1), errReadOnly)
		require.ErrorIs(t, outside.Bytes.Delete([]byte("k"), 1), errReadOnly)
	case outside.Windows != nil:
		_, err = outside.Windows.Put([]byte("k"), 1, []byte("v"), 1)
		require.ErrorIs(t, err, errReadOnly)
		require.ErrorIs(t, outside.Windows.Delete([]byte("k"), 1, 1), errReadOnly)
	case outside.Sessions != nil:
		_, err = outside.Sessions.Put([]byte("k"), 1, 1, []byte("v"), 1)
		require.ErrorIs(t, err, errReadOnly)
		require.ErrorIs(t, outside.Sessions.Delete([]byte("k"), 1, 1, 1), errReadOnly)
	default:
		_, _, err = outside.Versions.Put([]byte("k"), []byte("v"), 1)
		require.ErrorIs(t, err, errReadOnly)
	}
	require.NoError(t, e.Close(false))
	_, err = segmented.OpenSnapshot(e)
	require.ErrorIs(t, err, storage.ErrUnavailable)
}
