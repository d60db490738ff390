package layout

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// Segment returns the length of time whose rows a store keeps and drops together: what was chosen, or Kafka Streams' rule.
func Segment(s *graph.Store) time.Duration {
	switch {
	case s.Segment > 0:
		return max(s.Segment, time.Millisecond)
	case s.Kind == graph.Versioned:
		return versionedSegment(s.Retention)
	}
	return max(s.Retention/2, time.Minute)
}

func versionedSegment(history time.Duration) time.Duration {
	switch {
	case history <= time.Minute:
		return max(history/3, 2*time.Second)
	case history <= 5*time.Minute:
		return max(history/5, 20*time.Second)
	case history <= time.Hour:
		return max(history/12, time.Minute)
	}
	return max(history/24, 5*time.Minute)
}
