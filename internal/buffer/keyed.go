package buffer

import (
	"fmt"
	"strings"

	"github.com/millstream-go/millstream/store"
)

// Keyed is a buffer of the newest update of each key, in the order of the times at which keys came in, and of their bytes where times are
// equal. A row of its store is a key and its Value; the order stands in memory: the key and the time of each entry. Owned by the
// task's goroutine.
type Keyed struct {
	name  string
	rows  store.Bytes
	order heap
	size  int64

	v, was Value
	buf    []byte
	head   struct{ size, time int64 } // of the entry that Head returned
}

// OpenKeyed opens the buffer that a store holds, and reads all of it. name is the store's.
func OpenKeyed(name string, rows store.Bytes) (*Keyed, error) {
	b := &Keyed{name: name, rows: rows}
	for e, err := range rows.Scan(store.Range{}) {
		if err != nil {
			return nil, b.wrap("scan", e.Key, err)
		}
		due, err := b.v.Parse(e.Value)
		if err != nil {
			return nil, b.wrap("read", e.Key, err)
		}
		b.order = append(b.order, entry{due, string(e.Key)})
		b.size += b.sizeOf(e.Key, &b.v)
	}
	b.order.init()
	return b, nil
}

func (b *Keyed) wrap(what string, key []byte, err error) error {
	return fmt.Errorf("buffer %q, key %q: %s: %w", b.name, key, what, err)
}

func (b *Keyed) sizeOf(key []byte, v *Value) int64 { return 8 + int64(len(key)) + v.Size() }

// Len is how many keys are in the buffer.
func (b *Keyed) Len() int { return len(b.order) }

// Size is how many bytes they count for.
func (b *Keyed) Size() int64 { return b.size }

// Put takes the newest update of a key. A key that is there already keeps its place, whatever due is, and its Prior; that of another is
// what the update replaced. An error of the store's Put is a *PutError, and nothing has changed then.
func (b *Keyed) Put(key []byte, due int64, v Value) error {
	at, there, err := b.find(key)
	if err != nil {
		return err
	}
	v.Prior = v.Old
	if there {
		due, v.Prior = at, b.was.Prior
	}
	b.buf = v.Append(b.buf[:0], due)
	grown := b.sizeOf(key, &v)
	if there {
		grown -= b.sizeOf(key, &b.was)
	}
	if err := b.rows.Put(key, b.buf, v.Time); err != nil {
		return &PutError{b.wrap("put", key, err)}
	}
	b.size += grown
	if !there {
		b.order.push(entry{due, string(key)})
	}
	return nil
}

// PutError says that a record cannot be stored.
type PutError struct{ Err error }

func (e *PutError) Error() string { return e.Err.Error() }

// Unwrap returns why.
func (e *PutError) Unwrap() error { return e.Err }

// find reads the entry of a key into b.was.
func (b *Keyed) find(key []byte) (due int64, ok bool, err error) {
	raw, _, ok, err := b.rows.Get(key)
	if err != nil {
		return 0, false, b.wrap("get", key, err)
	}
	if !ok {
		return 0, false, nil
	}
	if due, err = b.was.Parse(raw); err != nil {
		return 0, false, b.wrap("read", key, err)
	}
	return due, true, nil
}

// First returns when the first entry is due, ok false when there is none.
func (b *Keyed) First() (due int64, ok bool) {
	if len(b.order) == 0 {
		return 0, false
	}
	return b.order[0].due, true
}

// Head returns the first entry. It stays until Remove: readers of the buffer's Prior find it there while it is sent on. Nothing may be put
// into the buffer meanwhile.
func (b *Keyed) Head() (key []byte, v *Value, err error) {
	b.buf = append(b.buf[:0], b.order[0].key...)
	raw, _, ok, err := b.rows.Get(b.buf)
	if err == nil && !ok {
		err = errGone
	}
	if err == nil {
		_, err = b.v.Parse(raw)
	}
	if err != nil {
		return nil, nil, b.wrap("read", b.buf, err)
	}
	b.head.size, b.head.time = b.sizeOf(b.buf, &b.v), b.v.Time
	return b.buf, &b.v, nil
}

// Remove removes the entry that Head returned.
func (b *Keyed) Remove() error {
	b.buf = append(b.buf[:0], b.order.pop().key...)
	b.size -= b.head.size
	if err := b.rows.Delete(b.buf, b.head.time); err != nil {
		return b.wrap("delete", b.buf, err)
	}
	return nil
}

// Prior reads what the steps after a Keyed buffer have seen of a row that is in it, ok false when it is not. rows is the buffer's store; seen
// nil: they have seen no such row, or its deletion. The bytes live until the next call on the store.
func Prior(name string, rows store.Bytes, key []byte, v *Value) (seen []byte, ok bool, err error) {
	b := Keyed{name: name, rows: rows}
	raw, _, ok, err := rows.Get(key)
	if err == nil && ok {
		_, err = v.Parse(raw)
	}
	if err != nil {
		return nil, false, b.wrap("get", key, err)
	}
	return v.Prior, ok, nil
}

// entry is a place in the order of a buffer.
type entry struct {
	due int64
	key string
}

func (x entry) before(y entry) bool {
	return x.due < y.due || x.due == y.due && strings.Compare(x.key, y.key) < 0
}
