package op

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/store"
)

// Side is a side of a join of two streams, as the keys of its waiting records say it.
type Side byte

// The sides, in the order of the store: at equal times right ones come first.
const (
	Right Side = 0
	Left  Side = 1
)

// Waiting are the records of the outer sides of a join that have had no partner yet, in a store of the format of Kafka Streams: the key
// is the time, the side and the record's key, so that the store is in order of time; the value is a list of what has that key. A
// record leaves when a partner comes, or when its window has closed.
//
// A flush visits what is due and one row beyond. In a join that looks further ahead on one side than on the other, it goes over two
// ranges: up to one time all records are due, and from there to another those of the near side, among those of the far side that have
// to wait; Next remembers where the near ones begin, so that the others are passed once and not at each flush. Owned by the task's
// goroutine.
type Waiting[K, O any] struct {
	Name string
	Rows store.Bytes
	Key  *rowserde.Side[K]
	// Alone makes the result of a waiting record, by side, of the bytes of its value.
	Alone [2]func(value []byte) (O, error)
	// Open is how long after its time a record of a side can get a partner, in milliseconds: to the end of the window, and the grace.
	Open [2]int64
	// Next is the time before which no record of a side waits; the zero value is good for a store that has just been opened.
	Next [2]int64

	at, from, list []byte

	// Of a flush.
	sides       [2]Side
	before, now int64
	out         func(k K, t int64, o O) error
	rest        int64
	err         error
	visit       func(store.Entry, error) bool // made once
}

// locate makes the store's key of a record.
func (w *Waiting[K, O]) locate(s Side, t int64, key []byte) {
	w.at = binary.BigEndian.AppendUint64(w.at[:0], uint64(t))
	w.at = append(append(w.at, byte(s)), key...)
}

// put has a record wait, after those of its key, side and time that wait already. now is for the changelog.
func (w *Waiting[K, O]) put(s Side, t int64, key, value []byte, now int64) error {
	w.locate(s, t, key)
	list, _, ok, err := w.Rows.Get(w.at)
	if err != nil {
		return w.wrap("get", err)
	}
	if !ok {
		list = emptyList
	}
	if w.list, err = appendToList(append(w.list[:0], list...), byte(s), value); err != nil {
		return w.wrap("read", err)
	}
	if err := w.Rows.Put(w.at, w.list, now); err != nil {
		return &RecordError{w.wrap("put", err)}
	}
	w.Next[s] = min(w.Next[s], t)
	return nil
}

// matched ends the waiting of all records of a key, a side and a time: one of them has a partner, and they are alike in that.
func (w *Waiting[K, O]) matched(s Side, t int64, key []byte, now int64) error {
	if t < w.Next[s] {
		return nil
	}
	w.locate(s, t, key)
	// A look is cheaper than a deletion, which goes to the changelog whether there was a row or not.
	_, _, ok, err := w.Rows.Get(w.at)
	if err == nil && ok {
		err = w.Rows.Delete(w.at, now)
	}
	if err != nil {
		return w.wrap("delete", err)
	}
	return nil
}

// flush emits all records whose windows have closed at stream time now: by time, then right before left, then by the bytes of their
// keys, then as they came.
func (w *Waiting[K, O]) flush(now int64, out func(k K, t int64, o O) error) error {
	near, far := Left, Right
	if w.Open[near] > w.Open[far] {
		near, far = far, near
	}
	all, some := now-w.Open[far], now-w.Open[near]
	if from := min(w.Next[near], w.Next[far]); from < all {
		rest, err := w.flushRange(from, all, near, far, now, out)
		if err != nil {
			return err
		}
		w.Next[far], w.Next[near] = rest, max(w.Next[near], rest)
	}
	if w.Next[near] < some {
		rest, err := w.flushRange(w.Next[near], some, near, near, now, out)
		if err != nil {
			return err
		}
		w.Next[near] = rest
	}
	return nil
}

// flushRange emits and deletes the records of sides a and b from a time on and before another. It returns the time of the first row that
// is not before the latter.
func (w *Waiting[K, O]) flushRange(from, before int64, a, b Side, now int64, out func(k K, t int64, o O) error) (rest int64, err error) {
	w.from = binary.BigEndian.AppendUint64(w.from[:0], uint64(max(from, 0)))
	w.sides, w.before, w.now, w.out = [2]Side{a, b}, before, now, out
	w.rest, w.err = math.MaxInt64, nil
	if w.visit == nil {
		w.visit = w.row
	}
	scan := store.Range{From: w.from}
	if v, ok := w.Rows.(store.Visitor); ok {
		v.Visit(scan, w.visit)
	} else {
		w.Rows.Scan(scan)(w.visit)
	}
	return w.rest, w.err
}

// row flushes a row and is whether to go on.
func (w *Waiting[K, O]) row(e store.Entry, err error) bool {
	switch {
	case err != nil:
		w.err = fmt.Errorf("store %q: scan: %w", w.Name, err)
		return false
	case len(e.Key) < 9:
		w.err = fmt.Errorf("store %q: key %x is too short for a time and a side", w.Name, e.Key)
		return false
	}
	t, s := int64(binary.BigEndian.Uint64(e.Key)), Side(e.Key[8]&1)
	if t >= w.before {
		w.rest = t
		return false
	}
	if s == w.sides[0] || s == w.sides[1] {
		w.err = w.emit(e, t, s)
	}
	return w.err == nil
}

// emit sends the results of a row on and then deletes it, so that nothing is missing if it fails in between. What follows a result
// may not use this store, but it may have the engine move its rows: the row is copied.
func (w *Waiting[K, O]) emit(e store.Entry, t int64, s Side) error {
	w.at, w.list = append(w.at[:0], e.Key...), append(w.list[:0], e.Value...)
	k, err := w.Key.Decode(w.at[9:])
	if err != nil {
		return w.wrap("decode the key", err)
	}
	rest, n, err := openList(w.list)
	for ; n > 0 && err == nil; n-- {
		var value []byte
		if value, rest, err = nextOf(rest); err == nil && len(value) == 0 {
			err = errors.New("a value without a side")
		}
		if err != nil {
			break
		}
		o, err := w.Alone[s](value[1:])
		if err != nil {
			return w.wrap("decode the value", err)
		}
		if err := w.out(k, t, o); err != nil {
			return err
		}
	}
	if err != nil {
		return w.wrap("read", err)
	}
	if err := w.Rows.Delete(w.at, w.now); err != nil {
		return w.wrap("delete", err)
	}
	return nil
}

func (w *Waiting[K, O]) wrap(what string, err error) error {
	return fmt.Errorf("store %q, row %x: %s: %w", w.Name, w.at, what, err)
}
