package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// TryMapRecordValues is MapRecordValues for functions that can fail: they see tombstones, and make one with ok false. What happens to a
// record for which f returns an error is the policy of OnError, or the App's; failure.Drop drops it in any case.
//
//	names := stream.TryMapRecordValues(users, func(ctx context.Context, r stream.Record[string, User]) (name string, ok bool, err error) {
//		if r.Tombstone {
//			return "", false, nil
//		}
//		name, err = lookUp(ctx, r.Value)
//		return name, true, err
//	})
func TryMapRecordValues[K, V, V2 any](s KStream[K, V], f func(context.Context, Record[K, V]) (v V2, ok bool, err error), opts ...TryOption) KStream[K, V2] {
	t := readTries(opts)
	return result[K, V2](t.node(step(s, "stream.TryMapRecordValues", "map-values", f, func(at site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
		g := func(ctx context.Context, r Record[K, V]) (Record[K, V2], error) {
			v, ok, err := f(ctx, r)
			if !ok {
				return tombstone[V2](r), err
			}
			return topology.WithValue(r, v), err
		}
		return trying(at, t, g, func(_ Record[K, V], o Record[K, V2]) error { return out(o) })
	})))
}
