package operator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
)

// Side is a side of a stream-stream join, as the keys of unmatched records encode it.
type Side byte

// The sides, in the order of the store: at equal times right ones come first.
const (
	Right Side = 0
	Left  Side = 1
)

// Unmatched are the records of the outer sides of a stream-stream join that have no partner yet, in
// the store format of Kafka Streams. The key is the time, the side and the record's key, so the
// store is in order of time. The value is a list of the values with that key. A record is removed
// when a partner arrives, or emitted when its window has closed.
//
// emitClosed visits the rows that are due and one row beyond. The two sides may wait for different
// times (OpenFor). Then there are two ranges: up to one time all records are due, and from there to
// a later time only those of the side that waits shorter, among records of the other side that must
// stay. NextTime remembers where the unmatched records of a side begin, so that rows that must stay
// are passed once and not with every record. Owned by the task's goroutine.
type Unmatched[K, O any] struct {
	Name string
	Rows storage.Bytes
	Key  *codec.Codec[K]
	Try  retry.Func // decides about records that the store rejects
	// Unpaired makes the result of an unmatched record, by side, from the bytes of its value.
	Unpaired [2]func(value []byte) (O, error)
	// OpenFor is how long after its time a record of a side can get a partner, in milliseconds: to
	// the end of the window plus the grace period.
	OpenFor [2]int64
	// NextTime is a time before which no record of a side is unmatched. The zero value is right for
	// a store that was just opened.
	NextTime [2]int64

	rowKey, scanFrom, list []byte

	// The state of one emitRange.
	sides       [2]Side
	before, now int64
	out         func(k K, t int64, o O) error
	firstNotDue int64
	err         error
	visit       func(storage.Entry, error) bool // allocated once
}

// setRowKey sets the store's key of a record.
func (u *Unmatched[K, O]) setRowKey(s Side, t int64, key []byte) {
	u.rowKey = binary.BigEndian.AppendUint64(u.rowKey[:0], uint64(t))
	u.rowKey = append(append(u.rowKey, byte(s)), key...)
}

// put adds a record, after those of its key, side and time. now is the record's time in the
// changelog.
func (u *Unmatched[K, O]) put(s Side, t int64, key, value []byte, now int64) error {
	u.setRowKey(s, t, key)
	list, _, ok, err := u.Rows.Get(u.rowKey)
	if err != nil {
		return u.wrap("get", err)
	}
	if !ok {
		list = emptyList
	}
	if u.list, err = appendToList(append(u.list[:0], list...), byte(s), value); err != nil {
		return u.wrap("read", err)
	}
	if err := u.Rows.Put(u.rowKey, u.list, now); err != nil {
		if err = onRowError(
			u.Try, u.wrap, "put", err, func() error { return u.Rows.Put(u.rowKey, u.list, now) },
		); err != nil {
			return err
		}
	}
	// A late record lies before the rows that the last emission has stopped at: the next one must
	// begin here.
	u.NextTime[s] = min(u.NextTime[s], t)
	return nil
}

// remove deletes all records of a key, a side and a time. One of them has found a partner, and
// Kafka Streams does not tell them apart.
func (u *Unmatched[K, O]) remove(s Side, t int64, key []byte, now int64) error {
	if t < u.NextTime[s] {
		return nil
	}
	u.setRowKey(s, t, key)
	// The read is cheaper than a deletion, which goes to the changelog whether there was a row or
	// not.
	_, _, ok, err := u.Rows.Get(u.rowKey)
	if err == nil && ok {
		err = u.Rows.Delete(u.rowKey, now)
	}
	if err != nil {
		return u.wrap("delete", err)
	}
	return nil
}

