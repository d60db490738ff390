package stream

// AssumePartitioned takes the records of s to lie in their key's partition, although a step before may have changed keys: what follows
// makes no repartition topic. It is right where keys changed to others of the same partition, as a key that is written another way
// does not; where it is not, the rows of a table are spread over several tasks, and wrong.
//
//	counts := table.Count(stream.GroupByKey(stream.AssumePartitioned(trimmed)), "counts")
func AssumePartitioned[K, V any](s KStream[K, V]) KStream[K, V] {
	n := same(s, "stream.AssumePartitioned", "assume-partitioned")
	if n != nil {
		n.KeyChanged = false
	}
	return result[K, V](n)
}
