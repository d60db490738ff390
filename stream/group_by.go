package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
)

// GroupBy groups the records by the key that f returns. The records of a group are in several
// partitions, so an aggregation of them uses a repartition topic. A tombstone has no value to make
// a key from: it is dropped and counted.
//
//	byWord := stream.GroupBy(words, func(_, word string) string { return word })
//	counts := table.Count(byWord, "word-counts")
func GroupBy[K, V, K2 any](s KStream[K, V], f func(K, V) K2) Grouped[K2, V] {
	return grouped[K2, V](changesKey(unary(s, "stream.GroupBy", plan.Grouping, f, selectKey(f))))
}
