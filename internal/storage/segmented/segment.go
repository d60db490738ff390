package segmented

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
)

// seriesOf returns what the rows of a store form series by. Of a store with duplicates and of sessions,
// a part of a key's rows is read for each record. Other windows are read one by one, which an index by
// series would not help.
func seriesOf(s *graph.Store) storage.Series {
	session := s.Kind == graph.Session
	if !session && !(s.Kind == graph.Window && s.Duplicates) {
		return storage.Series{}
	}
	shape := shape{session: session}
	return storage.Series{Class: rowClass, Tail: shape.tailLen()}
}

// segments returns which rows expire together: those that dropExpiredSegments has the engine remove. A row
// with duplicates is put once: it has a number of its own.
func (s *Store) segments() storage.Segments {
	interval := s.shape.interval
	of := func(key []byte) storage.Segment {
		if len(key) < headLen {
			return storage.Segment{}
		}
		switch class := key[0]; class {
		case rowClass, olderClass:
			return storage.Segment{Class: class, Number: timeAt(key[1:])}
		case timeClass:
			return storage.Segment{Class: class, Number: segmentOf(timeAt(key[1:]), interval)}
		}
		return storage.Segment{} // the meta row; of versions, what never expires
	}
	return storage.Segments{Of: of, InsertOnly: s.kind == graph.Window && s.duplicates && !s.timeIndex}
}

// SegmentInterval returns the length of a segment: the rows of that much stream time are dropped
// together. It is what was chosen, or what Kafka Streams chooses.
func SegmentInterval(s *graph.Store) time.Duration {
	switch {
	case s.Segment > 0:
		return max(s.Segment, time.Millisecond)
	case s.Kind == graph.Versioned:
		return versionedInterval(s.Retention)
	}
	return max(s.Retention/2, time.Minute)
}

func versionedInterval(history time.Duration) time.Duration {
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
