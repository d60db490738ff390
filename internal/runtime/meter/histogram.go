package meter

import "time"

// Bounds are the upper ends of the ranges, each of which includes its end. What is longer than the last one has a range
// of its own. They cover what a commit takes, and how old records are: from a millisecond to a day.
var Bounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
}

// Histogram has how many durations were in each range. The zero value is empty. It has no pointers, so that an
// assignment copies it.
type Histogram struct {
	Counts [len(Bounds) + 1]int64 // the last one: longer than all Bounds
	Sum    time.Duration
}

// Add counts a duration weight times. One that is negative counts as zero: clocks of machines differ.
func (h *Histogram) Add(d time.Duration, weight int64) {
	d = max(d, 0)
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.Counts[i] += weight
	h.Sum += d * time.Duration(weight)
}

// Merge adds what other has.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
	h.Sum += other.Sum
}

// Count returns how many durations were added.
func (h *Histogram) Count() (n int64) {
	for _, count := range h.Counts {
		n += count
	}
	return n
}
