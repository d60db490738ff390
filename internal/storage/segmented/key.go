package segmented

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/codec"
)

// Local keys begin with their class. Within a class, rows are in the order in which they are read;
// docs/format/store.md describes them all.
//
// The order of the classes matters after a crash. A flush writes rows in the order of their keys,
// in several transactions, and after a crash between two of them the changelog is replayed over
// what it wrote. So a row that is made from another one, which is then changed, must come before
// that one. If a new latest version were written and the version that it replaced not yet, as an
// older version, the replaced one would be lost.
const (
	metaClass      byte = iota + 1 // what the store knows of itself: one row
	rowClass                       // windows and sessions: segment, key, times
	timeClass                      // the index by time: time, key, rest
	olderClass                     // versions before the latest: segment, key, until when
	latestClass                    // versions: key
	tombstoneClass                 // latest versions that are deletions: time, key
)

var metaKey = []byte{metaClass}

const (
	timeLen = 8
	seqLen  = 4
	headLen = 1 + timeLen // class and segment, or class and time
)

// Errors of rows that this package cannot have written: the file is damaged.
var (
	errKey     = codec.Undecodable("", errors.New("not a key of such a store"))
	errVersion = codec.Undecodable("", errors.New("not a version of such a store"))
)

// badKey returns an error about a local key. It shows only the beginning, since the rest may be
// personal data.
func badKey(local []byte) error {
	return fmt.Errorf("%w: %x of %d bytes", errKey, local[:min(len(local), 2*headLen)], len(local))
}

// appendTime appends a time, or the number of a segment, so that bytes sort as times, negative ones
// included.
func appendTime(b []byte, t int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t)^(1<<63))
}

func timeAt(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ (1 << 63)) }

// appendKey appends a user's key so that the bytes sort as the keys and no key is a prefix of
// another. What follows the key then sorts within it. A zero byte is written as 0 255, the end as 0
// 0.
func appendKey(b, key []byte) []byte {
	// Numbers have many zero bytes, and to look for each of them takes longer than to look at each byte.
	if len(key) <= shortKey {
		for _, c := range key {
			if b = append(b, c); c == 0 {
				b = append(b, 0xff)
			}
		}
		return append(b, 0, 0)
	}
	for {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			return append(append(b, key...), 0, 0)
		}
		b = append(append(b, key[:i]...), 0, 0xff)
		key = key[i+1:]
	}
}

// shortKey is how long a key is at most that is copied byte by byte.
const shortKey = 16

// splitKey is the inverse of appendKey. It returns the key and what follows it; ok is false when b
// does not begin with a key. The key is a part of b, or of buf when it has zero bytes to be
// replaced; newBuf is for the next call.
func splitKey(b, buf []byte) (key, rest, newBuf []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 || i+1 >= len(b) {
		return nil, nil, buf, false
	}
	if b[i+1] == 0 {
		return b[:i:i], b[i+2:], buf, true
	}
	// The key has zero bytes. It is copied without their escapes, byte by byte, as in appendKey.
	buf = append(buf[:0], b[:i]...)
	for b = b[i:]; len(b) > 1; {
		if b[0] != 0 {
			buf, b = append(buf, b[0]), b[1:]
			continue
		}
		switch b[1] {
		case 0:
			return buf, b[2:], buf, true
		case 0xff:
			buf, b = append(buf, 0), b[2:]
		default:
			return nil, nil, buf, false
		}
	}
	return nil, nil, buf, false
}

// UserKey returns the user's key in a local key; nil when it has none.
func UserKey(local []byte) []byte {
	if len(local) == 0 {
		return nil
	}
	switch local[0] {
	case latestClass:
		return local[1:]
	case tombstoneClass:
		if len(local) >= headLen {
			return local[headLen:]
		}
	case rowClass, timeClass, olderClass:
		if len(local) >= headLen {
			if key, _, _, ok := splitKey(local[headLen:], nil); ok {
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

// row is a window or a session of a key. It has three encodings: as a local key, in the index by
// time, and in the changelog.
type row struct {
	key        []byte
	start, end int64  // windows have no end here
	seq        uint32 // distinguishes duplicates
}

// shape is what the encodings of a store's keys depend on.
type shape struct {
	session  bool
	interval int64 // ms
}

// expiryOf returns the time that a row expires by: a window's start, a session's end.
func (s *shape) expiryOf(r row) int64 {
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

// appendRowKey appends the local key of a row.
func (s *shape) appendRowKey(b []byte, r row) []byte {
	b = appendTime(append(b, rowClass), segmentOf(s.expiryOf(r), s.interval))
	return s.appendTail(appendKey(b, r.key), r)
}

// appendTail appends what follows the key in a local key.
func (s *shape) appendTail(b []byte, r row) []byte {
	if s.session {
		return appendTime(appendTime(b, r.end), r.start)
	}
	return binary.BigEndian.AppendUint32(appendTime(b, r.start), r.seq)
}

// parseRowKey is the inverse of appendRowKey, for what comes after class and segment.
func (s *shape) parseRowKey(b, buf []byte) (r row, newBuf []byte, ok bool) {
	key, rest, buf, ok := splitKey(b, buf)
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

// rowTime is expiryOf for the row of a local key.
func (s *shape) rowTime(local []byte) int64 {
	return timeAt(local[len(local)-s.tailLen():])
}

// appendIndexKey appends the row's key in the index by time.
func (s *shape) appendIndexKey(b []byte, r row) []byte {
	b = appendKey(appendTime(append(b, timeClass), s.expiryOf(r)), r.key)
	if s.session {
		return appendTime(b, r.start)
	}
	return binary.BigEndian.AppendUint32(b, r.seq)
}

// parseIndexKey is the inverse of appendIndexKey.
func (s *shape) parseIndexKey(b, buf []byte) (r row, newBuf []byte, ok bool) {
	if len(b) < headLen || b[0] != timeClass {
		return row{}, buf, false
	}
	key, rest, buf, ok := splitKey(b[headLen:], buf)
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

// appendChangelogKey appends the row's key as the changelog has it: Java's.
func (s *shape) appendChangelogKey(b []byte, r row) []byte {
	b = append(b, r.key...)
	if s.session {
		b = binary.BigEndian.AppendUint64(b, uint64(r.end))
		return binary.BigEndian.AppendUint64(b, uint64(r.start))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.start))
	return binary.BigEndian.AppendUint32(b, r.seq)
}

// parseChangelogKey is the inverse of appendChangelogKey.
func (s *shape) parseChangelogKey(b []byte) (row, error) {
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
