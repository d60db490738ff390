package table

// MapValues returns the table whose rows have the values that f makes of those of t. Deletions are sent on without f. f must depend
// on nothing but its argument: it is called again when a join reads a row.
func MapValues[K, V, V2 any](t KTable[K, V], f func(V) V2) KTable[K, V2] {
	n := derived(t, "table.MapValues", "map-values", false, func(_ K, v V, row bool) (v2 V2, ok bool) {
		if !row {
			return v2, false
		}
		return f(v), true
	})
	return result[K, V2](n.Funcs(f))
}
