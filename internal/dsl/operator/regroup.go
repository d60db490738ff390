package operator

import (
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// Regroup turns the changes of a table's rows into changes of their groups.
type Regroup[K, V, K2, V2 any] struct {
	// Group returns the group of a row and what the row contributes to it; ok false: the row
	// belongs to no group.
	Group func(K, V) (group K2, v V2, ok bool)
	// Equal reports whether two groups are equal.
	Equal func(a, b K2) (bool, error)
}

// RegroupMessages are the messages that follow from one change, to be sent in order.
type RegroupMessages[K2, V2 any] struct {
	Messages [2]topology.Record[K2, kswire.Change[V2]]
	Count    int
}

// Change returns the messages for the groups: none, one if the row stays in its group, or two if it
// moves to another group.
func (g *Regroup[K, V, K2, V2]) Change(change wire.Change[K, V]) (out RegroupMessages[K2, V2], err error) {
	var from, to K2
	var m kswire.Change[V2]
	if change.HasOld {
		from, m.Old, m.HasOld = g.Group(change.Key, change.Old)
	}
	if !change.Tombstone {
		to, m.New, m.HasNew = g.Group(change.Key, change.Value)
	}
	// A row that stays in its group is one message with both values. As two messages, the group
	// would for a moment lack the row, and an aggregation would emit a result without it.
	if m.HasOld && m.HasNew {
		same, err := g.Equal(from, to)
		if err != nil {
			return out, err
		}
		if same {
			out.Messages[0], out.Count = grouped(change, to, m), 1
			return out, nil
		}
	}
	// The groups may lie in different tasks. The old one loses the row first: the row is missing in
	// both for a moment, rather than counted in both.
	if m.HasOld {
		out.Messages[0] = grouped(change, from, kswire.Change[V2]{Old: m.Old, HasOld: true})
		out.Count = 1
	}
	if m.HasNew {
		out.Messages[out.Count] = grouped(change, to, kswire.Change[V2]{New: m.New, HasNew: true})
		out.Count++
	}
	return out, nil
}

func grouped[K, V, K2, V2 any](
	c wire.Change[K, V], group K2, m kswire.Change[V2],
) topology.Record[K2, kswire.Change[V2]] {
	return topology.WithValue(topology.WithKey(c.Record, group), m)
}

// FoldRows folds the rows of a group into one value. A row is added when it appears, and removed
// again when it changes or disappears.
type FoldRows[K, V, A any] struct {
	Rows *Rows[K, A]
	// Start makes the value that the first row of a group is added to. Nil: Add makes a value from
	// the row alone.
	Start func() A
	// Add returns the group's new value. a is the value before, or that of Start, or the zero
	// value; Add may change it and return it. exists reports whether the group had a value.
	Add func(k K, v V, a A, exists bool) A
	// Remove removes v from a.
	Remove func(k K, v V, a A) A
	// Delete reports whether the group's row is to be deleted. It is called after each Remove and
	// each Add. May be nil.
	Delete func(K, A) bool
	// Old has results carry old values.
	Old bool
}

// Change folds a change into its group. The row's time is the greatest of its changes' times.
func (f *FoldRows[K, V, A]) Change(key K, change kswire.Change[V], at int64) (FoldResult[A], error) {
	var res FoldResult[A]
	aggregate, rowTime, row, err := f.Rows.Load(key)
	if err != nil {
		return res, err
	}
	res.Existed = row
	if res.Time = at; row {
		res.Time = max(at, rowTime)
		// The old value needs memory of its own: Remove and Add may change the one that they get.
		if f.Old {
			res.HasOld = true
			if res.Old, err = f.Rows.DecodeAgain(); err != nil {
				return res, err
			}
		}
	}
	// Old before new, so that a group never counts both values of one row. A group without a row
	// has nothing to remove from: its row was deleted by Delete, and with it what the old value
	// contributed.
	if change.HasOld && row {
		aggregate = f.Remove(key, change.Old, aggregate)
		aggregate, row = f.applyDelete(key, aggregate)
	}
	if change.HasNew {
		if !row && f.Start != nil {
			aggregate = f.Start()
		}
		aggregate = f.Add(key, change.New, aggregate, row)
		aggregate, row = f.applyDelete(key, aggregate)
	}
	// A group without a row afterwards is deleted. That is a result even if there was no row
	// before, as in Kafka Streams.
	if !row {
		res.Deleted = true
		return res, f.Rows.Delete(res.Time)
	}
	res.New = aggregate
	return res, f.Rows.Save(aggregate, res.Time)
}

// applyDelete returns a and true, or the zero value and false if Delete removes the row.
func (f *FoldRows[K, V, A]) applyDelete(k K, a A) (A, bool) {
	if f.Delete != nil && f.Delete(k, a) {
		var none A
		return none, false
	}
	return a, true
}
