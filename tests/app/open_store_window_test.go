package app_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

var (
	seenIn   = store.NewWindow("seen", serde.String, serde.Int64, 10*time.Second, time.Hour)
	versions = store.NewVersioned("versions", serde.String, serde.Int64, time.Hour)
)

// windowsAndVersions counts the records of a key in windows of ten seconds, and keeps each count as a version.
func windowsAndVersions(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	stream.To(stream.Process(stream.From(b, in), "keep", func(c *stream.Context[string, int64]) (func(stream.Record[string, string]) error, error) {
		w, v := seenIn.In(c), versions.In(c)
		return func(r stream.Record[string, string]) error {
			start := r.Time.Truncate(10 * time.Second)
			n, _, err := w.Get(r.Key, start)
			if err != nil {
				return err
			}
			if err := w.Put(r.Key, start, n+1); err != nil {
				return err
			}
			c.Forward(stream.WithValue(r, n+1))
			_, _, err = v.Put(r.Key, n+1, r.Time)
			return err
		}, nil
	}, seenIn, versions), counts)
	return build(t, b)
}

// TestOpenStore_WindowsAndVersions reads from outside, over all partitions, what a run has written, and the next one restored.
func TestOpenStore_WindowsAndVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 3), broker.Topic("counts", 3))
		cfg := config(t, b)
		const keys, each = 200, 5
		sent := 0
		for i := range each {
			for k := range keys {
				require.NoError(t, b.Produce(t.Context(), "in", broker.Record{
					Partition: broker.ByKey, Key: fmt.Appendf(nil, "k%03d", k), Value: []byte("v"), Time: time.UnixMilli(int64(1_000_000 + 4000*i)),
				}))
				sent++
			}
		}
		for run := range 3 {
			if run == 2 {
				cfg.StateDir = t.TempDir() // the disk is lost
			}
			m := start(t, windowsAndVersions(t), cfg)
			if run == 0 {
				await(t, b, "counts", sent)
				settled()
			} else {
				time.Sleep(10 * time.Second) // of the bubble's time
				require.NoError(t, m.Ready())
			}
			w, v := seenIn.In(m), versions.In(m)
			n, last := 0, ""
			for row, err := range w.All(time.UnixMilli(0), time.UnixMilli(2_000_000)) {
				require.NoError(t, err)
				at := fmt.Sprint(row.Key, row.Start.UnixMilli())
				require.Greater(t, at, last, "by key and time")
				last = at
				n++
			}
			assert.Equal(t, 2*keys, n)
			last = "l"
			n = 0
			for row, err := range w.AllBackward(time.Time{}, time.Time{}, store.Above("k009"), store.Below("k110")) {
				require.NoError(t, err)
				at := fmt.Sprint(row.Key, row.Start.UnixMilli())
				require.Less(t, at, last, "by key and time, backward")
				last = at
				n++
			}
			assert.Equal(t, 2*100, n)
			for _, err := range w.All(time.Time{}, time.Time{}, store.From("k2"), store.To("k1")) {
				assert.ErrorIs(t, err, store.ErrRangeReversed)
			}
			var counts []int64
			for row, err := range w.Fetch("k042", time.UnixMilli(0), time.UnixMilli(2_000_000)) {
				require.NoError(t, err)
				counts = append(counts, row.Value)
			}
			assert.Equal(t, []int64{3, 2}, counts)
			row, ok, err := v.AsOf("k007", time.UnixMilli(1_004_001))
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, store.VersionRow[int64]{Value: 2, From: time.UnixMilli(1_004_000), To: time.UnixMilli(1_008_000)}, row)
			assert.ErrorIs(t, w.Put("k", time.UnixMilli(1), 1), millstream.ErrReadOnly)
			_, _, err = v.Put("k", 1, time.UnixMilli(1))
			assert.ErrorIs(t, err, millstream.ErrReadOnly)
			m.stop()
			assert.Equal(t, run == 2, m.App.Stats().Restored > 0, "run %d", run)
		}
	})
}
