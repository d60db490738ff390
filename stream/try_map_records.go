package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// TryMapRecords is MapRecords for functions that can fail. The policy of OnError, or else the
// App's, decides about a record for which f returns an error; failure.Drop always drops it.
//
//	users := stream.TryMapRecords(ids,
//		func(ctx context.Context, r stream.Record[string, ID]) (stream.Record[string, User], error) {
//			u, err := lookUp(ctx, r.Value)
//			return stream.WithKey(stream.WithValue(r, u), u.Phone), err
//		})
func TryMapRecords[K, V, K2, V2 any](
	s KStream[K, V], f func(context.Context, Record[K, V]) (Record[K2, V2], error), opts ...TryOption,
) KStream[K2, V2] {
	options := readCallOptions(opts)
	return result[K2, V2](changesKey(options.applyTo(unary(s, "stream.TryMapRecords", "map", f,
		func(site wire.Site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
			mapped := func(ctx context.Context, r Record[K, V]) (Record[K2, V2], error) {
				o, err := f(ctx, r)
				if err != nil {
					return o, err
				}
				return derive(r, o)
			}
			return tryInlet(site, options, mapped, func(_ Record[K, V], o Record[K2, V2]) error { return out(o) })
		}))))
}
