package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// TryFlatMapRecords is FlatMapRecords for functions that can fail. f calls emit for each record.
// The records are passed on after f has returned without an error, so neither a failure nor a retry
// leaves half of them behind. emit must not be called later or by another goroutine. The policy of
// OnError, or else the App's, decides about a record for which f returns an error; failure.Drop
// always drops it.
//
//	parts := stream.TryFlatMapRecords(files,
//		func(ctx context.Context, r stream.Record[string, File], emit func(stream.Record[string, Part])) error {
//			for part, err := range read(ctx, r.Value) {
//				if err != nil {
//					return err
//				}
//				emit(stream.WithValue(r, part))
//			}
//			return nil
//		})
func TryFlatMapRecords[K, V, K2, V2 any](
	s KStream[K, V], f func(ctx context.Context, r Record[K, V], emit func(Record[K2, V2])) error, opts ...TryOption,
) KStream[K2, V2] {
	options := readCallOptions(opts)
	return result[K2, V2](changesKey(options.applyTo(unary(s, "stream.TryFlatMapRecords", "flat-map", f,
		func(site wire.Site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
			if options.inFlight > 1 {
				return tryFlatAsync(site, options, f, out)
			}
			// One slice and one emit function per task, so that a record allocates nothing. That is possible
			// because calls are made one after the other here.
			var made []Record[K2, V2]
			emit := func(r Record[K2, V2]) { made = append(made, r) }
			attemptAll := attempt(site, options, func(ctx context.Context, r Record[K, V]) (struct{}, error) {
				made = made[:0] // a retry starts without what the failed attempt emitted
				if err := f(ctx, r, emit); err != nil {
					return struct{}{}, err
				}
				return struct{}{}, deriveAll(r, made)
			})
			return func(r Record[K, V]) error {
				site.Enter()
				_, ok, err := graph.Try(site.Env, site.Node, graph.Processing, attemptAll, r)
				for i := range made {
					if ok && err == nil {
						err = out(made[i])
					}
				}
				clear(made) // or the records would stay reachable until the next call
				return err
			}
		}))))
}

// tryFlatAsync is TryFlatMapRecords with concurrent calls, each of which collects its own records.
func tryFlatAsync[K, V, K2, V2 any](
	site wire.Site, options *callOptions, f func(context.Context, Record[K, V], func(Record[K2, V2])) error,
	out wire.Outlet[K2, V2],
) wire.Outlet[K, V] {
	collect := func(ctx context.Context, r Record[K, V]) (made []Record[K2, V2], err error) {
		if err = f(ctx, r, func(r Record[K2, V2]) { made = append(made, r) }); err != nil {
			return nil, err
		}
		return made, deriveAll(r, made)
	}
	return tryInlet(site, options, collect, func(_ Record[K, V], made []Record[K2, V2]) error {
		for _, record := range made {
			if err := out(record); err != nil {
				return err
			}
		}
		return nil
	})
}
