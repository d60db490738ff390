//go:build unix

package memtable

import "syscall"

// mapPages returns n bytes of zeroed memory that the garbage collector neither scans nor counts. On
// the Go heap, at GOGC=100, each byte of a memtable would cost two. When the kernel refuses,
// because of a limit on mappings, for example, the memory comes from the heap.
func mapPages(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	if n >= hugePage {
		adviseHuge(b)
	}
	return b
}

// unmapPages frees what mapPages returned. Package syscall knows its mappings: it refuses memory
// from the heap, which is left to the garbage collector.
func unmapPages(b []byte) { _ = syscall.Munmap(b) }
