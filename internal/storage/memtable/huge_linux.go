package memtable

import "syscall"

// adviseHuge asks for huge pages. Rows that are looked up are anywhere in a table: of one with many small
// pages, the processor would look up the place of nearly each page in memory, too. Kernels since 6.7
// place mappings of this size so that huge pages fit. Where there are none, nothing is lost.
func adviseHuge(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }
