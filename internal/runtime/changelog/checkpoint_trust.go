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

// restoreFrom returns where a restore begins at a given time: at the checkpoint if it can be trusted, otherwise at the
// start of the log, with the reason in distrust. With a reason in doubt it can be trusted if the log still has every
// offset from the checkpoint to its end: compaction has removed nothing then, no tombstone either. Under transactions
// that is how a checkpoint at the end of a changelog looks: behind its last record there is a marker.
func (b Bounds) restoreFrom(checkpoint storage.Checkpoint, ok bool, now time.Time) (
	offset int64, distrust, doubt string,
) {
	if !ok {
		return b.Start, "", ""
	}
	switch {
	// Offsets of another topic mean nothing here, even if they are in range. Without an id (brokers
	// below 2.8) only the range can be checked.
	case checkpoint.TopicID != b.ID && checkpoint.TopicID != (kafka.TopicID{}) && b.ID != (kafka.TopicID{}):
		return b.Start, "the changelog topic is not the one of the checkpoint: it was deleted and created again", ""
	// The log lost its end, as after an unclean leader election. The store may have rows that were
	// never accepted again.
	case checkpoint.Offset > b.End:
		return b.Start, fmt.Sprintf("the checkpoint's offset %d lies beyond the changelog's end %d", checkpoint.Offset,
			b.End), ""
	// Records after the checkpoint were deleted, tombstones perhaps among them.
	case checkpoint.Offset < b.Start:
		return b.Start, fmt.Sprintf("the checkpoint's offset %d lies before the changelog's start %d", checkpoint.Offset,
			b.Start), ""
	// Nothing was written since, however long ago the checkpoint is.
	case checkpoint.Offset == b.End:
		return checkpoint.Offset, "", ""
	// A row is deleted after the checkpoint -> its tombstone is compacted away after
	// delete.retention.ms -> a restore from the checkpoint does not see the tombstone, and the row
	// would come back.
	case now.Sub(checkpoint.Time) > b.maxCheckpointAge():
		return checkpoint.Offset, "", fmt.Sprintf("the checkpoint is of %s: tombstones written since then may have been "+
			"compacted away", checkpoint.Time.UTC().Format(time.RFC3339))
	// The clock was wrong then, or is now. So nobody knows how old the checkpoint is: one that says next
	// year would be trusted for a year, however many tombstones are compacted away until then.
	case checkpoint.Time.Sub(now) > clockSkew:
		return checkpoint.Offset, "", fmt.Sprintf("the checkpoint is of %s, which this machine's clock has not reached: its "+
			"age is not known, and tombstones written since then may have been compacted away",
			checkpoint.Time.UTC().Format(time.RFC3339))
	}
	return checkpoint.Offset, "", ""
}

// Remaining returns how many offsets a restore from this checkpoint would read.
func (b Bounds) Remaining(c storage.Checkpoint, ok bool) int64 {
	from, _, _ := b.restoreFrom(c, ok, time.Now())
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
// the start of the log, with the reason. ok is false for a store without a checkpoint. What would have to be
// verified while the log is read is not trusted.
func (b Bounds) RestoreFrom(c storage.Checkpoint, ok bool) (offset int64, distrust string) {
	offset, distrust, doubt := b.restoreFrom(c, ok, time.Now())
	if doubt != "" {
		return b.Start, doubt
	}
	return offset, distrust
}

// Until when a checkpoint can be trusted is the time of the oldest row that no later record can have replaced unseen.
//
//	k is read at 10:00 -> the log has a tombstone of k further on, and is compacted at 10:01: k goes, and the tombstone
//	stays for delete.retention.ms from then on
//
// So rows are as of when they were read, or of the checkpoint that a restore continues from, until all is read that was
// in the log: the time of the first of these counts, and not that of the last batch. A process that dies in the
// middle of a restore would otherwise leave old rows with a new time.

// verification is what a log knows of the trust in its store while it is read.
type verification struct {
	asOf     time.Time // for checkpoints: see above
	began    time.Time // when the bounds of the log were known
	end      int64     // where the log ended then
	complete bool      // it was read up to end
	doubt    string    // why each offset before end has to be there; empty: it need not
}

// compactedError is the error that a log lacks offsets of which each had to be there.
type compactedError struct {
	doubt   string
	missing int64
	before  int64
}

func (e *compactedError) Error() string {
	return fmt.Sprintf("%s, and %d records before offset %d were", e.doubt, e.missing, e.before)
}

// verify returns an error when a batch shows that the store cannot be trusted. With a compactedError the store is
// empty: the restore begins anew. Another one is that it could not be emptied, as when a file of it was found damaged
// meanwhile: a restore that began anew would find the same checkpoint, and the same batch, again and again.
func (l *Log) verify(b *kafka.Batch) error {
	if l.verification.doubt == "" || b.Missing == 0 {
		return nil
	}
	compacted := &compactedError{l.verification.doubt, b.Missing, b.Next}
	l.verification.doubt = ""
	if err := l.Engine.Truncate(); err != nil {
		return err
	}
	return compacted
}

// noteRead notes that the log was read up to a batch, of which what lies behind end does not count.
func (l *Log) noteRead(b *kafka.Batch, end int64) {
	v, offset := &l.verification, min(b.Next, end)
	if offset >= v.end && !v.complete {
		v.complete, v.doubt, v.asOf = true, "", v.began
	}
	stable := b.LastStable
	if stable < 0 {
		stable = b.HighWatermark
	}
	// A topic in place of a changelog is read up to the committed offset, which may never be the topic's end. Who
	// runs the task has read no further.
	if offset == b.Next && offset >= stable || l.DecodeRow != nil && v.complete && offset == end {
		v.asOf = time.Now()
	}
}
