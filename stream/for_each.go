package stream

import (
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
)

// ForEach calls f for each record, at least once: after a crash again for those whose offsets were not committed.
//
//	stream.ForEach(alerts, func(r stream.Record[string, Alert]) { pager.Send(r.Value.Text) })
func ForEach[K, V any](s KStream[K, V], f func(Record[K, V])) Step {
	return Step(plan.NewStep(last(s, "stream.ForEach", "for-each", f, func(at site) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			f(r)
			return nil
		}
	})))
}
