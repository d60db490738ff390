//go:build !unix

package memtable

// mapPages returns n bytes of zeroed memory from the Go heap, where there is no anonymous mapping.
func mapPages(n int) []byte { return make([]byte, n) }

// unmapPages leaves the memory to the garbage collector.
func unmapPages([]byte) {}
