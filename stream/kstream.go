package stream

import (
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/serde"
)

// KStream is a stream of records, each an event of its own. It is a handle that may be used any
// number of times; each user gets every record.
type KStream[K, V any] plan.Stream[K, V]

// Named names the step that made s, for descriptions, errors and metrics.
func (s KStream[K, V]) Named(name string) KStream[K, V] {
	s.node().SetName(name)
	return s
}

// WithSerdes sets the serdes of s, for internal topics and stores that following steps write its
// records to. A nil serde leaves the present one.
func (s KStream[K, V]) WithSerdes(k serde.Serde[K], v serde.Serde[V]) KStream[K, V] {
	setSerdes(s.node(), k, v)
	return s
}

// OnError sets the policy of the step that made s: what happens to a record for which its function
// returns an error. Defaults to the App's policy. Build returns an error if the step cannot fail.
func (s KStream[K, V]) OnError(p failure.Policy) KStream[K, V] {
	s.node().SetPolicy(p)
	return s
}

func (s KStream[K, V]) node() *plan.Node { return handle(s).Node() }

func handle[K, V any](s KStream[K, V]) plan.Handle[K, V] { return plan.Stream[K, V](s).Handle() }

// result makes the KStream of a node.
func result[K, V any](n *plan.Node) KStream[K, V] {
	return KStream[K, V](plan.NewStream(plan.Result[K, V](n)))
}

// setSerdes sets the serdes that are not nil. It checks the typed interfaces here, because a nil
// Serde[K] converted to any is not nil.
func setSerdes[K, V any](node *plan.Node, k serde.Serde[K], v serde.Serde[V]) {
	if k != nil {
		node.SetSerdes(k, nil)
	}
	if v != nil {
		node.SetSerdes(nil, v)
	}
}

// Step is a step from which nothing follows.
type Step plan.Step

// Named names the step, for descriptions, errors and metrics.
func (s Step) Named(name string) Step {
	plan.Step(s).Node().SetName(name)
	return s
}

// OnError sets the policy of the step: what happens to a record for which its function returns an
// error, or that cannot be written. Defaults to the App's policy. Build returns an error if the
// step cannot fail.
func (s Step) OnError(p failure.Policy) Step {
	plan.Step(s).Node().SetPolicy(p)
	return s
}
