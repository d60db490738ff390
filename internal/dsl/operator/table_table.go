package operator

import (
	"reflect"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// TableTable joins the rows of two tables that have the same key. A change of one side is joined
// with the current row of the other side:
//
//	other row absent: an inner join has no result; an outer one has the row alone, or its deletion
//	other row exists: the pair, or what remains of it; always, even if it is a deletion that was emitted before
//
// The result's time is the greater of the change's and the other row's. Owned by the task's
// goroutine.
type TableTable[K, L, R, O any] struct {
	Left  wire.Getter[K, L]
	Right wire.Getter[K, R]
	Join  func(l L, left bool, r R, right bool) O
	// OuterLeft and OuterRight have rows of a side have a result without the other side.
	OuterLeft, OuterRight bool
	// Old has changes carry old values. The incoming changes must carry them, too.
	Old bool
	// SharedUpstream reports that one record can change both sides, one after the other. Incoming
	// changes then carry old values.
	SharedUpstream bool
}

// deletedRow is a row of one side that the current record has deleted, and that found no row on the
// other side. The record may have deleted the other row, too, and with it their pair.
type deletedRow[K, V any] struct {
	set    bool
	key    K
	row    V
	source topology.Source
}

// TableSide returns the change of a join's result that follows from a change of one side; ok is
// false when there is none.
type TableSide[K, V, O any] func(wire.Change[K, V]) (out wire.Change[K, O], ok bool, err error)

// Sides returns the functions for the changes of the left and of the right side.
func (t *TableTable[K, L, R, O]) Sides() (TableSide[K, L, O], TableSide[K, R, O]) {
	l := &tableJoinSide[K, L, R, O]{
		getOther: t.Right, join: t.Join, outer: t.OuterLeft, otherOuter: t.OuterRight, oldValues: t.Old,
	}
	r := &tableJoinSide[K, R, L, O]{getOther: t.Left, outer: t.OuterRight, otherOuter: t.OuterLeft, oldValues: t.Old}
	r.join = func(r R, right bool, l L, left bool) O { return t.Join(l, left, r, right) }
	if t.SharedUpstream {
		l.deleted, r.deleted = new(deletedRow[K, L]), new(deletedRow[K, R])
		l.otherDeleted, r.otherDeleted = r.deleted, l.deleted
	}
	return l.change, r.change
}

// tableJoinSide is a join as one of its sides sees it: X are its own rows.
type tableJoinSide[K, X, Y, O any] struct {
	getOther          wire.Getter[K, Y]
	join              func(row X, hasRow bool, other Y, hasOther bool) O
	outer, otherOuter bool
	oldValues         bool
	deleted           *deletedRow[K, X] // nil: the sides have no table upstream in common
	otherDeleted      *deletedRow[K, Y]
}

// change returns the result's change, with the time of the newer row.
func (s *tableJoinSide[K, X, Y, O]) change(update wire.Change[K, X]) (out wire.Change[K, O], ok bool, err error) {
	other, otherTime, hasOther, err := s.getOther(update.Key)
	if err != nil {
		return out, false, err
	}
	if s.deleted != nil {
		if out, ok = s.bothDeleted(update, hasOther); ok {
			return out, true, nil
		}
	}
	// An inner join without the other row has neither a result nor an old one. An outer join has
	// nothing to delete for a row that never was.
	if !hasOther && (!s.outer || update.Tombstone && !update.HasOld) {
		return out, false, nil
	}
	v, row := s.row(update.Value, !update.Tombstone, other, hasOther)
	out.Record = topology.WithValue(update.Record, v)
	if !row {
		out.Record = out.Record.Deleted()
	}
	if hasOther && otherTime > update.Time.UnixMilli() {
		out.Time = time.UnixMilli(otherTime)
	}
	if s.oldValues {
		out.Old, out.HasOld = s.row(update.Old, update.HasOld, other, hasOther)
	}
	return out, true, nil
}

// row joins two rows, as far as they exist; ok is false when there is no result.
func (s *tableJoinSide[K, X, Y, O]) row(value X, hasRow bool, other Y, hasOther bool) (o O, ok bool) {
	if hasRow && (hasOther || s.outer) || hasOther && s.otherOuter {
		return s.join(valueOrZero(value, hasRow), hasRow, valueOrZero(other, hasOther), hasOther), true
	}
	return o, false
}

// valueOrZero returns v if there is a row. A filter's getter returns the values of rows that it has
// rejected, which the user must not see.
func valueOrZero[V any](v V, ok bool) V {
	if !ok {
		var none V
		return none
	}
	return v
}

// bothDeleted returns the deletion of a pair whose rows were both deleted by one record.
//
// Both sides follow from one table upstream, whose store already has the record's change when the
// first side's change arrives. Each side therefore finds the other's row deleted, and neither would
// report the end of the pair. So the first one is remembered, and the second one reports it. Kafka
// Streams loses this deletion.
func (s *tableJoinSide[K, X, Y, O]) bothDeleted(
	change wire.Change[K, X], hasOther bool,
) (out wire.Change[K, O], ok bool) {
	e := *s.otherDeleted
	*s.otherDeleted, *s.deleted = deletedRow[K, Y]{}, deletedRow[K, X]{}
	if s.outer || hasOther || !change.Tombstone || !change.HasOld {
		return out, false
	}
	if !e.set || e.source != change.Source() || !reflect.DeepEqual(e.key, change.Key) {
		*s.deleted = deletedRow[K, X]{set: true, key: change.Key, row: change.Old, source: change.Source()}
		return out, false
	}
	var none O
	out.Record = topology.WithValue(change.Record, none).Deleted()
	if s.oldValues {
		out.Old, out.HasOld = s.row(change.Old, true, e.row, true)
	}
	return out, true
}

// SelfJoin returns the changes of a table that is joined with itself. As in Kafka Streams each
// row's result comes twice, once for each side. A deletion comes once, and twice if the join is
// outer on both sides; Kafka Streams loses it where it is outer on neither.
func SelfJoin[K, V, O any](
	t *TableTable[K, V, V, O], change wire.Change[K, V],
) (first, second wire.Change[K, O], n int) {
	first.Key, first.Time = change.Key, change.Time
	if change.Tombstone {
		if !change.HasOld {
			return first, second, 0
		}
		var none O
		first.Record = topology.WithValue(change.Record, none).Deleted()
		second = first
		// The first change has deleted the result. Only a join that is outer on both sides sends
		// another deletion, as Kafka Streams does.
		n = 1
		if t.OuterLeft && t.OuterRight {
			n = 2
		}
	} else {
		first.Record = topology.WithValue(change.Record, t.Join(change.Value, true, change.Value, true))
		second = first
		// The second change replaces the result of the first, not that of the row before.
		second.Old, second.HasOld = first.Value, t.Old
		n = 2
	}
	if t.Old && change.HasOld {
		first.Old, first.HasOld = t.Join(change.Old, true, change.Old, true), true
	}
	return first, second, n
}

// Get reads a row of the result. It is a wire.Getter.
func (t *TableTable[K, L, R, O]) Get(key K) (o O, at int64, ok bool, err error) {
	l, at, left, err := t.Left(key)
	if err != nil || !left && !t.OuterRight {
		return o, 0, false, err
	}
	r, rightAt, right, err := t.Right(key)
	if err != nil || !right && (!left || !t.OuterLeft) {
		return o, 0, false, err
	}
	if right && (!left || rightAt > at) {
		at = rightAt
	}
	return t.Join(valueOrZero(l, left), left, valueOrZero(r, right), right), at, true, nil
}
