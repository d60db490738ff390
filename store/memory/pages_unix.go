//go:build unix

package memory

import "syscall"

// mapPages returns n bytes of zeroed memory that the garbage collector neither scans nor counts: at GOGC=100 every byte of
// a memtable on the Go heap would cost two. When the kernel refuses (a limit on mappings, say) it is the heap after all.
func mapPages(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	return b
}

// unmapPages gives back what mapPages returned. Package syscall knows its mappings: memory from the heap is refused, and
// left to the garbage collector.
func unmapPages(b []byte) { _ = syscall.Munmap(b) }
