package stream

import (
	"github.com/millstream-go/millstream/internal/plan"
)

// To writes s to a topic. A record's time and headers go with it; a tombstone is written as null.
//
//	stream.To(totals, stream.NewTopic("totals", serde.String, serde.Int64))
func To[K, V any](s KStream[K, V], t Topic[K, V]) Step {
	n := plan.New[K, V](nil, "stream.To", "sink", handle(s).Out())
	if n == nil {
		return Step{}
	}
	n.CanFail = true
	n.Emit = func(c *plan.Compile) error {
		if err := t.t.Check(); err != nil {
			return err
		}
		return plan.Sink(c, n.Name(), n.Input(0), t.t, nil)
	}
	return Step(plan.NewStep(n))
}
