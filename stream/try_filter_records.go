package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/wire"
)

// TryFilterRecords is FilterRecords for functions that can fail. What happens to a record for which keep returns an error is the policy of
// OnError, or the App's; failure.Drop drops it in any case.
//
//	known := stream.TryFilterRecords(visits, func(ctx context.Context, r stream.Record[string, Visit]) (bool, error) {
//		return users.Exists(ctx, r.Key)
//	})
func TryFilterRecords[K, V any](s KStream[K, V], keep func(context.Context, Record[K, V]) (bool, error), opts ...TryOption) KStream[K, V] {
	t := readTries(opts)
	return result[K, V](passes(t.node(step(s, "stream.TryFilterRecords", "filter", keep, func(at site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
		return trying(at, t, keep, func(r Record[K, V], pass bool) error {
			if !pass {
				return nil
			}
			return out(r)
		})
	}))))
}
