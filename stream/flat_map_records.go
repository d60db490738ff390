package stream

import (
	"iter"

	"github.com/millstream-go/millstream/internal/wire"
)

// FlatMapRecords makes each record into any number of records with f, which sees tombstones and records without a key and may make
// both. A record made afresh, not from the one given, has no headers, and its zero time stands for that of the one given. What follows
// and needs records in their key's partition goes through a repartition topic.
//
//	both := stream.FlatMapRecords(users, func(r stream.Record[string, User]) iter.Seq[stream.Record[string, User]] {
//		return slices.Values([]stream.Record[string, User]{r, stream.WithKey(r, r.Value.Phone)})
//	})
func FlatMapRecords[K, V, K2, V2 any](s KStream[K, V], f func(Record[K, V]) iter.Seq[Record[K2, V2]]) KStream[K2, V2] {
	return result[K2, V2](rekeyed(step(s, "stream.FlatMapRecords", "flat-map", f, func(at site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
		x := &spread[K, V, K2, V2]{at: at, out: out}
		yield := func(r Record[K2, V2]) bool { return x.send(derive(x.of, r)) }
		return func(r Record[K, V]) error {
			at.enter()
			if seq := f(r); seq != nil {
				x.begin(r)
				seq(yield)
			}
			return x.err
		}
	})))
}
