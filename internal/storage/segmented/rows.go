package segmented

import (
	"github.com/millstream-go/millstream/internal/storage"
)

// put writes a window or a session. written is false, and only the observed time changes, when the
// row has expired.
func (s *Store) put(r row, value []byte, time int64) (written bool, err error) {
	at := s.shape.expiryOf(r)
	s.observe(at)
	if s.hiddenFromReads(at) {
		return false, nil
	}
	if value == nil {
		return false, storage.ErrNilValue
	}
	// Duplicates of one key and start differ in a sequence number, which also orders them. Kafka
	// Streams uses 31 bits.
	if s.duplicates {
		s.seq = (s.seq + 1) & 0x7fffffff
		r.seq = s.seq
	}
	s.writes++
	s.key = s.shape.appendRowKey(s.key[:0], r)
	if err := s.Engine.Put(s.key, value, time); err != nil {
		return false, err
	}
	if s.timeIndex {
		s.key = s.shape.appendIndexKey(s.key[:0], r)
		return true, s.Engine.Put(s.key, emptyValue, time)
	}
	return true, nil
}

var emptyValue = []byte{}

// delete removes a row, if it has not expired. It raises the observed time as put does.
func (s *Store) delete(r row, time int64) error {
	at := s.shape.expiryOf(r)
	s.observe(at)
	if s.hiddenFromReads(at) {
		return nil
	}
	s.writes++
	s.key = s.shape.appendRowKey(s.key[:0], r)
	if err := s.Engine.Delete(s.key, time); err != nil {
		return err
	}
	if s.timeIndex {
		s.key = s.shape.appendIndexKey(s.key[:0], r)
		return s.Engine.Delete(s.key, time)
	}
	return nil
}
