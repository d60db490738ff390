package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// ForEach calls f for each record, at least once: after a crash it is called again for the records
// whose offsets were not committed.
//
//	stream.ForEach(alerts, func(r stream.Record[string, Alert]) { pager.Send(r.Value.Text) })
func ForEach[K, V any](s KStream[K, V], f func(Record[K, V])) Step {
	return Step(plan.NewStep(terminal(s, "stream.ForEach", "for-each", f, func(site wire.Site) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			site.Enter()
			f(r)
			return nil
		}
	})))
}
