package table

// MapValues returns a table whose rows have the values that f computes from those of t. Tombstones
// are sent on without a call of f. f must depend on its argument alone: it is called again when a
// join reads a row.
func MapValues[K, V, V2 any](t KTable[K, V], f func(V) V2) KTable[K, V2] {
	node := derivedNode(t, "table.MapValues", "map-values", false, func(_ K, v V, row bool) (v2 V2, ok bool) {
		if !row {
			return v2, false
		}
		return f(v), true
	})
	return result[K, V2](node.CheckFuncs(f))
}
