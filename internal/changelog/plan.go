package changelog

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// DefaultDeleteRetention is Kafka's default of delete.retention.ms.
const DefaultDeleteRetention = 24 * time.Hour

// Extent says what a changelog partition holds: offsets [Start, End), and how long tombstones stay in it.
type Extent struct {
	ID              kafka.TopicID
	Start, End      int64 // End is that of a read_uncommitted reader, looked up after the committed offsets were read
	DeleteRetention time.Duration
	Config          map[string]string // of the topic
}

// from decides where to begin: at the checkpoint when it can be trusted, else at the start, and why it cannot.
func (x Extent) from(c store.Checkpoint, ok bool, now time.Time) (offset int64, distrust string) {
	if !ok {
		return x.Start, ""
	}
	switch {
	case c.TopicID != x.ID && c.TopicID != (kafka.TopicID{}) && x.ID != (kafka.TopicID{}):
		return x.Start, "the changelog topic is another one than that of the checkpoint: it was deleted and created again"
	case c.Offset > x.End:
		return x.Start, fmt.Sprintf("the checkpoint's offset %d lies beyond the changelog's end %d", c.Offset, x.End)
	case c.Offset < x.Start:
		return x.Start, fmt.Sprintf("the checkpoint's offset %d lies before the changelog's start %d", c.Offset, x.Start)
	case c.Offset == x.End:
		return c.Offset, "" // nothing was written since, however long ago that is
	case now.Sub(c.Time) > x.trusted():
		return x.Start, fmt.Sprintf("the checkpoint is of %s: deletions since may have been compacted away", c.Time.UTC().Format(time.RFC3339))
	}
	return c.Offset, ""
}

// Left is how many offsets a restore of a store with that checkpoint would read.
func (x Extent) Left(c store.Checkpoint, ok bool) int64 {
	from, _ := x.from(c, ok, time.Now())
	return max(x.End-from, 0)
}

// trusted is how old a checkpoint may be: a tombstone that follows it is certain to be in the log still. An hour is for
// clocks that differ and for the time that the restore takes.
func (x Extent) trusted() time.Duration {
	r := x.DeleteRetention
	if r <= 0 {
		r = DefaultDeleteRetention
	}
	return max(r-time.Hour, r/2)
}

// DeleteRetention reads delete.retention.ms from a topic's configuration; Kafka's default when it is not there.
func DeleteRetention(config map[string]string) time.Duration {
	ms, err := strconv.ParseInt(config["delete.retention.ms"], 10, 64)
	if err != nil || ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return DefaultDeleteRetention
	}
	return time.Duration(ms) * time.Millisecond
}

// From decides where a restore begins: at the checkpoint when it can be trusted, else at the start, and says why it cannot.
func (x Extent) From(c store.Checkpoint, ok bool) (offset int64, distrust string) {
	return x.from(c, ok, time.Now())
}
