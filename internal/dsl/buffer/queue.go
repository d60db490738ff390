package buffer

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/storage"
)

// Queue is a buffer of records in the order of their times, then of their keys' bytes, then of
// their arrival. The key of a row is a zero byte, the time, the record's key and a number, so the
// store has this order. Owned by the task's goroutine.
type Queue struct {
	name string
	rows storage.Bytes
	next uint32 // the number of the next record
	len  int
	size int64
	// earliest is at most the time of the first record; math.MaxInt64 when there is none.
	earliest int64

	value Value
	buf   []byte
	key   []byte

	scanFrom []byte
}

// A row's key has a head before the record's key, a byte of 0 and the time, and a number behind it.
const (
	headLen   = 1 + 8
	minRowKey = headLen + 4
)

func appendRowHead(to []byte, at int64) []byte {
	return binary.BigEndian.AppendUint64(append(to, 0), uint64(at))
}

// OpenQueue opens the buffer in a store, and reads all of it. name is the store's.
func OpenQueue(name string, rows storage.Bytes) (*Queue, error) {
	q := &Queue{name: name, rows: rows, earliest: math.MaxInt64}
	for e, err := range rows.Scan(storage.Range{}) {
		at, key, number, err := q.splitRowKey(e.Key, err)
		if err == nil {
			_, err = q.value.Parse(e.Value)
			err = codec.Undecodable(q.name, err)
		}
		if err != nil {
			return nil, q.wrap("read", key, err)
		}
		q.next = max(q.next, number)
		q.earliest = min(q.earliest, at)
		q.count(1, e.Key, q.value.Size())
	}
	return q, nil
}

func (q *Queue) splitRowKey(row []byte, err error) (at int64, key []byte, number uint32, _ error) {
	if err != nil {
		return 0, row, 0, err
	}
	if len(row) < minRowKey || row[0] != 0 || int8(row[1]) < 0 { // a time below 0 would be due at once
		return 0, row, 0, codec.Undecodable(q.name, errShort)
	}
	n := len(row) - 4
	return int64(binary.BigEndian.Uint64(row[1:])), row[headLen:n], binary.BigEndian.Uint32(row[n:]), nil
}

// count adds n records of one size to the totals; n is 1 or -1.
func (q *Queue) count(n int, row []byte, size int64) {
	q.len += n
	q.size += int64(n) * (int64(len(row)) + size)
}

func (q *Queue) wrap(what string, key []byte, err error) error {
	return fmt.Errorf("buffer %q, key %s: %s: %w", q.name, quote.Key(key), what, err)
}

// Len returns the number of records in the buffer.
func (q *Queue) Len() int { return q.len }

// Size returns how many bytes they count for.
func (q *Queue) Size() int64 { return q.size }

// Put adds a record, at buffered.Time. An error of the store's Put is a *PutError; nothing has changed
// then.
func (q *Queue) Put(key []byte, buffered Value) error {
	number := (q.next + 1) & math.MaxInt32
	q.key = append(appendRowHead(q.key[:0], buffered.Time), key...)
	q.key = binary.BigEndian.AppendUint32(q.key, number)
	q.buf = buffered.Append(q.buf[:0], 0) // Kafka Streams has 0 there: the key says when
	if err := q.rows.Put(q.key, q.buf, buffered.Time); err != nil {
		return &PutError{q.wrap("put", key, err)}
	}
	q.next = number
	q.earliest = min(q.earliest, buffered.Time)
	q.count(1, q.key, buffered.Size())
	return nil
}

// ReleaseUntil removes the records up to and including a time, after visit was called with each, in
// order. Key and value are valid until visit calls the buffer's store, or returns. visit must not
// put into the buffer. Its error ends ReleaseUntil, and the record stays.
func (q *Queue) ReleaseUntil(limit int64, visit func(key []byte, buffered *Value) error) error {
	// Stream time moves with nearly every record, and most of the time nothing is due: this saves
	// the scan.
	if q.earliest > limit {
		return nil
	}
	q.scanFrom = appendRowHead(q.scanFrom[:0], max(q.earliest, 0))
	q.earliest = math.MaxInt64
	for e, err := range q.rows.Scan(storage.Range{From: q.scanFrom}) {
		at, _, _, err := q.splitRowKey(e.Key, err)
		if err != nil {
			return q.wrap("scan", e.Key, err)
		}
		if at > limit {
			q.earliest = at
			return nil
		}
		if err := q.release(e, visit); err != nil {
			q.earliest = at
			return err
		}
	}
	return nil
}

func (q *Queue) release(e storage.Entry, visit func([]byte, *Value) error) error {
	q.key = append(q.key[:0], e.Key...)
	key := q.key[headLen : len(q.key)-4]
	if _, err := q.value.Parse(e.Value); err != nil {
		return q.wrap("read", key, codec.Undecodable(q.name, err))
	}
	at, size := q.value.Time, q.value.Size()
	if err := visit(key, &q.value); err != nil {
		return err
	}
	if err := q.rows.Delete(q.key, at); err != nil {
		return q.wrap("delete", key, err)
	}
	q.count(-1, q.key, size)
	return nil
}
