package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
)

// ToFunc writes each record to the topic that name returns for it, with the serdes and the
// partitioner of t; the name of t is ignored. The topics must exist. A name that Kafka does not
// allow is a failure to write.
//
//	stream.ToFunc(orders, stream.NewTopic("", serde.String, serde.JSON[Order]()),
//		func(r stream.Record[string, Order]) string {
//			return "orders-" + r.Value.Country
//		})
func ToFunc[K, V any](s KStream[K, V], t Topic[K, V], name func(Record[K, V]) string) Step {
	node := plan.New[K, V](nil, "stream.ToFunc", "sink", handle(s).Out()).CheckFuncs(name)
	if node == nil {
		return Step{}
	}
	node.CanFail = true
	node.AddToGraph = func(c *plan.Compiler) error {
		if err := planTopic(t).CheckSerdes(); err != nil {
			return err
		}
		return plan.Sink(c, node.Name(), node.Input(0), planTopic(t), name)
	}
	return Step(plan.NewStep(node))
}
