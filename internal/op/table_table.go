package op

import (
	"reflect"
	"time"

	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// TableTable joins the rows of two tables that have the same key. A change of one side meets the row that the other side has now:
//
//	other side absent: nothing if only pairs are joined, or if there was and is no row; else the row alone, or its end
//	other side there:  the pair, or what is left of it: always, though it may be an end that was said before
//
// The result's time is the greater of the change's and the other row's. Owned by the task's goroutine.
type TableTable[K, L, R, O any] struct {
	Left  wire.Getter[K, L]
	Right wire.Getter[K, R]
	Join  func(l L, left bool, r R, right bool) O
	// KeepLeft and KeepRight say that rows of a side have a result without the other.
	KeepLeft, KeepRight bool
	// Old says that changes carry old values, as those that come in do.
	Old bool
	// Related says that a record can change both sides, one after the other. Changes that come in carry old values then.
	Related bool
}

// ending is a row of one side that has gone by the current record, and found no row of the other side: the record may have ended that one
// too, and with it their pair.
type ending[K, V any] struct {
	on   bool
	key  K
	row  V
	from topology.Source
}

// TableSide returns the change of a join's result that follows from one of a side, ok false when there is none.
type TableSide[K, V, O any] func(wire.Change[K, V]) (out wire.Change[K, O], ok bool, err error)

// Sides returns what takes the changes of the left and of the right side.
func (t *TableTable[K, L, R, O]) Sides() (TableSide[K, L, O], TableSide[K, R, O]) {
	l := &side[K, L, R, O]{other: t.Right, join: t.Join, keep: t.KeepLeft, keepOther: t.KeepRight, old: t.Old}
	r := &side[K, R, L, O]{other: t.Left, keep: t.KeepRight, keepOther: t.KeepLeft, old: t.Old}
	r.join = func(r R, right bool, l L, left bool) O { return t.Join(l, left, r, right) }
	if t.Related {
		l.mine, r.mine = new(ending[K, L]), new(ending[K, R])
		l.its, r.its = r.mine, l.mine
	}
	return l.change, r.change
}

// side is a join as one of its sides sees it: X are its own rows.
type side[K, X, Y, O any] struct {
	other           wire.Getter[K, Y]
	join            func(x X, mine bool, y Y, its bool) O
	keep, keepOther bool
	old             bool
	mine            *ending[K, X] // nil: the sides are not related
	its             *ending[K, Y]
}

func (s *side[K, X, Y, O]) change(c wire.Change[K, X]) (out wire.Change[K, O], ok bool, err error) {
	y, at, its, err := s.other(c.Key)
	if err != nil {
		return out, false, err
	}
	if s.mine != nil {
		if out, ok = s.ended(c, its); ok {
			return out, true, nil
		}
	}
	if !its && (!s.keep || c.Tombstone && !c.HasOld) {
		return out, false, nil
	}
	v, row := s.row(c.Value, !c.Tombstone, y, its)
	out.Record = topology.WithValue(c.Record, v)
	if !row {
		out.Record = out.Record.Deleted()
	}
	if its && at > c.Time.UnixMilli() {
		out.Time = time.UnixMilli(at)
	}
	if s.old {
		out.Old, out.HasOld = s.row(c.Old, c.HasOld, y, its)
	}
	return out, true, nil
}

// row joins two rows, as far as they are there; ok is false when there is no result.
func (s *side[K, X, Y, O]) row(x X, mine bool, y Y, its bool) (o O, ok bool) {
	if mine && (its || s.keep) || its && s.keepOther {
		return s.join(present(x, mine), mine, present(y, its), its), true
	}
	return o, false
}

// present returns v if there is a row: a filter's getter returns rows that it has found not to be any.
func present[V any](v V, ok bool) V {
	if !ok {
		var none V
		return none
	}
	return v
}

// ended returns the end of a pair both of whose rows have gone by one record. Each of them finds the other gone, so that neither says it;
// Kafka Streams loses the deletion.
func (s *side[K, X, Y, O]) ended(c wire.Change[K, X], its bool) (out wire.Change[K, O], ok bool) {
	e := *s.its
	*s.its, *s.mine = ending[K, Y]{}, ending[K, X]{}
	if s.keep || its || !c.Tombstone || !c.HasOld {
		return out, false
	}
	if !e.on || e.from != c.Source() || !reflect.DeepEqual(e.key, c.Key) {
		*s.mine = ending[K, X]{on: true, key: c.Key, row: c.Old, from: c.Source()}
		return out, false
	}
	var none O
	out.Record = topology.WithValue(c.Record, none).Deleted()
	if s.old {
		out.Old, out.HasOld = s.row(c.Old, true, e.row, true)
	}
	return out, true
}

// Both returns the changes of a table joined with itself: as Kafka Streams does, each row's result comes twice, once for each
// side. The end of a row is said once, and twice where both sides are kept; Kafka Streams loses it where none is.
func Both[K, V, O any](t *TableTable[K, V, V, O], c wire.Change[K, V]) (first, second wire.Change[K, O], n int) {
	first.Key, first.Time = c.Key, c.Time
	if c.Tombstone {
		if !c.HasOld {
			return first, second, 0
		}
		var none O
		first.Record = topology.WithValue(c.Record, none).Deleted()
		second = first
		n = 1
		if t.KeepLeft && t.KeepRight {
			n = 2
		}
	} else {
		first.Record = topology.WithValue(c.Record, t.Join(c.Value, true, c.Value, true))
		second = first
		second.Old, second.HasOld = first.Value, t.Old
		n = 2
	}
	if t.Old && c.HasOld {
		first.Old, first.HasOld = t.Join(c.Old, true, c.Old, true), true
	}
	return first, second, n
}

// Get reads a row of the result: a wire.Getter.
func (t *TableTable[K, L, R, O]) Get(k K) (o O, at int64, ok bool, err error) {
	l, at, left, err := t.Left(k)
	if err != nil || !left && !t.KeepRight {
		return o, 0, false, err
	}
	r, rightAt, right, err := t.Right(k)
	if err != nil || !right && (!left || !t.KeepLeft) {
		return o, 0, false, err
	}
	if right && (!left || rightAt > at) {
		at = rightAt
	}
	return t.Join(present(l, left), left, present(r, right), right), at, true, nil
}
