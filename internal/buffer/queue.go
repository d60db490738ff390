package buffer

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/store"
)

// Queue is a buffer of records in the order of their times, then of their keys' bytes, then of their coming. The key of a row in its store is
// a zero byte, time, key and a number: the store has the order. Owned by the task's goroutine.
type Queue struct {
	name string
	rows store.Bytes
	next uint32 // the number of the next record
	len  int
	size int64
	// least is the time of the first record or an earlier one; greater than any when there is none.
	least int64

	v   Value
	buf []byte
	key []byte

	from []byte
}

// A row's key has a head before the record's key, a byte of 0 and the time, and a number behind it.
const (
	headLen = 1 + 8
	aside   = headLen + 4
)

func appendHead(to []byte, at int64) []byte {
	return binary.BigEndian.AppendUint64(append(to, 0), uint64(at))
}

// OpenQueue opens the buffer that a store holds, and reads all of it. name is the store's.
func OpenQueue(name string, rows store.Bytes) (*Queue, error) {
	q := &Queue{name: name, rows: rows, least: math.MaxInt64}
	for e, err := range rows.Scan(store.Range{}) {
		at, key, number, err := split(e.Key, err)
		if err == nil {
			_, err = q.v.Parse(e.Value)
		}
		if err != nil {
			return nil, q.wrap("read", key, err)
		}
		q.next = max(q.next, number)
		q.least = min(q.least, at)
		q.count(1, e.Key, q.v.Size())
	}
	return q, nil
}

func split(row []byte, err error) (at int64, key []byte, number uint32, _ error) {
	if err != nil {
		return 0, row, 0, err
	}
	if len(row) < aside {
		return 0, row, 0, errShort
	}
	n := len(row) - 4
	return int64(binary.BigEndian.Uint64(row[1:])), row[headLen:n], binary.BigEndian.Uint32(row[n:]), nil
}

// count counts a record in or out.
func (q *Queue) count(n int, row []byte, size int64) {
	q.len += n
	q.size += int64(n) * (int64(len(row)) + size)
}

func (q *Queue) wrap(what string, key []byte, err error) error {
	return fmt.Errorf("buffer %q, key %q: %s: %w", q.name, key, what, err)
}

// Len is how many records are in the buffer.
func (q *Queue) Len() int { return q.len }

// Size is how many bytes they count for.
func (q *Queue) Size() int64 { return q.size }

// Put takes a record, whose place is that of v.Time. An error of the store's Put is a *PutError, and nothing has changed then.
func (q *Queue) Put(key []byte, v Value) error {
	number := (q.next + 1) & math.MaxInt32
	q.key = append(appendHead(q.key[:0], v.Time), key...)
	q.key = binary.BigEndian.AppendUint32(q.key, number)
	q.buf = v.Append(q.buf[:0], 0) // Kafka Streams has 0 there: the key says when
	if err := q.rows.Put(q.key, q.buf, v.Time); err != nil {
		return &PutError{q.wrap("put", key, err)}
	}
	q.next = number
	q.least = min(q.least, v.Time)
	q.count(1, q.key, v.Size())
	return nil
}

// Until removes the records up to a time, included, after f has had each in order. Key and value live until f makes a call on the
// buffer's store, or returns. f must not put into the buffer; its error ends Until, and the record stays.
func (q *Queue) Until(limit int64, f func(key []byte, v *Value) error) error {
	if q.least > limit {
		return nil
	}
	q.from = appendHead(q.from[:0], max(q.least, 0))
	q.least = math.MaxInt64
	for e, err := range q.rows.Scan(store.Range{From: q.from}) {
		at, _, _, err := split(e.Key, err)
		if err != nil {
			return q.wrap("scan", e.Key, err)
		}
		if at > limit {
			q.least = at
			return nil
		}
		if err := q.one(e, f); err != nil {
			q.least = at
			return err
		}
	}
	return nil
}

func (q *Queue) one(e store.Entry, f func([]byte, *Value) error) error {
	q.key = append(q.key[:0], e.Key...)
	key := q.key[headLen : len(q.key)-4]
	if _, err := q.v.Parse(e.Value); err != nil {
		return q.wrap("read", key, err)
	}
	at, size := q.v.Time, q.v.Size()
	if err := f(key, &q.v); err != nil {
		return err
	}
	if err := q.rows.Delete(q.key, at); err != nil {
		return q.wrap("delete", key, err)
	}
	q.count(-1, q.key, size)
	return nil
}
