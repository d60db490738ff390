package table

// Filter returns the table of the rows of t for which keep is true; a row for which it becomes false is deleted. keep must depend on
// nothing but its arguments: it is called again when a join reads a row.
//
// What is sent is what Kafka Streams sends: if t is kept in a store, a row that was not in the result and is not now is no change. If it
// is not (store.OnDemand, and no step made before needs its rows), every update that fails keep is sent as a tombstone.
func Filter[K, V any](t KTable[K, V], keep func(K, V) bool) KTable[K, V] {
	return filter(t, "table.Filter", keep, true)
}

// FilterNot returns the table of the rows of t for which drop is false. It is Filter otherwise.
func FilterNot[K, V any](t KTable[K, V], drop func(K, V) bool) KTable[K, V] {
	return filter(t, "table.FilterNot", drop, false)
}

func filter[K, V any](t KTable[K, V], op string, f func(K, V) bool, want bool) KTable[K, V] {
	n := derived(t, op, "filter", true, func(k K, v V, row bool) (V, bool) {
		return v, row && f(k, v) == want
	})
	return result[K, V](n.Funcs(f))
}