// emitClosed emits all records whose windows have closed at stream time now: by time, then right
// before left, then by the bytes of their keys, then in the order of arrival.
func (u *Unmatched[K, O]) emitClosed(now int64, out func(key K, t int64, o O) error) error {
	shorter, longer := Left, Right
	if u.OpenFor[shorter] > u.OpenFor[longer] {
		shorter, longer = longer, shorter
	}
	allBefore, shorterBefore := now-u.OpenFor[longer], now-u.OpenFor[shorter]
	// Up to allBefore the records of both sides are due.
	if from := min(u.NextTime[shorter], u.NextTime[longer]); from < allBefore {
		rest, err := u.emitRange(from, allBefore, shorter, longer, now, out)
		if err != nil {
			return err
		}
		u.NextTime[longer], u.NextTime[shorter] = rest, max(u.NextTime[shorter], rest)
	}
	// From there on only those of the side that waits shorter are due. Those of the other side are
	// passed over.
	if u.NextTime[shorter] < shorterBefore {
		rest, err := u.emitRange(u.NextTime[shorter], shorterBefore, shorter, shorter, now, out)
		if err != nil {
			return err
		}
		u.NextTime[shorter] = rest
	}
	return nil
}

// emitRange emits and deletes the records of sides a and b in [from, before). It returns the time
// of the first row after the range.
func (u *Unmatched[K, O]) emitRange(
	from, before int64, a, b Side, now int64, out func(key K, t int64, o O) error,
) (rest int64, err error) {
	u.scanFrom = binary.BigEndian.AppendUint64(u.scanFrom[:0], uint64(max(from, 0)))
	u.sides, u.before, u.now, u.out = [2]Side{a, b}, before, now, out
	u.firstNotDue, u.err = math.MaxInt64, nil
	if u.visit == nil {
		u.visit = u.visitRow
	}
	scan := storage.Range{From: u.scanFrom}
	if v, ok := u.Rows.(storage.Visitor); ok {
		v.Visit(scan, u.visit)
	} else {
		u.Rows.Scan(scan)(u.visit)
	}
	return u.firstNotDue, u.err
}

// visitRow emits a row that is due. It returns false to end the scan.
func (u *Unmatched[K, O]) visitRow(entry storage.Entry, err error) bool {
	switch {
	case err != nil:
		u.err = fmt.Errorf("store %q: scan: %w", u.Name, err)
		return false
	// The row is damaged, or someone else has written it: a time below 0 would be due at once, and
	// an unknown side has no function.
	case len(entry.Key) < 9 || int8(entry.Key[0]) < 0 || entry.Key[8] > byte(Left):
		u.err = codec.Undecodable(
			u.Name, fmt.Errorf("store %q: key %s does not begin with a time and a side", u.Name, quote.Hex(entry.Key)),
		)
		return false
	}
	t, s := int64(binary.BigEndian.Uint64(entry.Key)), Side(entry.Key[8])
	if t >= u.before {
		u.firstNotDue = t
		return false
	}
	if s == u.sides[0] || s == u.sides[1] {
		u.err = u.emitRow(entry, t, s)
	}
	return u.err == nil
}

// emitRow emits the results of a row and then deletes it.
func (u *Unmatched[K, O]) emitRow(entry storage.Entry, t int64, s Side) error {
	// The row is copied: what follows a result may not use this store, but it may make the engine
	// move its rows.
	u.rowKey, u.list = append(u.rowKey[:0], entry.Key...), append(u.list[:0], entry.Value...)
	k, err := u.Key.Decode(u.rowKey[9:])
	if err != nil {
		return u.wrap("decode the key", err)
	}
	rest, n, err := listElements(u.list)
	for ; n > 0 && err == nil; n-- {
		var value []byte
		if value, rest, err = nextElement(rest); err == nil && len(value) == 0 {
			err = errors.New("a value without a side")
		}
		if err != nil {
			break
		}
		o, err := u.Unpaired[s](value[1:])
		if err != nil {
			return u.wrap("decode the value", err)
		}
		if err := u.out(k, t, o); err != nil {
			return err
		}
	}
	if err != nil {
		return u.wrap("read", codec.Undecodable(u.Name, err))
	}
	// Deleted last: if emitting fails in between, no result is missing after the restart.
	if err := u.Rows.Delete(u.rowKey, u.now); err != nil {
		return u.wrap("delete", err)
	}
	return nil
}

func (u *Unmatched[K, O]) wrap(what string, err error) error {
	return fmt.Errorf("store %q, row %s: %s: %w", u.Name, quote.Hex(u.rowKey), what, err)
}
