package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
)

// The time of the next record is known before it is decoded, and stays the same when it is, whatever Topic.Timestamp
// returns.
func TestProgress_TimeOfTheNextRecord(t *testing.T) {
	r := start(t, func(b *stream.Builder) {
		later := func(r rec, _ time.Time) (time.Time, bool) { return r.Time.Add(time.Hour), true }
		stream.To(stream.From(b, topic("left").Timestamp(later), topic("right").Timestamp(later)), topic("out"))
	})
	left := func() (headTime int64, queued int) {
		progress := r.Progress(nil)
		require.Len(t, progress, 2)
		require.Equal(t, "left", progress[0].Topic)
		return progress[0].HeadTime, progress[0].Queued
	}
	check := func(headTime int64, queued int) {
		t.Helper()
		at, n := left()
		assert.Equal(t, headTime, at)
		assert.Equal(t, queued, n)
	}
	check(-1, 0)
	require.NoError(t, r.Add(batch("left", 0, "l=1@7", "l=2@8")))
	require.NoError(t, r.Add(batch("left", 2, "l=3@9")))
	check(7, 3)
	require.NoError(t, r.Add(batch("right", 0, "r=1@1", "r=2@2")))
	_, err := r.Process(1)
	require.NoError(t, err)
	require.Len(t, r.out.drain(), 1, "of right")
	check(7, 3) // decoded: it was compared with that of right
	for _, want := range []struct {
		headTime int64
		queued   int
	}{{7, 3}, {8, 2}, {9, 1}, {-1, 0}} {
		_, err := r.Process(1)
		require.NoError(t, err)
		check(want.headTime, want.queued)
	}
}
