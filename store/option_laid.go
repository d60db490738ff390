package store

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/storespec"
)

// Versions has a table keep the versions of its rows, as far back as history in the time of its records (KIP-889). Each update is a version
// that begins at its own time: one that comes late takes its place among the others, where without Versions the latest to arrive
// counts. A join of a stream finds the row as it was at the time of the stream's record. An update that is older than the
// newest time in the store less history is dropped and counted.
//
// Tables made by aggregations take it through table.Materialize.
func Versions(history time.Duration) Option {
	return Option{Name: storespec.Versions, Apply: func(s *storespec.Settings) error {
		switch {
		case history <= 0:
			return fmt.Errorf("store.Versions has a history of %v; it must be greater than 0", history)
		case history%time.Millisecond != 0:
			return fmt.Errorf("store.Versions has a history of %v, which is no whole number of milliseconds", history)
		case s.Versions != 0 && s.Versions != history:
			return fmt.Errorf("store.Versions is given twice: %v and %v", s.Versions, history)
		}
		s.Versions = history
		return nil
	}}
}

// Duplicates has a window store keep all that is put for one key and start, in the order it was put.
func Duplicates() Option {
	return Option{Name: storespec.Duplicates, Apply: func(s *storespec.Settings) error {
		s.Duplicates = true
		return nil
	}}
}
