package table

// Filter returns a table with the rows of t for which predicate is true; a row for which it becomes
// false is deleted. predicate must depend on its arguments alone: it is called again when a join
// reads a row.
//
// The changes that are sent are those of Kafka Streams. If t is in a store, nothing is sent for a
// row that was not in the result before and is not in it now. If t is in no store (store.OnDemand,
// and no earlier step needs its rows), every update for which predicate is false is sent as a
// tombstone.
func Filter[K, V any](t KTable[K, V], predicate func(K, V) bool) KTable[K, V] {
	return filter(t, "table.Filter", predicate, true)
}

// FilterNot returns a table with the rows of t for which predicate is false. Everything else is as
// in Filter.
func FilterNot[K, V any](t KTable[K, V], predicate func(K, V) bool) KTable[K, V] {
	return filter(t, "table.FilterNot", predicate, false)
}

func filter[K, V any](t KTable[K, V], op string, predicate func(K, V) bool, want bool) KTable[K, V] {
	n := derivedNode(t, op, "filter", true, func(k K, v V, row bool) (V, bool) {
		return v, row && predicate(k, v) == want
	})
	return result[K, V](n.CheckFuncs(predicate))
}
