package stream

import (
	"iter"

	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// FlatMapRecords replaces each record by any number of records. f sees tombstones and records
// without a key, and may make both. A record that f makes from scratch, rather than from the given
// one, has no headers; if its time is zero it gets the time of the given record. Steps that follow
// and need records in the partition of their key use a repartition topic.
//
//	both := stream.FlatMapRecords(users, func(r stream.Record[string, User]) iter.Seq[stream.Record[string, User]] {
//		return slices.Values([]stream.Record[string, User]{r, stream.WithKey(r, r.Value.Phone)})
//	})
func FlatMapRecords[K, V, K2, V2 any](s KStream[K, V], f func(Record[K, V]) iter.Seq[Record[K2, V2]]) KStream[K2, V2] {
	return result[K2, V2](changesKey(canFail(unary(s, "stream.FlatMapRecords", "flat-map", f,
		func(site wire.Site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
			emitter := &flatMapEmitter[K, V, K2, V2]{site: site, out: out}
			yield := func(r Record[K2, V2]) bool {
				derived, err := derive(emitter.record, r)
				if err != nil {
					// nil when the policy skips the record that f made: those that f makes after it
					// are sent.
					emitter.err = site.Failed(err)
					return emitter.err == nil
				}
				return emitter.emit(derived)
			}
			return func(r Record[K, V]) error {
				site.Enter()
				if seq := f(r); seq != nil {
					emitter.begin(r)
					seq(yield)
				}
				return emitter.err
			}
		}))))
}
