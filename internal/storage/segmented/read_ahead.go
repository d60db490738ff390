package segmented

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
)

// ReadAheadAt implements storage.TimedAheadReader: in a store of windows the row of a record is most often
// that of the window in which it lies, if windows follow one another. If they overlap it may be one of the
// record's rows. The engine finds out whether the rows are those that are asked for.
func (s *Store) ReadAheadAt(keys [][]byte, times []int64) {
	reader, ok := s.Engine.(storage.AheadReader)
	if !ok || s.kind != graph.Window || s.duplicates || s.size <= 0 {
		return
	}
	// The keys are appended to one buffer, which may be replaced meanwhile: what was cut from the one before
	// stays as it is.
	b, rows := s.aheadBytes[:0], s.aheadKeys[:0]
	for i, key := range keys {
		at := len(b)
		b = s.shape.appendRowKey(b, row{key: key, start: times[i] - times[i]%s.size})
		rows = append(rows, b[at:len(b):len(b)])
	}
	s.aheadBytes, s.aheadKeys = b, rows
	reader.ReadAhead(rows)
}
