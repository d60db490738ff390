package join

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/windowspec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// windowed is a join of two streams as the user called it. left and right make the results of records without a partner: nil where
// these have none.
type windowed[K, L, R, O any] struct {
	opname, name string
	window       window.Join
	options      []store.Option
	pair         func(L, R) O
	left         func(L) O
	right        func(R) O

	// What follows is known when the program is built.
	key                  serde.Serde[K]
	leftValue            serde.Serde[L]
	rightValue           serde.Serde[R]
	before, after, grace int64  // milliseconds
	leftRows, rightRows  string // stores; the same one where they are shared
	waiting              string // store, empty in an inner join
}

func (j *windowed[K, L, R, O]) node(l stream.KStream[K, L], r stream.KStream[K, R]) *plan.Node {
	lh, rh := plan.Stream[K, L](l).Handle(), plan.Stream[K, R](r).Handle()
	n := plan.New[K, O](nil, j.opname, "join", lh.Out(), rh.Out())
	if n == nil {
		return nil
	}
	n.GiveName(j.name)
	n.KeyChanged, n.CanFail = false, true
	s, err := storespec.Read(j.options, storespec.InMemory, storespec.NoChangelog, storespec.TopicConfig, storespec.Name, storespec.Shared)
	n.Mistake(err)
	w := j.window.Plan()
	n.Mistake(w.Check())
	if s.Shared && (j.left != nil || lh.Out() != rh.Out()) {
		n.Mistake(fmt.Errorf("option %s is for join.StreamStream of a stream with itself", storespec.Shared))
	}
	n.Emit = func(c *plan.Compile) error {
		if err := j.begin(c, n, lh, rh, w, s); err != nil {
			return err
		}
		if s.Shared {
			return j.emitShared(c, lh)
		}
		return j.emit(c, lh, rh)
	}
	return n.KeepKey(0)
}

// begin finds the serdes and makes the stores.
func (j *windowed[K, L, R, O]) begin(c *plan.Compile, n *plan.Node, l plan.Handle[K, L], r plan.Handle[K, R], w windowspec.Spec, s storespec.Settings) error {
	j.before, j.after, j.grace = w.Before.Milliseconds(), w.After.Milliseconds(), w.Grace.Milliseconds()
	j.nameStores(s)
	var errs [6]error
	j.key, errs[0] = plan.KeySerde[K](n)
	j.leftValue, errs[1] = plan.ValueSerde[L](l.Node())
	j.rightValue, errs[2] = plan.ValueSerde[R](r.Node())
	size := w.Before + w.After
	rows := graph.Store{
		Name: j.leftRows, Kind: graph.Window, Size: size, Duplicates: true,
		// Rows are read while they are younger than the retention. The edge of the window belongs to it, so they are kept a
		// millisecond longer than that.
		Retention: size + w.Grace + time.Millisecond,
	}
	errs[3] = c.AddStoreOf(rows, s)
	if j.rightRows != j.leftRows {
		rows.Name = j.rightRows
		errs[4] = c.AddStoreOf(rows, s)
	}
	if j.waiting != "" {
		errs[5] = c.AddStoreOf(graph.Store{Name: j.waiting, Kind: graph.Plain}, s)
	}
	return errors.Join(errs[:]...)
}

// nameStores names the stores as Kafka Streams does: the name of a side's says whether the other side's records have results alone.
func (j *windowed[K, L, R, O]) nameStores(s storespec.Settings) {
	base := s.Name
	if base == "" {
		base = j.name
	}
	j.leftRows, j.rightRows = base+"-this-join-store", base+"-other-join-store"
	if s.Shared {
		j.rightRows = j.leftRows
	}
	if j.left != nil {
		j.rightRows, j.waiting = base+"-outer-other-join-store", base+"-left-shared-join-store"
	}
	if j.right != nil {
		j.leftRows, j.waiting = base+"-outer-this-join-store", base+"-outer-shared-join-store"
	}
}

// emit makes the graph's nodes: one for each side, and one at which they meet.
func (j *windowed[K, L, R, O]) emit(c *plan.Compile, l plan.Handle[K, L], r plan.Handle[K, R]) error {
	// A left or outer join wants records without a key, too: they go through the repartition topics to any partition.
	keep := j.left != nil
	from, err := plan.PartitionedBy(c, l, plan.Repartition[K, L]{Name: j.name + "-left", KeepNoKey: keep})
	if err != nil {
		return err
	}
	with, err := plan.PartitionedBy(c, r, plan.Repartition[K, R]{Name: j.name + "-right", KeepNoKey: keep})
	if err != nil {
		return err
	}
	c.Together(from, with)
	stores := []string{j.leftRows, j.rightRows}
	if j.waiting != "" {
		stores = append(stores, j.waiting)
	}
	this := &graph.Node{Op: "join-this", Stores: stores, Wire: j.wireThis}
	other := &graph.Node{Op: "join-other", Stores: stores, Wire: j.wireOther}
	if err := c.Add(j.name+"-join-this", this, from); err != nil {
		return err
	}
	if err := c.Add(j.name+"-join-other", other, with); err != nil {
		return err
	}
	g := &graph.Node{Stores: stores, Wire: j.wire}
	if err := c.Add(j.name, g, c.Link(1, this), c.Link(2, other)); err != nil {
		return err
	}
	plan.Gives[K, O](c, 0, g, "")
	return nil
}

// emitShared makes the one node of a stream that is joined with itself on one store.
func (j *windowed[K, L, R, O]) emitShared(c *plan.Compile, in plan.Handle[K, L]) error {
	from, err := plan.PartitionedBy(c, in, plan.Repartition[K, L]{Name: j.name + "-left"})
	if err != nil {
		return err
	}
	g := &graph.Node{Stores: []string{j.leftRows}, Wire: j.wireShared}
	if err := c.Add(j.name, g, from); err != nil {
		return err
	}
	plan.Gives[K, O](c, 0, g, "")
	return nil
}
