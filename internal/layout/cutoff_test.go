package layout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

// A flush that is cut off has written what ends first and not what ends later. The changelog is then replayed over it.
func TestARestoreOverAFlushThatWasCutOffLosesNoVersion(t *testing.T) {
	spec := &graph.Store{Name: "s", Kind: graph.Versioned, Retention: time.Hour}
	key := []byte("k")
	put := func(at int64, v string) store.Change { return store.Change{Key: key, Value: []byte(v), Time: at} }
	before := []store.Change{put(10, "a"), put(40, "d")}
	after := []store.Change{put(20, "b"), put(40, "d"), put(30, "c"), put(40, "d")}

	whole := restoredFrom(t, spec, memory.New(nil), before, after)
	want := versionsOf(t, spec, whole, key)
	require.Len(t, want, 4)

	rows := map[string]store.Entry{}
	for e, err := range whole.Scan(store.Range{}) {
		require.NoError(t, err)
		rows[string(e.Key)] = store.Entry{Value: append([]byte{}, e.Value...), Time: e.Time}
	}
	shape := shape{segment: Segment(spec).Milliseconds()}
	for _, written := range [][]int64{{}, {20}, {20, 30}, {20, 30, 40}} {
		e := restoredFrom(t, spec, memory.New(nil), before, nil)
		for _, to := range written {
			local := shape.appendOlder(nil, key, to)
			row, ok := rows[string(local)]
			require.True(t, ok)
			require.NoError(t, e.Engine.Restore([]store.Change{{Key: local, Value: row.Value, Time: row.Time}}, store.Checkpoint{Offset: 1}))
		}
		require.NoError(t, e.Restore(after, store.Checkpoint{Offset: 6}))
		assert.Equal(t, want, versionsOf(t, spec, e, key), "written: the ends %v", written)
	}
}

func restoredFrom(t *testing.T, spec *graph.Store, e store.Engine, changes ...[]store.Change) *Log {
	t.Helper()
	wrapped, err := Wrap(spec, e)
	require.NoError(t, err)
	l := wrapped.(*Log)
	for _, c := range changes {
		require.NoError(t, l.Restore(append([]store.Change(nil), c...), store.Checkpoint{Offset: 1}))
	}
	return l
}

func versionsOf(t *testing.T, spec *graph.Store, l *Log, key []byte) (out []store.Version) {
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
