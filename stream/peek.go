package stream

import (
	"github.com/millstream-go/millstream/internal/wire"
)

// Peek calls f for each record and passes it on. f must not change what the record's key, value and headers point to.
//
//	seen := stream.Peek(orders, func(r stream.Record[string, Order]) { log.Print(r.Key) })
func Peek[K, V any](s KStream[K, V], f func(Record[K, V])) KStream[K, V] {
	return result[K, V](passes(step(s, "stream.Peek", "peek", f, func(at site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			f(r)
			return out(r)
		}
	})))
}
