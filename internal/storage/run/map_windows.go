package run

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

// mapFile maps the n bytes of a file, n > 0. The map stays when the file is closed.
func mapFile(f *os.File, n int) (b []byte, err error) {
	h, err := syscall.CreateFileMapping(syscall.Handle(f.Fd()), nil, syscall.PAGE_READONLY, uint32(uint64(n)>>32),
		uint32(n), nil)
	if err != nil {
		return nil, os.NewSyscallError("CreateFileMapping", err)
	}
	defer func() { err = errors.Join(err, syscall.CloseHandle(h)) }()
	addr, err := syscall.MapViewOfFile(h, syscall.FILE_MAP_READ, 0, 0, uintptr(n))
	if err != nil {
		return nil, os.NewSyscallError("MapViewOfFile", err)
	}
	start := *(*unsafe.Pointer)(unsafe.Pointer(&addr)) // not memory of the collector
	return unsafe.Slice((*byte)(start), n), nil
}

func unmapFile(b []byte) error {
	return os.NewSyscallError("UnmapViewOfFile", syscall.UnmapViewOfFile(uintptr(unsafe.Pointer(unsafe.SliceData(b)))))
}
