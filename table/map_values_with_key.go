package table

// MapValuesWithKey is MapValues with a function that sees the key too. The key stays.
func MapValuesWithKey[K, V, V2 any](t KTable[K, V], f func(K, V) V2) KTable[K, V2] {
	n := derived(t, "table.MapValuesWithKey", "map-values", false, func(k K, v V, row bool) (v2 V2, ok bool) {
		if !row {
			return v2, false
		}
		return f(k, v), true
	})
	return result[K, V2](n.Funcs(f))
}
