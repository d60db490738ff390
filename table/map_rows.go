package table

// MapRows returns the table whose rows f makes of those of t. f is called for deletions too, with row false and the zero value, and
// may make a row of them; with ok false it deletes. It must depend on nothing but its arguments: it is called again when a join
// reads a row, with row false where t has none.
func MapRows[K, V, V2 any](t KTable[K, V], f func(k K, v V, row bool) (v2 V2, ok bool)) KTable[K, V2] {
	return result[K, V2](derived(t, "table.MapRows", "map-rows", false, f).Funcs(f))
}
