package table

// MapRows returns a table whose rows f computes from those of t. f is also called for tombstones,
// with row false and the zero value, and may make a row of them; with ok false it deletes the row.
// f must depend on its arguments alone: it is called again when a join reads a row, with row false
// if t has no such row.
func MapRows[K, V, V2 any](t KTable[K, V], f func(k K, v V, row bool) (v2 V2, ok bool)) KTable[K, V2] {
	return result[K, V2](derivedNode(t, "table.MapRows", "map-rows", false, f).CheckFuncs(f))
}
