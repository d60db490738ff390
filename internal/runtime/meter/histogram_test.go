package meter_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/runtime/meter"
)

func TestHistogram(t *testing.T) {
	var h meter.Histogram
	h.Add(-time.Second, 1) // counts as zero
	h.Add(time.Millisecond, 2)
	h.Add(time.Millisecond+1, 1)
	h.Add(24*time.Hour, 1)
	h.Add(48*time.Hour, 3)
	n := len(meter.Bounds)
	assert.Equal(t, []int64{3, 1}, h.Counts[:2], "a range includes its end")
	assert.Equal(t, []int64{1, 3}, h.Counts[n-1:])
	assert.EqualValues(t, 8, h.Count())
	assert.Equal(t, 168*time.Hour+3*time.Millisecond+1, h.Sum)

	both := h
	both.Merge(&h)
	assert.EqualValues(t, 16, both.Count())
	assert.EqualValues(t, 8, h.Count(), "the copy was changed, not what it was made of")
	assert.True(t, slices.IsSorted(meter.Bounds[:]))
}
