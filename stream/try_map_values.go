package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// TryMapValues is MapValues for functions that can fail; they get the whole record. Tombstones pass
// without a call of f. The policy of OnError, or else the App's, decides about a record for which f
// returns an error; failure.Drop always drops it.
//
//	places := stream.TryMapValues(visits, func(ctx context.Context, r stream.Record[string, Visit]) (Place, error) {
//		return geocode(ctx, r.Value.Address)
//	}, stream.Timeout(2*time.Second)).OnError(failure.DeadLetter("no-place"))
func TryMapValues[K, V, V2 any](
	s KStream[K, V], f func(context.Context, Record[K, V]) (V2, error), opts ...TryOption,
) KStream[K, V2] {
	options := readCallOptions(opts)
	return result[K, V2](options.applyTo(unary(s, "stream.TryMapValues", "map-values", f,
		func(site wire.Site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
			mapped := func(ctx context.Context, r Record[K, V]) (Record[K, V2], error) {
				if r.Tombstone { // it keeps its place among those in flight
					return tombstone[V2](r), nil
				}
				v, err := f(ctx, r)
				return topology.WithValue(r, v), err
			}
			return tryInlet(site, options, mapped, func(_ Record[K, V], o Record[K, V2]) error { return out(o) })
		})))
}
