package changelog

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// DefaultDeleteRetention is Kafka's default of delete.retention.ms.
const DefaultDeleteRetention = 24 * time.Hour

// Bounds describes a changelog partition before a restore: its offsets [Start, End), and its topic.
type Bounds struct {
	ID              kafka.TopicID
	Start, End      int64             // for a read_uncommitted reader, looked up after the committed offsets were read
	DeleteRetention time.Duration     // how long tombstones stay
	Config          map[string]string // of the topic
}

// restoreFrom is RestoreFrom at a given time.
func (b Bounds) restoreFrom(checkpoint storage.Checkpoint, ok bool, now time.Time) (offset int64, distrust string) {
	if !ok {
		return b.Start, ""
	}
	switch {
	// Offsets of another topic mean nothing here, even if they are in range. Without an id (brokers
	// below 2.8) only the range can be checked.
	case checkpoint.TopicID != b.ID && checkpoint.TopicID != (kafka.TopicID{}) && b.ID != (kafka.TopicID{}):
		return b.Start, "the changelog topic is not the one of the checkpoint: it was deleted and created again"
	// The log lost its end, as after an unclean leader election. The store may have rows that were
	// never accepted again.
	case checkpoint.Offset > b.End:
		return b.Start, fmt.Sprintf("the checkpoint's offset %d lies beyond the changelog's end %d", checkpoint.Offset, b.End)
	// Records after the checkpoint were deleted, tombstones perhaps among them.
	case checkpoint.Offset < b.Start:
		return b.Start, fmt.Sprintf("the checkpoint's offset %d lies before the changelog's start %d", checkpoint.Offset,
			b.Start)
	// Nothing was written since, however long ago the checkpoint is.
	case checkpoint.Offset == b.End:
		return checkpoint.Offset, ""
	// A row is deleted after the checkpoint -> its tombstone is compacted away after
	// delete.retention.ms -> a restore from the checkpoint does not see the tombstone, and the row
	// would come back.
	case now.Sub(checkpoint.Time) > b.maxCheckpointAge():
		return b.Start, fmt.Sprintf("the checkpoint is of %s: tombstones written since then may have been compacted away",
			checkpoint.Time.UTC().Format(time.RFC3339))
	// The clock was wrong then, or is now. So nobody knows how old the checkpoint is: one that says next
	// year would be trusted for a year, however many tombstones are compacted away until then.
	case checkpoint.Time.Sub(now) > clockSkew:
		return b.Start, fmt.Sprintf("the checkpoint is of %s, which this machine's clock has not reached: its age is not "+
			"known, and tombstones written since then may have been compacted away", checkpoint.Time.UTC().Format(time.RFC3339))
	}
	return checkpoint.Offset, ""
}

// Remaining returns how many offsets a restore from this checkpoint would read.
func (b Bounds) Remaining(c storage.Checkpoint, ok bool) int64 {
	from, _ := b.restoreFrom(c, ok, time.Now())
	return max(b.End-from, 0)
}

// clockSkew is for clocks that differ, and for the time of the restore itself.
const clockSkew = time.Hour

// maxCheckpointAge returns up to which age all tombstones after a checkpoint are certainly in the
// log.
func (b Bounds) maxCheckpointAge() time.Duration {
	r := b.DeleteRetention
	if r <= 0 {
		r = DefaultDeleteRetention
	}
	return max(r-clockSkew, r/2)
}

// DeleteRetention returns delete.retention.ms of a topic's configuration, Kafka's default when it
// is missing.
func DeleteRetention(config map[string]string) time.Duration {
	ms, err := strconv.ParseInt(config["delete.retention.ms"], 10, 64)
	if err != nil || ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return DefaultDeleteRetention
	}
	return time.Duration(ms) * time.Millisecond
}

// RestoreFrom returns where a restore begins: at the checkpoint if it can be trusted, otherwise at
// the start of the log, with the reason. ok is false for a store without a checkpoint.
func (b Bounds) RestoreFrom(c storage.Checkpoint, ok bool) (offset int64, distrust string) {
	return b.restoreFrom(c, ok, time.Now())
}
