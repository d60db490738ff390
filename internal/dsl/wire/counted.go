package wire

import "github.com/millstream-go/millstream/topology"

// Counted returns the inlet of a step that passes records on as they are.
func Counted[K, V any](site Site, out Outlet[K, V]) Outlet[K, V] {
	return func(r topology.Record[K, V]) error {
		site.Enter()
		return out(r)
	}
}

// CountedTable is Counted for changes.
func CountedTable[K, V any](site Site, out TableOutlet[K, V]) TableOutlet[K, V] {
	return func(c Change[K, V]) error {
		site.Enter()
		return out(c)
	}
}
