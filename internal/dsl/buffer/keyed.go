package buffer

import (
	"fmt"
	"strings"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/storage"
)

// Keyed is a buffer of the newest update of each key. Its order is that of the times at which keys
// were added, and of the keys' bytes at equal times. A row of its store is a key and its Value. The
// order is in memory: key and time of each entry. Owned by the task's goroutine.
type Keyed struct {
	name  string
	rows  storage.Bytes
	order heap
	size  int64

	value, found Value
	buf          []byte
	head         struct{ size, time int64 } // of the entry that Head returned
}

// OpenKeyed opens the buffer in a store, and reads all of it. name is the store's.
func OpenKeyed(name string, rows storage.Bytes) (*Keyed, error) {
	b := &Keyed{name: name, rows: rows}
	for e, err := range rows.Scan(storage.Range{}) {
		if err != nil {
			return nil, b.wrap("scan", e.Key, err)
		}
		due, err := b.value.Parse(e.Value)
		if err != nil {
			return nil, b.wrap("read", e.Key, codec.Undecodable(b.name, err))
		}
		b.order = append(b.order, entry{due, string(e.Key)})
		b.size += b.sizeOf(e.Key, &b.value)
	}
	b.order.init()
	return b, nil
}

func (b *Keyed) wrap(what string, key []byte, err error) error {
	return fmt.Errorf("buffer %q, key %s: %s: %w", b.name, quote.Key(key), what, err)
}

func (b *Keyed) sizeOf(key []byte, v *Value) int64 { return 8 + int64(len(key)) + v.Size() }

// Len returns the number of keys in the buffer.
func (b *Keyed) Len() int { return len(b.order) }

// Size returns how many bytes they count for.
func (b *Keyed) Size() int64 { return b.size }

// Put adds the newest update of a key. A key that is in the buffer already keeps its position,
// whatever due is, and its Prior. The Prior of a new key is the value that the update replaced. An
// error of the store's Put is a *PutError; nothing has changed then.
func (b *Keyed) Put(key []byte, due int64, buffered Value) error {
	at, exists, err := b.find(key)
	if err != nil {
		return err
	}
	buffered.Prior = buffered.Old
	// A key that is in the buffer keeps its due time: an update that restarted the wait could
	// postpone the key forever. Downstream has still seen the earlier Prior.
	if exists {
		due, buffered.Prior = at, b.found.Prior
	}
	b.buf = buffered.Append(b.buf[:0], due)
	grown := b.sizeOf(key, &buffered)
	if exists {
		grown -= b.sizeOf(key, &b.found)
	}
	if err := b.rows.Put(key, b.buf, buffered.Time); err != nil {
		return &PutError{b.wrap("put", key, err)}
	}
	// The totals change after the store has accepted the row, so that a record that cannot be
	// stored leaves them right.
	b.size += grown
	if !exists {
		b.order.push(entry{due, string(key)})
	}
	return nil
}

// PutError reports that a record cannot be stored.
type PutError struct{ Err error }

func (e *PutError) Error() string { return e.Err.Error() }

// Unwrap returns why.
func (e *PutError) Unwrap() error { return e.Err }

// find reads the entry of a key into b.found.
func (b *Keyed) find(key []byte) (due int64, ok bool, err error) {
	raw, _, ok, err := b.rows.Get(key)
	if err != nil {
		return 0, false, b.wrap("get", key, err)
	}
	if !ok {
		return 0, false, nil
	}
	if due, err = b.found.Parse(raw); err != nil {
		return 0, false, b.wrap("read", key, codec.Undecodable(b.name, err))
	}
	return due, true, nil
}

// First returns when the first entry is due; ok is false when there is none.
func (b *Keyed) First() (due int64, ok bool) {
	if len(b.order) == 0 {
		return 0, false
	}
	return b.order[0].due, true
}

// Head returns the first entry. The entry stays until Remove, so that readers of its Prior find it
// while it is emitted. Nothing may be put into the buffer meanwhile.
func (b *Keyed) Head() (key []byte, buffered *Value, err error) {
	b.buf = append(b.buf[:0], b.order[0].key...)
	raw, _, ok, err := b.rows.Get(b.buf)
	if err == nil && !ok {
		err = errRowMissing
	}
	if err == nil {
		_, err = b.value.Parse(raw)
		err = codec.Undecodable(b.name, err)
	}
	if err != nil {
		return nil, nil, b.wrap("read", b.buf, err)
	}
	b.head.size, b.head.time = b.sizeOf(b.buf, &b.value), b.value.Time
	return b.buf, &b.value, nil
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

// Prior reads the value that the steps after a Keyed buffer have seen of a row; ok is false when
// the row is not in the buffer. seen nil: they have seen no such row, or its deletion. rows is the
// buffer's store. The bytes are valid until the next call on the store.
func Prior(name string, rows storage.Bytes, key []byte, buffered *Value) (seen []byte, ok bool, err error) {
	b := Keyed{name: name, rows: rows}
	raw, _, ok, err := rows.Get(key)
	if err == nil && ok {
		_, err = buffered.Parse(raw)
	}
	if err != nil {
		return nil, false, b.wrap("get", key, err)
	}
	return buffered.Prior, ok, nil
}

// entry is a position in the order of a buffer.
type entry struct {
	due int64
	key string
}

func (x entry) before(y entry) bool {
	return x.due < y.due || x.due == y.due && strings.Compare(x.key, y.key) < 0
}
