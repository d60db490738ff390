package join

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// site is a step of one task.
type site struct {
	node  *graph.Node
	env   graph.Env
	place *graph.Place
}

func newSite(n *graph.Node, env graph.Env) site { return site{n, env, graph.PlaceOf(env)} }

// enter says that a function of the step's is called next, for the error of a panic.
func (s site) enter() { s.place.Node = s.node }

// done deals with what an algorithm says of a record.
func (s site) done(d op.Dropped, err error) error {
	switch {
	case err != nil:
		return refused(s.env, s.node, err)
	case d == op.NoKey:
		s.env.Drop(s.node, graph.NoKey)
	case d == op.NoValue:
		s.env.Drop(s.node, graph.NoValue)
	case d == op.NotKept:
		s.env.Drop(s.node, graph.NotKept)
	}
	return nil
}

// sides is a join in a task: what its two steps share, and the step at which they meet gives them.
type sides[K, L, R, O any] struct {
	left  *op.JoinSide[K, L, R, O]
	right *op.JoinSide[K, R, L, O]
}

// wire makes the join for one task.
func (j *windowed[K, L, R, O]) wire(n *graph.Node, env graph.Env, outs []any) (any, error) {
	return j.open(n, env, outs[0].(wire.Outlet[K, O]))
}

func (j *windowed[K, L, R, O]) wireThis(n *graph.Node, env graph.Env, outs []any) (any, error) {
	return keptInlet(newSite(n, env), outs[0].(*sides[K, L, R, O]).left), nil
}

func (j *windowed[K, L, R, O]) wireOther(n *graph.Node, env graph.Env, outs []any) (any, error) {
	return keptInlet(newSite(n, env), outs[0].(*sides[K, L, R, O]).right), nil
}

func keptInlet[K, V, W, O any](at site, side *op.JoinSide[K, V, W, O]) wire.Outlet[K, V] {
	return func(r topology.Record[K, V]) error { return at.done(side.Record(r)) }
}

// wireShared makes the inlet of a join of a stream with itself: a record is a left one, is kept, and then is a right one, which finds
// itself.
func (j *windowed[K, L, R, O]) wireShared(n *graph.Node, env graph.Env, outs []any) (any, error) {
	x, err := j.open(n, env, outs[0].(wire.Outlet[K, O]))
	if err != nil {
		return nil, err
	}
	at := newSite(n, env)
	x.right.Own = op.Kept[K, R]{}
	same, ok := any(func(v L) L { return v }).(func(L) R)
	if !ok {
		return nil, errors.New("internal: the sides of one stream have different types")
	}
	return wire.Outlet[K, L](func(r topology.Record[K, L]) error {
		d, err := x.left.Record(r)
		if err := at.done(d, err); err != nil || d == op.NoKey || d == op.NoValue {
			return err
		}
		if err != nil {
			return nil // the policy has had it
		}
		return at.done(x.right.Record(topology.WithValue(r, same(r.Value))))
	}), nil
}

// open makes the algorithm of each side.
func (j *windowed[K, L, R, O]) open(n *graph.Node, env graph.Env, out wire.Outlet[K, O]) (*sides[K, L, R, O], error) {
	at, now := newSite(n, env), &env.OperatorTime(n).Time
	keys := &keySides[K]{serde: j.key}
	lefts, err := kept(env, keys, j.leftRows, j.leftValue)
	if err != nil {
		return nil, err
	}
	rights, err := kept(env, keys, j.rightRows, j.rightValue)
	if err != nil {
		return nil, err
	}
	l := &op.JoinSide[K, L, R, O]{Side: op.Left, Time: now, Own: lefts, Other: rights, Before: j.before, After: j.after, Out: out,
		Pair: func(l L, r R) O { at.enter(); return j.pair(l, r) }, Alone: entering(at, j.left)}
	r := &op.JoinSide[K, R, L, O]{Side: op.Right, Time: now, Own: rights, Other: lefts, Before: j.after, After: j.before, Out: out,
		Pair: func(r R, l L) O { at.enter(); return j.pair(l, r) }, Alone: entering(at, j.right)}
	if j.waiting != "" {
		err = j.wait(env, keys, l, r)
	}
	return &sides[K, L, R, O]{l, r}, err
}

func entering[V, O any](at site, f func(V) O) func(V) O {
	if f == nil {
		return nil
	}
	return func(v V) O { at.enter(); return f(v) }
}

// wait opens the records that have had no partner yet, for both sides.
func (j *windowed[K, L, R, O]) wait(env graph.Env, keys *keySides[K], l *op.JoinSide[K, L, R, O], r *op.JoinSide[K, R, L, O]) error {
	h, err := env.Store(j.waiting)
	if err != nil {
		return err
	}
	w := &op.Waiting[K, O]{Name: j.waiting, Rows: h.Bytes}
	if w.Key, err = keys.of(j.waiting); err != nil {
		return err
	}
	if err := waiting(w, l, j.leftValue, j.after+j.grace); err != nil {
		return err
	}
	w.Open[op.Right] = w.Open[op.Left] // for a join where no right one waits
	if j.right == nil {
		r.Waiting = w
		return nil
	}
	return waiting(w, r, j.rightValue, j.before+j.grace)
}

// waiting has the records of a side wait.
func waiting[K, V, W, O any](w *op.Waiting[K, O], side *op.JoinSide[K, V, W, O], value serde.Serde[V], open int64) (err error) {
	values := side.Own.Value
	if _, ok := value.(serde.Bound[V]); ok {
		if values, err = rowserde.New(value, w.Name, false); err != nil {
			return err
		}
		side.Bound = values
	}
	side.Waiting = w
	w.Open[side.Side] = open
	w.Alone[side.Side] = func(b []byte) (o O, err error) {
		v, err := values.Decode(b)
		if err != nil {
			return o, err
		}
		return side.Alone(v), nil
	}
	return nil
}

// keySides encodes the keys of several stores: once for all, unless the serde is another one for each topic.
type keySides[K any] struct {
	serde serde.Serde[K]
	all   *rowserde.Side[K]
}

func (k *keySides[K]) of(name string) (*rowserde.Side[K], error) {
	if _, ok := k.serde.(serde.Bound[K]); ok {
		return rowserde.New(k.serde, name, true)
	}
	if k.all != nil {
		return k.all, nil
	}
	var err error
	k.all, err = rowserde.New(k.serde, name, true)
	return k.all, err
}

// kept opens what is kept of one side.
func kept[K, V any](env graph.Env, keys *keySides[K], name string, value serde.Serde[V]) (op.Kept[K, V], error) {
	h, err := env.Store(name)
	if err != nil {
		return op.Kept[K, V]{}, err
	}
	rows := op.Kept[K, V]{Name: name, Rows: h.Windows}
	if rows.Key, err = keys.of(name); err != nil {
		return rows, err
	}
	rows.Value, err = rowserde.New(value, name, false)
	return rows, err
}
