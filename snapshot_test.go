package millstream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream"
)

func TestHistogram_Quantile(t *testing.T) {
	h := millstream.Histogram{
		Bounds: []time.Duration{time.Second, 2 * time.Second, 10 * time.Second}, Counts: []int64{10, 0, 80, 10},
	}
	assert.EqualValues(t, 100, h.Count())
	assert.Equal(t, 500*time.Millisecond, h.Quantile(0.05))
	assert.Equal(t, time.Second, h.Quantile(0.1))
	assert.Equal(t, 6*time.Second, h.Quantile(0.5), "the range has 80 durations from 2 s to 10 s")
	assert.Equal(t, 10*time.Second, h.Quantile(0.9))
	assert.Equal(t, 10*time.Second, h.Quantile(1), "what is longer than the last bound is not known better")
	assert.Zero(t, h.Quantile(-1))
	assert.Zero(t, millstream.Histogram{}.Quantile(0.5))
}

func TestPartition_Lag(t *testing.T) {
	now := time.Now()
	p := millstream.Partition{Position: 7, End: 10, Oldest: now.Add(-time.Minute)}
	assert.EqualValues(t, 3, p.Lag())
	assert.Equal(t, time.Minute, p.LagTime(now))
	assert.EqualValues(t, -1, millstream.Partition{Position: -1, End: 10}.Lag())
	assert.EqualValues(t, -1, millstream.Partition{Position: 3, End: -1}.Lag())
	assert.Zero(t, millstream.Partition{Position: 12, End: 10}.Lag(), "the end is of an earlier fetch")
	assert.Zero(t, millstream.Partition{}.LagTime(now))
	assert.Zero(t, millstream.Partition{Oldest: now.Add(time.Minute)}.LagTime(now))
}
