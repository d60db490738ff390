package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// TryForEach is ForEach for functions that can fail. The policy of OnError, or else the App's,
// decides about a record for which f returns an error; failure.Drop always drops it.
//
//	stream.TryForEach(alerts, func(ctx context.Context, r stream.Record[string, Alert]) error {
//		return pager.Send(ctx, r.Value.Text)
//	}).OnError(failure.Retry(5, time.Second, time.Minute, failure.Stop()))
func TryForEach[K, V any](s KStream[K, V], f func(context.Context, Record[K, V]) error, opts ...TryOption) Step {
	options := readCallOptions(opts)
	return Step(plan.NewStep(options.applyTo(terminal(s, "stream.TryForEach", "for-each", f,
		func(site wire.Site) wire.Outlet[K, V] {
			call := func(ctx context.Context, r Record[K, V]) (struct{}, error) { return struct{}{}, f(ctx, r) }
			return tryInlet(site, options, call, func(Record[K, V], struct{}) error { return nil })
		}))))
}
