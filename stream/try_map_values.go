package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// TryMapValues is MapValues for functions that can fail, which get the whole record. Tombstones pass by f. What happens to a record for which
// f returns an error is the policy of OnError, or the App's; failure.Drop drops it in any case.
//
//	places := stream.TryMapValues(visits, func(ctx context.Context, r stream.Record[string, Visit]) (Place, error) {
//		return geocode(ctx, r.Value.Address)
//	}, stream.Timeout(2*time.Second)).OnError(failure.DeadLetter("no-place"))
func TryMapValues[K, V, V2 any](s KStream[K, V], f func(context.Context, Record[K, V]) (V2, error), opts ...TryOption) KStream[K, V2] {
	t := readTries(opts)
	return result[K, V2](t.node(step(s, "stream.TryMapValues", "map-values", f, func(at site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
		g := func(ctx context.Context, r Record[K, V]) (Record[K, V2], error) {
			if r.Tombstone { // it keeps its place among those in flight
				return tombstone[V2](r), nil
			}
			v, err := f(ctx, r)
			return topology.WithValue(r, v), err
		}
		return trying(at, t, g, func(_ Record[K, V], o Record[K, V2]) error { return out(o) })
	})))
}
