package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
)

// To writes s to a topic, with the times and headers of the records. A tombstone is written as
// null.
//
//	stream.To(totals, stream.NewTopic("totals", serde.String, serde.Int64))
func To[K, V any](s KStream[K, V], t Topic[K, V]) Step {
	node := plan.New[K, V](nil, "stream.To", "sink", handle(s).Out())
	if node == nil {
		return Step{}
	}
	node.CanFail = true
	node.AddToGraph = func(c *plan.Compiler) error {
		if err := planTopic(t).Check(); err != nil {
			return err
		}
		return plan.Sink(c, node.Name(), node.Input(0), planTopic(t), nil)
	}
	return Step(plan.NewStep(node))
}
