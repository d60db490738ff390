package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// TryFilterRecords is FilterRecords for functions that can fail. The policy of OnError, or else the
// App's, decides about a record for which predicate returns an error; failure.Drop always drops it.
//
//	known := stream.TryFilterRecords(visits, func(ctx context.Context, r stream.Record[string, Visit]) (bool, error) {
//		return users.Exists(ctx, r.Key)
//	})
func TryFilterRecords[K, V any](
	s KStream[K, V], predicate func(context.Context, Record[K, V]) (bool, error), opts ...TryOption,
) KStream[K, V] {
	options := readCallOptions(opts)
	return result[K, V](passThrough(options.applyTo(unary(s, "stream.TryFilterRecords", "filter", predicate,
		func(site wire.Site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
			return tryInlet(site, options, predicate, func(r Record[K, V], pass bool) error {
				if !pass {
					return nil
				}
				return out(r)
			})
		}))))
}
