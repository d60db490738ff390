package stream

// RepartitionBy is Repartition with a function that chooses one of n partitions for each record.
// Steps that follow assume that records are in the partition of their key, so f must always choose
// the same partition for a key. Where the records are joined with those of a topic with a
// Partitioner, f must choose as that one does; a record for which it does not is a failure of this
// step. Build refuses to join them with a topic that is partitioned by Kafka's default. Repartition
// needs no function: it follows the topics that its records are joined with.
//
//	regional := stream.RepartitionBy(orders, "by-region",
//		func(r stream.Record[string, Order], n int) int { return region(r.Key) % n })
func RepartitionBy[K, V any](
	s KStream[K, V], name string, f func(r Record[K, V], n int) int, opts ...RepartitionOption,
) KStream[K, V] {
	o := repartitionNode(s, "stream.RepartitionBy", name, f, opts)
	o.node().CheckFuncs(f)
	return o
}
