package table

// MapValuesWithKey is MapValues with a function that also sees the key. The key does not change.
func MapValuesWithKey[K, V, V2 any](t KTable[K, V], f func(K, V) V2) KTable[K, V2] {
	node := derivedNode(t, "table.MapValuesWithKey", "map-values", false, func(k K, v V, row bool) (v2 V2, ok bool) {
		if !row {
			return v2, false
		}
		return f(k, v), true
	})
	return result[K, V2](node.CheckFuncs(f))
}
