package stream

// RepartitionBy is Repartition with a partition of its own choice for each record: f chooses one of n. What follows takes records to be
// in their key's partition, so f must always choose the same one for a key.
//
//	near := stream.RepartitionBy(orders, "by-region", func(r stream.Record[string, Order], n int) int { return region(r.Key) % n })
func RepartitionBy[K, V any](s KStream[K, V], name string, f func(r Record[K, V], n int) int, opts ...RepartitionOption) KStream[K, V] {
	o := repartition(s, "stream.RepartitionBy", name, f, opts)
	o.node().Funcs(f)
	return o
}
