package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// TryMapRecordValues is MapRecordValues for functions that can fail. f sees tombstones, and makes
// one by returning ok false. The policy of OnError, or else the App's, decides about a record for
// which f returns an error; failure.Drop always drops it.
//
//	names := stream.TryMapRecordValues(users,
//		func(ctx context.Context, r stream.Record[string, User]) (name string, ok bool, err error) {
//			if r.Tombstone {
//				return "", false, nil
//			}
//			name, err = lookUp(ctx, r.Value)
//			return name, true, err
//		})
func TryMapRecordValues[K, V, V2 any](
	s KStream[K, V], f func(context.Context, Record[K, V]) (v V2, ok bool, err error), opts ...TryOption,
) KStream[K, V2] {
	options := readCallOptions(opts)
	return result[K, V2](options.applyTo(unary(s, "stream.TryMapRecordValues", "map-values", f,
		func(site wire.Site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
			mapped := func(ctx context.Context, r Record[K, V]) (Record[K, V2], error) {
				v, ok, err := f(ctx, r)
				if !ok {
					return tombstone[V2](r), err
				}
				return topology.WithValue(r, v), err
			}
			return tryInlet(site, options, mapped, func(_ Record[K, V], o Record[K, V2]) error { return out(o) })
		})))
}
