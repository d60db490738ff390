package stream

import (
	"context"

	"github.com/millstream-go/millstream/internal/wire"
)

// TryFlatMapRecords is FlatMapRecords for functions that can fail: f calls emit for each record. They go on when f has returned without an
// error, so that neither a failure nor a retry leaves half of them behind. emit must not be called after that, nor by another goroutine.
// What happens to a record for which f returns an error is the policy of OnError, or the App's; failure.Drop drops it in any case.
//
//	parts := stream.TryFlatMapRecords(files, func(ctx context.Context, r stream.Record[string, File], emit func(stream.Record[string, Part])) error {
//		for part, err := range read(ctx, r.Value) {
//			if err != nil {
//				return err
//			}
//			emit(stream.WithValue(r, part))
//		}
//		return nil
//	})
func TryFlatMapRecords[K, V, K2, V2 any](s KStream[K, V], f func(ctx context.Context, r Record[K, V], emit func(Record[K2, V2])) error, opts ...TryOption) KStream[K2, V2] {
	t := readTries(opts)
	return result[K2, V2](rekeyed(t.node(step(s, "stream.TryFlatMapRecords", "flat-map", f, func(at site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
		if t.inFlight > 1 {
			return tryFlatAsync(at, t, f, out)
		}
		var made []Record[K2, V2] // its memory is used again
		emit := func(r Record[K2, V2]) { made = append(made, r) }
		g := func(ctx context.Context, r Record[K, V]) (struct{}, error) {
			made = made[:0]
			return struct{}{}, f(ctx, r, emit)
		}
		return func(r Record[K, V]) error {
			_, ok, err := try(at, t, g, r)
			for i := range made {
				if ok && err == nil {
					err = out(derive(r, made[i]))
				}
			}
			clear(made) // what it refers to may go
			return err
		}
	}))))
}

// tryFlatAsync is TryFlatMapRecords with calls in flight, each of which makes records of its own.
func tryFlatAsync[K, V, K2, V2 any](at site, t *tries, f func(context.Context, Record[K, V], func(Record[K2, V2])) error, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
	g := func(ctx context.Context, r Record[K, V]) (made []Record[K2, V2], err error) {
		err = f(ctx, r, func(r Record[K2, V2]) { made = append(made, r) })
		return made, err
	}
	return trying(at, t, g, func(r Record[K, V], made []Record[K2, V2]) error {
		for _, x := range made {
			if err := out(derive(r, x)); err != nil {
				return err
			}
		}
		return nil
	})
}
