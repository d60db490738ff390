package op

import (
	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Regroup sends the changes of a table's rows to their groups.
type Regroup[K, V, K2, V2 any] struct {
	// Group returns the group of a row and what it brings there; ok false: the row belongs to none.
	Group func(K, V) (group K2, v V2, ok bool)
	// Equal says whether two groups are one.
	Equal func(a, b K2) (bool, error)
}

// Change returns what c tells the groups: nothing, or one message if the row stays in its group, or two if it leaves it for another: what
// is taken away first.
func (g *Regroup[K, V, K2, V2]) Change(c wire.Change[K, V]) (out [2]topology.Record[K2, interchange.Change[V2]], n int, err error) {
	var from, to K2
	var m interchange.Change[V2]
	if c.HasOld {
		from, m.Old, m.HasOld = g.Group(c.Key, c.Old)
	}
	if !c.Tombstone {
		to, m.New, m.HasNew = g.Group(c.Key, c.Value)
	}
	if m.HasOld && m.HasNew {
		same, err := g.Equal(from, to)
		if err != nil {
			return out, 0, err
		}
		if same {
			out[0] = grouped(c, to, m)
			return out, 1, nil
		}
	}
	if m.HasOld {
		out[n] = grouped(c, from, interchange.Change[V2]{Old: m.Old, HasOld: true})
		n++
	}
	if m.HasNew {
		out[n] = grouped(c, to, interchange.Change[V2]{New: m.New, HasNew: true})
		n++
	}
	return out, n, nil
}

func grouped[K, V, K2, V2 any](c wire.Change[K, V], group K2, m interchange.Change[V2]) topology.Record[K2, interchange.Change[V2]] {
	return topology.WithValue(topology.WithKey(c.Record, group), m)
}

// FoldRows folds the rows of a group into one: each is added, and taken away again when it changes or goes.
type FoldRows[K, V, A any] struct {
	Rows *Rows[K, A]
	// Start makes the value to which the first row of a group is added; nil: Add makes it of the row alone.
	Start func() A
	// Add returns the group's new value; a is what it was, or that of Start, or the zero value. It may change a and return it. row
	// says that the group had a value.
	Add func(k K, v V, a A, row bool) A
	// Remove takes v away from a.
	Remove func(k K, v V, a A) A
	// Delete says that the group's row is to be deleted: it is asked after each of both. May be nil.
	Delete func(K, A) bool
	// Old says that results carry old values.
	Old bool
}

// Change folds a change in: what it takes away first, unless the group has no row. A group that has none afterwards is gone, and that is a
// result even if it had none before. The row's time is the greatest of its changes' times.
func (f *FoldRows[K, V, A]) Change(k K, c interchange.Change[V], at int64) (Folded[A], error) {
	var res Folded[A]
	a, was, row, err := f.Rows.Load(k)
	if err != nil {
		return res, err
	}
	res.Row = row
	if res.Time = at; row {
		res.Time = max(at, was)
		if f.Old { // apart from the one that Remove and Add are given, which they may change
			res.HasOld = true
			if res.Old, err = f.Rows.Again(); err != nil {
				return res, err
			}
		}
	}
	if c.HasOld && row {
		a = f.Remove(k, c.Old, a)
		a, row = f.stays(k, a)
	}
	if c.HasNew {
		if !row && f.Start != nil {
			a = f.Start()
		}
		a = f.Add(k, c.New, a, row)
		a, row = f.stays(k, a)
	}
	if !row {
		res.Gone = true
		return res, f.Rows.Delete(res.Time)
	}
	res.New = a
	return res, f.Rows.Save(a, res.Time)
}

// stays returns the row that a is, if it is one.
func (f *FoldRows[K, V, A]) stays(k K, a A) (A, bool) {
	if f.Delete != nil && f.Delete(k, a) {
		var none A
		return none, false
	}
	return a, true
}
