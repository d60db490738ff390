package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/plan"
)

// From reads topics: every record of them, in the order of each partition, those of several partitions and topics by their
// times as far as they are there. Reading the same topics twice reads them once.
func From[K, V any](b *Builder, topics ...Topic[K, V]) KStream[K, V] {
	n := plan.New[K, V](b.Plan(), "stream.From", "source")
	if n == nil {
		return KStream[K, V]{}
	}
	ts := make([]plan.Topic[K, V], len(topics))
	for i, t := range topics {
		ts[i] = t.t
	}
	n.Emit = func(c *plan.Compile) error {
		if len(ts) == 0 {
			return errors.New("it reads no topic")
		}
		var errs []error
		for _, t := range ts {
			errs = append(errs, t.Check())
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return plan.Source(c, 0, n.Name(), false, ts, "")
	}
	if len(ts) > 0 {
		n.SetSerdes(ts[0].Key, ts[0].Value)
	}
	return result[K, V](n)
}
