package join

import (
	"errors"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// endRecord ends a record that an operator has processed: it counts one that was dropped. An error
// is the operator's, unless the policy has taken the record out of the stream.
func endRecord(site wire.Site, outcome operator.Outcome, err error) error {
	switch {
	case err != nil:
		return retry.IgnoreSkipped(err)
	case outcome == operator.NoKey:
		site.Drop(graph.NoKey)
	case outcome == operator.NoValue:
		site.Drop(graph.NoValue)
	case outcome == operator.TooLateToStore:
		site.Drop(graph.TooLateToStore)
	}
	return nil
}

// streamStreamTask is a join of two streams in one task. The node behind the two sides makes it and
// returns it as its inlet, so both sides share it.
type streamStreamTask[K, L, R, O any] struct {
	left  *operator.JoinSide[K, L, R, O]
	right *operator.JoinSide[K, R, L, O]
}

// wireJoin makes the join for one task.
func (j *streamStream[K, L, R, O]) wireJoin(n *graph.Node, env graph.Env, outs []any) (any, error) {
	return j.open(n, env, wire.Counted(wire.NewSite(n, env), outs[0].(wire.Outlet[K, O])))
}

func (j *streamStream[K, L, R, O]) wireThis(n *graph.Node, env graph.Env, outs []any) (any, error) {
	return joinSideInlet(wire.NewSite(n, env), outs[0].(*streamStreamTask[K, L, R, O]).left), nil
}

func (j *streamStream[K, L, R, O]) wireOther(n *graph.Node, env graph.Env, outs []any) (any, error) {
	return joinSideInlet(wire.NewSite(n, env), outs[0].(*streamStreamTask[K, L, R, O]).right), nil
}

func joinSideInlet[K, V, W, O any](site wire.Site, side *operator.JoinSide[K, V, W, O]) wire.Outlet[K, V] {
	return func(r topology.Record[K, V]) error {
		site.Enter()
		outcome, err := side.Record(r)
		return endRecord(site, outcome, err)
	}
}

// wireShared makes the inlet of a stream that is joined with itself: a record is processed as a
// left one, which stores it, and then as a right one, which finds itself in the store.
func (j *streamStream[K, L, R, O]) wireShared(node *graph.Node, env graph.Env, outs []any) (any, error) {
	sides, err := j.open(node, env, outs[0].(wire.Outlet[K, O]))
	if err != nil {
		return nil, err
	}
	site := wire.NewSite(node, env)
	// The right side must not store the record again: both sides read the one store.
	sides.right.Window = operator.JoinWindow[K, R]{}
	same, ok := any(func(v L) L { return v }).(func(L) R)
	if !ok {
		return nil, errors.New("internal: the sides of one stream have different types")
	}
	return wire.Outlet[K, L](func(record topology.Record[K, L]) error {
		site.Enter()
		outcome, err := sides.left.Record(record)
		if err := endRecord(site, outcome, err); err != nil || outcome == operator.NoKey || outcome == operator.NoValue {
			return err
		}
		if err != nil {
			return nil // the policy has decided to skip the record, so it is not a right one either
		}
		outcome, err = sides.right.Record(topology.WithValue(record, same(record.Value)))
		return endRecord(site, outcome, err)
	}), nil
}

// open makes the algorithm of each side.
func (j *streamStream[K, L, R, O]) open(
	n *graph.Node, env graph.Env, out wire.Outlet[K, O],
) (*streamStreamTask[K, L, R, O], error) {
	site, now := wire.NewSite(n, env), &env.OperatorTime(n).Time
	keys := &keyCodecs[K]{serde: j.key, site: site}
	leftRows, err := openJoinWindow(env, keys, j.leftStore, j.leftValue)
	if err != nil {
		return nil, err
	}
	rightRows, err := openJoinWindow(env, keys, j.rightStore, j.rightValue)
	if err != nil {
		return nil, err
	}
	left := &operator.JoinSide[K, L, R, O]{Side: operator.Left, Time: now, Window: leftRows, OtherWindow: rightRows,
		Before: j.before, After: j.after, Out: out,
		Pair: func(left L, right R) O { site.Resume(); return j.pair(left, right) }, Unpaired: resuming(site, j.leftAlone)}
	// Before and After change places: a right record that is later than a left one by After finds
	// it that much before itself.
	right := &operator.JoinSide[K, R, L, O]{Side: operator.Right, Time: now, Window: rightRows, OtherWindow: leftRows,
		Before: j.after, After: j.before, Out: out,
		Pair: func(right R, left L) O { site.Resume(); return j.pair(left, right) }, Unpaired: resuming(site, j.rightAlone)}
	if j.unmatchedStore != "" {
		err = j.openUnmatched(env, keys, left, right)
	}
	return &streamStreamTask[K, L, R, O]{left, right}, err
}

// resuming returns f, or nil if f is nil, with the step marked as the current one before each call.
func resuming[V, O any](site wire.Site, f func(V) O) func(V) O {
	if f == nil {
		return nil
	}
	return func(v V) O { site.Resume(); return f(v) }
}

// openUnmatched opens the store of records that have had no partner yet, for both sides.
func (j *streamStream[K, L, R, O]) openUnmatched(
	env graph.Env, keys *keyCodecs[K], left *operator.JoinSide[K, L, R, O], right *operator.JoinSide[K, R, L, O],
) error {
	handle, err := env.Store(j.unmatchedStore)
	if err != nil {
		return err
	}
	unmatched := &operator.Unmatched[K, O]{Name: j.unmatchedStore, Rows: handle.Bytes,
		Try: keys.site.Stores(j.unmatchedStore)}
	if unmatched.Key, err = keys.of(j.unmatchedStore); err != nil {
		return err
	}
	if err := addUnmatchedSide(unmatched, left, j.leftValue, j.after+j.grace); err != nil {
		return err
	}
	// In a left join no right record waits. With equal times, all records that wait are due in order.
	unmatched.OpenFor[operator.Right] = unmatched.OpenFor[operator.Left]
	if j.rightAlone == nil {
		right.Unmatched = unmatched
		return nil
	}
	return addUnmatchedSide(unmatched, right, j.rightValue, j.before+j.grace)
}

// addUnmatchedSide makes the records of one side wait for a partner.
func addUnmatchedSide[K, V, W, O any](
	unmatched *operator.Unmatched[K, O], side *operator.JoinSide[K, V, W, O], value serde.Serde[V], closesAfter int64,
) (err error) {
	// The codec of the side's store also serves this one, unless the serde is bound to each store's
	// changelog.
	values := side.Window.Value
	if _, ok := value.(serde.Bound[V]); ok {
		if values, err = codec.New(value, unmatched.Name, false, unmatched.Try); err != nil {
			return err
		}
		side.UnmatchedValue = values
	}
	side.Unmatched = unmatched
	unmatched.OpenFor[side.Side] = closesAfter
	unmatched.Unpaired[side.Side] = func(b []byte) (o O, err error) {
		v, err := values.Decode(b)
		if err != nil {
			return o, err
		}
		return side.Unpaired(v), nil
	}
	return nil
}

// keyCodecs encodes the keys of several stores with one codec, unless the serde is bound to each
// topic separately.
type keyCodecs[K any] struct {
	serde  serde.Serde[K]
	site   wire.Site
	shared *codec.Codec[K]
}

// of returns the codec for keys of the named store.
func (k *keyCodecs[K]) of(name string) (*codec.Codec[K], error) {
	if _, ok := k.serde.(serde.Bound[K]); ok {
		return codec.New(k.serde, name, true, k.site.Stores(name))
	}
	if k.shared != nil {
		return k.shared, nil
	}
	var err error
	k.shared, err = codec.New(k.serde, name, true, k.site.Stores(name))
	return k.shared, err
}

// openJoinWindow opens the stored records of one side.
func openJoinWindow[K, V any](
	env graph.Env, keys *keyCodecs[K], name string, value serde.Serde[V],
) (operator.JoinWindow[K, V], error) {
	handle, err := env.Store(name)
	if err != nil {
		return operator.JoinWindow[K, V]{}, err
	}
	rows := operator.JoinWindow[K, V]{Name: name, Rows: handle.Windows, Try: keys.site.Stores(name)}
	if rows.Key, err = keys.of(name); err != nil {
		return rows, err
	}
	rows.Value, err = codec.New(value, name, false, rows.Try)
	return rows, err
}
