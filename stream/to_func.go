package stream

import (
	"github.com/millstream-go/millstream/internal/plan"
)

// ToFunc writes each record to the topic that name chooses for it, with the serdes and the partitioner of t, whose name does not count.
// The topics must exist. A name that Kafka would refuse is a failure to write.
//
//	stream.ToFunc(orders, stream.NewTopic("", serde.String, serde.JSON[Order]()), func(r stream.Record[string, Order]) string {
//		return "orders-" + r.Value.Country
//	})
func ToFunc[K, V any](s KStream[K, V], t Topic[K, V], name func(Record[K, V]) string) Step {
	n := plan.New[K, V](nil, "stream.ToFunc", "sink", handle(s).Out()).Funcs(name)
	if n == nil {
		return Step{}
	}
	n.CanFail = true
	n.Emit = func(c *plan.Compile) error {
		if err := t.t.CheckSerdes(); err != nil {
			return err
		}
		return plan.Sink(c, n.Name(), n.Input(0), t.t, name)
	}
	return Step(plan.NewStep(n))
}
