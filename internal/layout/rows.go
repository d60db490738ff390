package layout

import (
	"github.com/millstream-go/millstream/store"
)

// put writes a window or a session. kept is false when it has expired.
func (l *Log) put(r row, value []byte, time int64) (kept bool, err error) {
	at := l.shape.at(r)
	l.observed = max(l.observed, at)
	if l.expired(at) {
		return false, nil
	}
	if value == nil {
		return false, store.ErrNilValue
	}
	if l.dups {
		l.seq = (l.seq + 1) & 0x7fffffff
		r.seq = l.seq
	}
	l.writes++
	l.key = l.shape.appendRow(l.key[:0], r)
	if err := l.Engine.Put(l.key, value, time); err != nil {
		return false, err
	}
	if l.index {
		l.key = l.shape.appendIndex(l.key[:0], r)
		return true, l.Engine.Put(l.key, emptyValue, time)
	}
	return true, nil
}

var emptyValue = []byte{}

// delete removes a row.
func (l *Log) delete(r row, time int64) error {
	at := l.shape.at(r)
	l.observed = max(l.observed, at)
	if l.expired(at) {
		return nil
	}
	l.writes++
	l.key = l.shape.appendRow(l.key[:0], r)
	if err := l.Engine.Delete(l.key, time); err != nil {
		return err
	}
	if l.index {
		l.key = l.shape.appendIndex(l.key[:0], r)
		return l.Engine.Delete(l.key, time)
	}
	return nil
}
