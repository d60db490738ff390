package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts its file: a page that is not what it should be panics, in goroutines of its own too, where nobody can recover. So
// the pages that Open reads are looked at before: a meta page (bbolt takes the valid one with the higher transaction), the
// root page and the free list.
//
//	page: | id 8 | flags 2 | count 2 | overflow 4 | body ...
//	meta: | magic 4 | version 4 | page size 4 | flags 4 | root page 8 | sequence 8 | free list page 8 | pages 8 | transaction 8 | FNV-1a 8 |
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	pageHead    = 16
	metaSize    = 64

	leafPage     = 0x02
	branchPage   = 0x01
	freelistPage = 0x10
)

type boltMeta struct {
	pageSize, root, freelist, pages, txid uint64
}

var native = binary.NativeEndian

// decodeMeta reads a meta page; ok is false when it is not valid.
func decodeMeta(page []byte) (m boltMeta, ok bool) {
	if len(page) < pageHead+metaSize {
		return boltMeta{}, false
	}
	b := page[pageHead : pageHead+metaSize]
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if native.Uint32(b) != boltMagic || native.Uint32(b[4:]) != boltVersion || native.Uint64(b[56:]) != sum.Sum64() {
		return boltMeta{}, false
	}
	return boltMeta{
		pageSize: uint64(native.Uint32(b[8:])), root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]),
		pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:]),
	}, true
}

// readMeta returns the meta that bbolt would go by. The second one stands at the page size, which only the first one knows, so
// all sizes that there are are tried.
func readMeta(f io.ReaderAt) (boltMeta, bool) {
	buf := make([]byte, pageHead+metaSize)
	at := func(off int64) (boltMeta, bool) {
		if _, err := f.ReadAt(buf, off); err != nil {
			return boltMeta{}, false
		}
		return decodeMeta(buf)
	}
	first, ok := at(0)
	if ok {
		if second, ok := at(int64(first.pageSize)); ok && second.txid > first.txid {
			return second, true
		}
		return first, true
	}
	for i := range 15 {
		if m, ok := at(1024 << i); ok && m.pageSize == 1024<<i {
			return m, true
		}
	}
	return boltMeta{}, false
}

// verify is whether bbolt can be trusted with the file.
func verify(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return verifyPages(f, uint64(info.Size()))
}

func verifyPages(f io.ReaderAt, size uint64) error {
	m, ok := readMeta(f)
	switch {
	case !ok:
		return fmt.Errorf("%w: no valid meta page", errCorrupt)
	case m.pageSize < 512 || m.pageSize > 16<<20 || m.pageSize&(m.pageSize-1) != 0:
		return fmt.Errorf("%w: pages of %d bytes", errCorrupt, m.pageSize)
	case m.pages < 4 || m.pages > size/m.pageSize:
		return fmt.Errorf("%w: %d pages of %d bytes in a file of %d", errCorrupt, m.pages, m.pageSize, size)
	}
	if err := verifyPage(f, m, m.root, leafPage|branchPage); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := verifyPage(f, m, m.freelist, freelistPage); err != nil {
		return fmt.Errorf("free list: %w", err)
	}
	return nil
}

// verifyPage checks that a page lies in the file, knows its own number, has one of the flags and fits.
func verifyPage(f io.ReaderAt, m boltMeta, id uint64, flags uint16) error {
	if id < 2 || id >= m.pages {
		return fmt.Errorf("%w: page %d of %d", errCorrupt, id, m.pages)
	}
	head := make([]byte, pageHead+8)
	if _, err := f.ReadAt(head, int64(id*m.pageSize)); err != nil {
		return err
	}
	own, has := native.Uint64(head), native.Uint16(head[8:])
	count, overflow := uint64(native.Uint16(head[10:])), uint64(native.Uint32(head[12:]))
	if own != id || has&flags == 0 || has&^flags != 0 || id+overflow >= m.pages {
		return fmt.Errorf("%w: page %d says it is %d, flags %#x, %d more pages", errCorrupt, id, own, has, overflow)
	}
	if flags != freelistPage {
		return nil
	}
	// A free list of 65,535 pages and more has its true count in front.
	if count == 0xffff {
		count = native.Uint64(head[pageHead:]) + 1
	}
	if count > m.pages || count*8 > (overflow+1)*m.pageSize-pageHead {
		return fmt.Errorf("%w: a free list of %d pages", errCorrupt, count)
	}
	return nil
}
