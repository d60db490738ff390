package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// Peek calls f for each record and passes the record on. f must not change what the key, the value
// and the headers point to.
//
//	seen := stream.Peek(orders, func(r stream.Record[string, Order]) { log.Print(r.Key) })
func Peek[K, V any](s KStream[K, V], f func(Record[K, V])) KStream[K, V] {
	return result[K, V](passThrough(unary(s, "stream.Peek", "peek", f,
		func(site wire.Site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				f(r)
				return out(r)
			}
		})))
}
