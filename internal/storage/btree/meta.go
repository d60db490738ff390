// Package btree reads and writes the pages of bbolt files without bbolt: a Builder writes a file in
// one pass, a Tree finds rows and a Cursor walks over them. Both are faster than bbolt's own, and
// look at each page before they believe it. What is wrong with a page is a panic, which callers
// recover, as they recover the fault of a page behind the end of a mapped file.
package btree

import (
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"
)

// Sizes and flags of bbolt's pages.
//
//	page: | id 8 | flags 2 | count 2 | overflow 4 | body ...
//	meta: | magic 4 | version 4 | page size 4 | flags 4 | root page 8 | sequence 8 | free list page 8 | pages 8 | transaction 8 | FNV-1a 8 |
const (
	PageHead    = 16
	MetaSize    = 64
	ElementSize = 16
	// BucketHead is the length of a bucket's root page and sequence number, in its parent's page.
	BucketHead = 16
	// Deepest is more levels than a file can have.
	Deepest = 64

	BranchPage   = 0x01
	LeafPage     = 0x02
	FreelistPage = 0x10

	metaPage    = 0x04
	bucketFlag  = 1
	boltMagic   = 0xED0CDAED
	boltVersion = 2
)

// Native is the order of the bytes of numbers in bbolt's pages: the machine's.
var Native = binary.NativeEndian

// Castagnoli is the polynomial of the checksums of pages: machines have an instruction for it.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Meta is the content of a meta page.
type Meta struct {
	PageSize, Root, Freelist, Pages, TxID uint64
}

// DecodeMeta reads a meta page. It reports whether the page is valid.
func DecodeMeta(page []byte) (m Meta, ok bool) {
	if len(page) < PageHead+MetaSize {
		return Meta{}, false
	}
	b := page[PageHead : PageHead+MetaSize]
	sum := fnv.New64a()
	sum.Write(b[:MetaSize-8])
	if Native.Uint32(b) != boltMagic || Native.Uint32(b[4:]) != boltVersion || Native.Uint64(b[56:]) != sum.Sum64() {
		return Meta{}, false
	}
	return Meta{
		PageSize: uint64(Native.Uint32(b[8:])), Root: Native.Uint64(b[16:]), Freelist: Native.Uint64(b[32:]),
		Pages: Native.Uint64(b[40:]), TxID: Native.Uint64(b[48:]),
	}, true
}
