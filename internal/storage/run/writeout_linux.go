//go:build linux && (amd64 || arm64)

package run

import (
	"os"
	"syscall"
)

const syncFileRangeWrite = 2 // SYNC_FILE_RANGE_WRITE

// writeOut has the kernel begin to write what it holds of a file. It waits for nothing, and nothing is safe
// after it: it leaves less for the sync at the end, behind which those of other files wait.
func writeOut(f *os.File) { _ = syscall.SyncFileRange(int(f.Fd()), 0, 0, syncFileRangeWrite) }
