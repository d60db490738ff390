package run

import (
	"os"
	"syscall"
)

const madvCold = 20 // MADV_COLD; older kernels than 5.4 refuse it, and nothing is lost

// adviseRandom says that a map is read here and there. Else the kernel would read 128 KiB for each page
// that is not in memory: of a state larger than memory, most of what it holds would be neighbours that
// nobody asked for.
func adviseRandom(b []byte) { _ = syscall.Madvise(b, syscall.MADV_RANDOM) }

// adviseSoon says that b is read next: the kernel fetches it as a whole, and ahead.
func adviseSoon(b []byte) { _ = syscall.Madvise(b, syscall.MADV_WILLNEED) }

// adviseCold says that b will not be read soon: its memory is taken before that of pages which are.
func adviseCold(b []byte) { _ = syscall.Madvise(b, madvCold) }

var systemPage = uint64(os.Getpagesize())
