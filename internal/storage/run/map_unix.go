//go:build unix

package run

import (
	"os"
	"syscall"
)

// mapFile maps the n bytes of a file, n > 0. The map stays when the file is closed.
func mapFile(f *os.File, n int) ([]byte, error) {
	return syscall.Mmap(int(f.Fd()), 0, n, syscall.PROT_READ, syscall.MAP_SHARED)
}

func unmapFile(b []byte) error { return syscall.Munmap(b) }
