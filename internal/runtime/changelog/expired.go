package changelog

import (
	"fmt"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// Committed is what the committed offsets of a task say about a changelog.
type Committed struct {
	// Expired is the offset before which the owner may have deleted records. -1: unknown, as in
	// offsets that Kafka Streams committed.
	Expired int64
	// Next is the offset before which records expire once the store's time less its retention reaches
	// Until. 0: unknown.
	Next, Until int64
	// Time is the stream time of the task, -1 when unknown.
	Time int64
}

// expirer is implemented by engines whose rows expire. They know which part of their changelog no
// restore needs.
type expirer interface {
	// SetLogStart sets where the changelog starts.
	SetLogStart(offset int64)
	// NextTrim returns the offset before which records expire next, and when. ResumeTrim sets both in
	// a store that lost its disk.
	NextTrim() (offset, until int64, ok bool)
	ResumeTrim(offset, until int64)
	// RestoreAt is Restore with the offset of each change.
	RestoreAt(changes []storage.Change, offsets []int64, c storage.Checkpoint) error
	// TrimOffset returns the offset before which no record is needed, as of the last settled epoch.
	TrimOffset() int64
}

// Expired returns the offset before which nobody needs records of the log, as of the last settled
// epoch. ok is false for key-value stores, whose changelogs are compacted by the broker.
func (l *Log) Expired() (offset int64, ok bool) {
	e, ok := l.Engine.(expirer)
	if !ok {
		return 0, false
	}
	return max(e.TrimOffset(), l.neededFrom), true
}

// restore passes the changes of a batch before end to the store. An expirer gets the offset of each
// change too: the records at the start of a batch may have expired although the rest is live.
func (l *Log) restore(changes []storage.Change, b *kafka.Batch, end int64, c storage.Checkpoint) error {
	e, ok := l.Engine.(expirer)
	if !ok {
		return l.Engine.Restore(changes, c)
	}
	l.restoredOffsets = l.restoredOffsets[:0]
	for i := range b.Records {
		if r := &b.Records[i]; r.Key != nil && r.Offset < end {
			l.restoredOffsets = append(l.restoredOffsets, r.Offset)
		}
	}
	return e.RestoreAt(changes, l.restoredOffsets, c)
}

// Next returns Committed.Next and Until for the next commit.
func (l *Log) Next() (offset, until int64, ok bool) {
	if e, is := l.Engine.(expirer); is {
		return e.NextTrim()
	}
	return 0, 0, false
}

// Deletable reports whether brokers accept DeleteRecords for a topic of this configuration, which
// may be nil when unknown. They refuse it for topics that are only compacted.
func Deletable(config map[string]string) bool {
	policy, ok := config["cleanup.policy"]
	return !ok || strings.Contains(policy, "delete")
}

// brokerRetentionMargin is how much longer than its store the changelog of a window retains rows,
// where a broker deletes by its clock. It is the default of Kafka Streams'
// windowstore.changelog.additional.retention.ms.
const brokerRetentionMargin = 24 * time.Hour

// countMissing returns how many offsets at the start of a log were deleted although they may have
// live rows, and how that is known.
func (l *Log) countMissing(bounds Bounds, now time.Time) (n int64, why string) {
	if _, ok := l.Engine.(expirer); !ok || bounds.Start == 0 {
		return 0, ""
	}
	switch c := l.Committed; {
	// The owner commits how far it will delete before it deletes. What was deleted beyond, somebody
	// else deleted.
	case c.Expired >= 0 && bounds.Start > c.Expired:
		return bounds.Start - c.Expired,
			fmt.Sprintf("by the committed stream time, rows that have not expired may begin at offset %d", c.Expired)
	// Nothing is missing, or nothing is known.
	case c.Expired >= 0 || c.Time < 0:
		return 0, ""
	// The offsets do not tell how far the owner deletes, as those of Kafka Streams. What can be known
	// without:
	case bounds.Start == bounds.End:
		return bounds.Start, "all of it has been deleted, and the newest row of a store never expires"
	case now.Sub(time.UnixMilli(c.Time)) > brokerRetentionMargin:
		return bounds.Start, "the committed stream time is more than a day behind the wall clock, by which a broker deletes"
	}
	return 0, ""
}

// formatTime formats a stream time for the log.
func formatTime(ms int64) string {
	if ms < 0 {
		return "unknown"
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}
