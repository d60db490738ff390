package segmented

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// A flush that is cut off has written what ends first and not what ends later. The changelog is
// then replayed over it.
func TestRestore_AfterAnInterruptedFlushHasAllVersions(t *testing.T) {
	spec := &graph.Store{Name: "s", Kind: graph.Versioned, Retention: time.Hour}
	key := []byte("k")
	put := func(at int64, v string) storage.Change { return storage.Change{Key: key, Value: []byte(v), Time: at} }
	before := []storage.Change{put(10, "a"), put(40, "d")}
	after := []storage.Change{put(20, "b"), put(40, "d"), put(30, "c"), put(40, "d")}

	whole := restoredFrom(t, spec, memtable.New(nil), before, after)
	want := versionsOf(t, spec, whole, key)
	require.Len(t, want, 4)

	rows := map[string]storage.Entry{}
	for e, err := range whole.Scan(storage.Range{}) {
		require.NoError(t, err)
		rows[string(e.Key)] = storage.Entry{Value: append([]byte{}, e.Value...), Time: e.Time}
	}
	shape := shape{interval: SegmentInterval(spec).Milliseconds()}
	for _, written := range [][]int64{{}, {20}, {20, 30}, {20, 30, 40}} {
		e := restoredFrom(t, spec, memtable.New(nil), before, nil)
		for _, to := range written {
			local := shape.appendOlder(nil, key, to)
			row, ok := rows[string(local)]
			require.True(t, ok)
			require.NoError(t, e.Engine.Restore([]storage.Change{{Key: local, Value: row.Value, Time: row.Time}}, storage.Checkpoint{Offset: 1}))
		}
		require.NoError(t, e.Restore(after, storage.Checkpoint{Offset: 6}))
		assert.Equal(t, want, versionsOf(t, spec, e, key), "written: the ends %v", written)
	}
}

func restoredFrom(t *testing.T, spec *graph.Store, e storage.Engine, changes ...[]storage.Change) *Store {
	t.Helper()
	wrapped, err := Wrap(spec, e)
	require.NoError(t, err)
	l := wrapped.(*Store)
	for _, c := range changes {
		require.NoError(t, l.Restore(append([]storage.Change(nil), c...), storage.Checkpoint{Offset: 1}))
	}
	return l
}

func versionsOf(t *testing.T, spec *graph.Store, l *Store, key []byte) (out []storage.Version) {
	t.Helper()
	h, err := Handle(spec, l, func() int64 { return 0 })
	require.NoError(t, err)
	for v, err := range h.Versions.History(key, 0, 100, false) {
		require.NoError(t, err)
		v.Value = append([]byte{}, v.Value...)
		out = append(out, v)
	}
	return out
}

// A restore reads the last epoch of a task that died, too, which may not have settled: windows that its records closed have not
// been sent, and records are processed again for which their rows are needed. Whoever opens the store next, from memory or
// files, has them all the same, until an epoch settles that has come as far.
func TestRestore_UnsettledTimesExpireNothing(t *testing.T) {
	for _, byTime := range []bool{false, true} {
		t.Run(fmt.Sprintf("by time %v", byTime), func(t *testing.T) { unsettledTimesExpireNothing(t, byTime) })
	}
}

func unsettledTimesExpireNothing(t *testing.T, byTime bool) {
	spec := &graph.Store{Name: "s", Kind: graph.Window, Size: time.Second, Retention: time.Minute, ByTime: byTime, Changelog: true}
	engine := memtable.New(nil)
	first := restoredFrom(t, spec, engine)
	change := func(start int64) storage.Change {
		return storage.Change{Key: first.shape.appendChangelogKey(nil, row{key: []byte("k"), start: start}), Value: []byte("v"), Time: start}
	}
	require.NoError(t, first.Restore([]storage.Change{change(0), change(time.Hour.Milliseconds())}, storage.Checkpoint{Offset: 2}))
	visible := func(s *Store) (n int) {
		for e, err := range s.Scan(storage.Range{}) {
			require.NoError(t, err)
			if e.Key[0] == rowClass {
				n++
			}
		}
		return n
	}
	require.Equal(t, 2, visible(first))
	again := restoredFrom(t, spec, engine)
	assert.Equal(t, 2, visible(again))
	require.NoError(t, again.Undo())
	assert.Equal(t, 2, visible(again), "after an undo")
	settle := func() {
		epoch, err := again.Cut(func(storage.Change) error { return nil })
		require.NoError(t, err)
		again.Settle(epoch, storage.Checkpoint{Offset: 2})
	}
	again.Committed(time.Second.Milliseconds())
	settle()
	assert.Equal(t, 2, visible(again), "an epoch that has not come as far")
	assert.Equal(t, 2, visible(restoredFrom(t, spec, engine)), "after another start")
	again.Committed(2 * time.Hour.Milliseconds())
	settle()
	assert.Equal(t, 1, visible(restoredFrom(t, spec, engine)), "what has settled counts")
}

// A standby that is restarted again and again, and reads less each time than what its times stay behind, has rows that expire all
// the same. Where its files are newer than their checkpoint, what is read again does not count twice.
func TestRestore_RowsExpireAcrossRestarts(t *testing.T) {
	was := restoreLag
	t.Cleanup(func() { restoreLag = was })
	restoreLag = 1000
	for _, kind := range []graph.StoreKind{graph.Window, graph.Session, graph.Versioned} {
		for _, byTime := range []bool{false, true} {
			if byTime && kind == graph.Versioned {
				continue
			}
			t.Run(fmt.Sprintf("%s, by time %v", kind, byTime), func(t *testing.T) {
				spec := &graph.Store{Name: "s", Kind: kind, Size: time.Second, Retention: time.Hour, ByTime: byTime, Changelog: true}
				engine, hour := memtable.New(nil), time.Hour.Milliseconds()
				value := make([]byte, 100)
				for n := range int64(200) {
					s := restoredFrom(t, spec, engine)
					key := []byte("k")
					if kind != graph.Versioned {
						key = s.shape.appendChangelogKey(nil, row{key: []byte("k"), start: n * hour, end: n * hour})
					}
					require.NoError(t, s.Restore([]storage.Change{{Key: key, Value: value, Time: n * hour}}, storage.Checkpoint{Offset: n + 1}))
					require.LessOrEqual(t, s.provenTime, max(n-9, -1)*hour+hour-1, "restoreLag lies between")
				}
				rows, err := engine.Len()
				require.NoError(t, err)
				assert.Less(t, rows, int64(80))

				s := restoredFrom(t, spec, engine)
				s.checkpoint.Offset--
				require.NoError(t, s.loadMeta())
				assert.Zero(t, s.restoredBytes)
				assert.Equal(t, s.observedTime, s.restoreMark.observedTime)
			})
		}
	}
}
