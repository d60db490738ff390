package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/wire"
)

// TryMapRecords is MapRecords for functions that can fail. What happens to a record for which f returns an error is the policy of OnError,
// or the App's; failure.Drop drops it in any case.
//
//	users := stream.TryMapRecords(ids, func(ctx context.Context, r stream.Record[string, ID]) (stream.Record[string, User], error) {
//		u, err := lookUp(ctx, r.Value)
//		return stream.WithKey(stream.WithValue(r, u), u.Phone), err
//	})
func TryMapRecords[K, V, K2, V2 any](s KStream[K, V], f func(context.Context, Record[K, V]) (Record[K2, V2], error), opts ...TryOption) KStream[K2, V2] {
	t := readTries(opts)
	return result[K2, V2](rekeyed(t.node(step(s, "stream.TryMapRecords", "map", f, func(at site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
		return trying(at, t, f, func(r Record[K, V], o Record[K2, V2]) error { return out(derive(r, o)) })
	}))))
}
