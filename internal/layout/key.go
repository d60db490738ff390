package layout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Local keys begin with their class. Rows of one class are in the order that reads of it need; docs/format/store.md has them all.
//
// A flush writes ascending keys in several transactions, and after a crash in between the changelog is replayed over what it wrote. So what
// is made of a row that is about to change comes before that row: were the latest version there and the one before it, which it took the
// place of, not yet among the older ones, that would be lost.
const (
	metaClass   byte = iota + 1 // what the store knows of itself: one row
	rowClass                    // windows and sessions: segment, key, times
	timeClass                   // the index by time: time, key, rest
	olderClass                  // versions before the latest: segment, key, until when
	latestClass                 // versions: key
	goneClass                   // latest versions that are deletions: time, key
)

var metaKey = []byte{metaClass}

const (
	timeLen = 8
	seqLen  = 4
	headLen = 1 + timeLen // class and segment, or class and time
)

// errKey is about bytes that are no key of their class.
var errKey = errors.New("not a key of such a store")

// appendTime appends a time, or the number of a segment, so that bytes have the order of times, those before 1970 included.
func appendTime(b []byte, t int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t)^(1<<63))
}

func timeAt(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ (1 << 63)) }

// appendKey appends a user's key so that no key is the beginning of another, and in the order of the keys: what comes after it
// then sorts within the key. A zero byte is written as 0 255, the end as 0 0.
func appendKey(b, key []byte) []byte {
	for {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			return append(append(b, key...), 0, 0)
		}
		b = append(append(b, key[:i]...), 0, 0xff)
		key = key[i+1:]
	}
}

// cutKey takes the user's key off the front of b. It is in b's memory, or in buf's when it has zero bytes; buf comes back for the
// next call. ok is false when b has no such key.
func cutKey(b, buf []byte) (key, rest, newBuf []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 || i+1 >= len(b) {
		return nil, nil, buf, false
	}
	if b[i+1] == 0 {
		return b[:i:i], b[i+2:], buf, true
	}
	buf = buf[:0]
	for {
		if i < 0 || i+1 >= len(b) {
			return nil, nil, buf, false
		}
		buf = append(buf, b[:i]...)
		switch b[i+1] {
		case 0:
			return buf, b[i+2:], buf, true
		case 0xff:
			buf = append(buf, 0)
		default:
			return nil, nil, buf, false
		}
		b = b[i+2:]
		i = bytes.IndexByte(b, 0)
	}
}

// UserKey returns the user's key in a local key; nil when it has none.
func UserKey(local []byte) []byte {
	if len(local) == 0 {
		return nil
	}
	switch local[0] {
	case latestClass:
		return local[1:]
	case goneClass:
		if len(local) >= headLen {
			return local[headLen:]
		}
	case rowClass, timeClass, olderClass:
		if len(local) >= headLen {
			if key, _, _, ok := cutKey(local[headLen:], nil); ok {
				return key
			}
		}
	}
	return nil
}

// segmentOf returns the number of the segment of a time.
func segmentOf(t, interval int64) int64 {
	n := t / interval
	if t < 0 && n*interval != t {
		n--
	}
	return n
}

// row is a window or a session of a key, as three forms of keys have it.
type row struct {
	key        []byte
	start, end int64  // end is not set for windows
	seq        uint32 // of duplicates
}

// shape is what tells the keys of windows from those of sessions.
type shape struct {
	session bool
	segment int64 // ms
}

// at returns the time that a row expires by.
func (s *shape) at(r row) int64 {
	if s.session {
		return r.end
	}
	return r.start
}

func (s *shape) tailLen() int {
	if s.session {
		return 2 * timeLen
	}
	return timeLen + seqLen
}

// appendRow appends the local key of a row.
func (s *shape) appendRow(b []byte, r row) []byte {
	b = appendTime(append(b, rowClass), segmentOf(s.at(r), s.segment))
	return s.appendTail(appendKey(b, r.key), r)
}

// appendTail appends what follows the key in a local key.
func (s *shape) appendTail(b []byte, r row) []byte {
	if s.session {
		return appendTime(appendTime(b, r.end), r.start)
	}
	return binary.BigEndian.AppendUint32(appendTime(b, r.start), r.seq)
}

// cutRow is the inverse of appendRow, for what comes after class and segment.
func (s *shape) cutRow(b, buf []byte) (r row, newBuf []byte, ok bool) {
	key, rest, buf, ok := cutKey(b, buf)
	if !ok || len(rest) != s.tailLen() {
		return row{}, buf, false
	}
	r.key = key
	s.readTail(&r, rest)
	return r, buf, true
}

func (s *shape) readTail(r *row, tail []byte) {
	if s.session {
		r.end, r.start = timeAt(tail), timeAt(tail[timeLen:])
		return
	}
	r.start, r.seq = timeAt(tail), binary.BigEndian.Uint32(tail[timeLen:])
}

// rowTime returns the time that the row of a local key expires by.
func (s *shape) rowTime(local []byte) int64 {
	return timeAt(local[len(local)-s.tailLen():])
}

// appendIndex appends the row's key in the index by time.
func (s *shape) appendIndex(b []byte, r row) []byte {
	b = appendKey(appendTime(append(b, timeClass), s.at(r)), r.key)
	if s.session {
		return appendTime(b, r.start)
	}
	return binary.BigEndian.AppendUint32(b, r.seq)
}

// cutIndex is the inverse of appendIndex.
func (s *shape) cutIndex(b, buf []byte) (r row, newBuf []byte, ok bool) {
	if len(b) < headLen || b[0] != timeClass {
		return row{}, buf, false
	}
	key, rest, buf, ok := cutKey(b[headLen:], buf)
	if !ok {
		return row{}, buf, false
	}
	r.key = key
	switch at := timeAt(b[1:]); {
	case s.session && len(rest) == timeLen:
		r.end, r.start = at, timeAt(rest)
	case !s.session && len(rest) == seqLen:
		r.start, r.seq = at, binary.BigEndian.Uint32(rest)
	default:
		return row{}, buf, false
	}
	return r, buf, true
}

// appendLogged appends the row's key as the changelog has it: Java's.
func (s *shape) appendLogged(b []byte, r row) []byte {
	b = append(b, r.key...)
	if s.session {
		b = binary.BigEndian.AppendUint64(b, uint64(r.end))
		return binary.BigEndian.AppendUint64(b, uint64(r.start))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.start))
	return binary.BigEndian.AppendUint32(b, r.seq)
}

// parseLogged is the inverse of appendLogged.
func (s *shape) parseLogged(b []byte) (row, error) {
	n := len(b) - s.tailLen()
	if n < 0 {
		return row{}, fmt.Errorf("%w: %d bytes in its changelog", errKey, len(b))
	}
	r := row{key: b[:n:n]}
	tail := b[n:]
	if s.session {
		r.end, r.start = int64(binary.BigEndian.Uint64(tail)), int64(binary.BigEndian.Uint64(tail[timeLen:]))
		return r, nil
	}
	r.start, r.seq = int64(binary.BigEndian.Uint64(tail)), binary.BigEndian.Uint32(tail[timeLen:])
	return r, nil
}
