package stream

// AssumePartitioned takes the records of s to lie in their key's partition, although a step before may have changed keys: what follows
// makes no repartition topic. That is for keys which lie together anyhow, as where a producer has partitioned by what becomes the
// key. Where it is wrong, rows of one key are spread over several tasks, and the tables are wrong.
//
//	counts := table.Count(stream.GroupByKey(stream.AssumePartitioned(trimmed)), "counts")
func AssumePartitioned[K, V any](s KStream[K, V]) KStream[K, V] {
	n := same(s, "stream.AssumePartitioned", "assume-partitioned")
	if n != nil {
		n.KeyChanged = false
	}
	return result[K, V](n)
}
