package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
)

// TryForEach is ForEach for functions that can fail. What happens to a record for which f returns an error is the policy of OnError, or the
// App's; failure.Drop drops it in any case.
//
//	stream.TryForEach(alerts, func(ctx context.Context, r stream.Record[string, Alert]) error {
//		return pager.Send(ctx, r.Value.Text)
//	}).OnError(failure.Retry(5, time.Second, time.Minute, failure.Stop()))
func TryForEach[K, V any](s KStream[K, V], f func(context.Context, Record[K, V]) error, opts ...TryOption) Step {
	t := readTries(opts)
	return Step(plan.NewStep(t.node(last(s, "stream.TryForEach", "for-each", f, func(at site) wire.Outlet[K, V] {
		g := func(ctx context.Context, r Record[K, V]) (struct{}, error) { return struct{}{}, f(ctx, r) }
		return trying(at, t, g, func(Record[K, V], struct{}) error { return nil })
	}))))
}
