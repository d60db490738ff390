package app_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestOpenStore_Tables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 3), broker.Topic("counts", 3))
		top, ref := counting(t)
		m := start(t, top, config(t, b))
		const n = 1000 // several pieces a partition
		write(t, b, "in", 0, n)
		await(t, b, "counts", n)
		settled()
		rows := ref.In(m)

		v, ok, err := rows.Get("v7")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.EqualValues(t, 1, v)
		_, ok, err = rows.Get("nobody")
		require.NoError(t, err)
		assert.False(t, ok)

		var keys []string
		for row, err := range rows.All() {
			require.NoError(t, err)
			keys = append(keys, row.Key)
		}
		assert.Len(t, keys, n)
		assert.IsIncreasing(t, keys, "merged over the partitions")
		var back []string
		for row, err := range rows.Range(store.From("v5"), store.To("v6")) {
			require.NoError(t, err)
			back = append(back, row.Key)
		}
		assert.Len(t, back, 112, "v5, v50 to v59, v500 to v599, v6")

		require.Error(t, rows.Put("x", 1))
		require.NoError(t, m.Ready())
		m.stop()
		_, _, err = rows.Get("v7")
		require.ErrorIs(t, err, millstream.ErrNotRunning)
		require.ErrorContains(t, err, `store "counts", key "v7": get: `)
		_, err = rows.Len()
		require.ErrorIs(t, err, millstream.ErrNotRunning)
		require.ErrorContains(t, err, `store "counts": count: `)
		for _, err = range rows.All() {
		}
		require.ErrorIs(t, err, millstream.ErrNotRunning)
		require.ErrorContains(t, err, `store "counts": scan: `, "which names no key")
	})
}

// A reader that takes its time holds nobody up.
func TestOpenStore_ScanBesideProcessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		top, ref := counting(t)
		m := start(t, top, config(t, b))
		write(t, b, "in", 0, 600)
		await(t, b, "counts", 600)
		settled()
		seen := map[string]int{}
		for row, err := range ref.In(m).All() {
			require.NoError(t, err)
			seen[row.Key]++
			if len(seen) == 100 {
				write(t, b, "in", 600, 10)
				before := time.Now()
				await(t, b, "counts", 610)
				assert.Less(t, time.Since(before), time.Second)
			}
		}
		for i := range 600 {
			assert.Equal(t, 1, seen[fmt.Sprintf("v%d", i)], "once, whatever is written meanwhile")
		}
		m.stop()
	})
}

// settled waits, in a bubble, for the commit of what was processed: reads from outside see nothing
// that has not settled.
func settled() { time.Sleep(time.Second) }
