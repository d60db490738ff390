package global

import (
	"maps"
	"time"

	"github.com/millstream-go/millstream/internal/runtime/meter"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

// progressInterval is the time between two publications of what a follower does, while it has records.
const progressInterval = time.Second

// Progress is what a follower does, and what it has counted, at one moment. It does not change once it is published.
type Progress struct {
	At         time.Time // zero: it has processed nothing
	StreamTime int64     // in milliseconds
	Partitions []task.PartitionProgress
	Ends       map[int32]int64 // last stable offsets, by partition, as far as known
	Counts     meter.Counts
}

// Progress returns what the follower does, as it was published last.
func (f *Follower) Progress() *Progress { return f.published.Load() }

// publishProgress publishes what the follower does, once a second, and when it has nothing to do.
func (f *Follower) publishProgress(now time.Time) {
	if now.Sub(f.published.Load().At) < progressInterval && f.task.Buffered() > 0 {
		return
	}
	p := &Progress{
		At: now, StreamTime: f.task.StreamTime(), Partitions: f.task.Progress(nil), Ends: maps.Clone(f.ends),
		Counts: f.meter.Counts(),
	}
	f.published.Store(p)
}
