package store

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/spec"
)

// Versions makes a table keep the versions of its rows (KIP-889), as far back as history before the
// newest time of its records. Each update is a version that begins at the update's time. A late
// update takes its place among the others; without Versions the last one to arrive counts. A join
// with a stream finds the row as it was at the time of the stream's record. An update from before
// the history is dropped and counted.
//
// For tables made by aggregations it is an option of table.Materialize.
func Versions(history time.Duration) Option {
	return Option{Name: spec.OptionVersions, Apply: func(s *spec.StoreSettings) error {
		switch {
		case history <= 0:
			return fmt.Errorf("store.Versions has a history of %v; it must be greater than 0", history)
		case history%time.Millisecond != 0:
			return fmt.Errorf("store.Versions has a history of %v, which is not a whole number of milliseconds", history)
		case history > spec.Forever:
			return fmt.Errorf("store.Versions has a history of %v, longer than 200 years", history)
		case s.Versions != 0 && s.Versions != history:
			return fmt.Errorf("store.Versions is given twice: %v and %v", s.Versions, history)
		}
		s.Versions = history
		return nil
	}}
}

// Duplicates makes a window store keep all rows that are put for one key and start, in the order in
// which they were put.
func Duplicates() Option {
	return Option{Name: spec.OptionDuplicates, Apply: func(s *spec.StoreSettings) error {
		s.Duplicates = true
		return nil
	}}
}
