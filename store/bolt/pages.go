package bolt

import (
	"bufio"
	"hash/fnv"
	"io"
	"slices"
)

// A builder writes a whole bbolt file from rows in ascending order: leaves as they fill, then the branches above them, then what
// leads to these. bbolt itself takes some ten times as long, since it looks up the place of every row and keeps pages as trees of
// objects until they are written.
//
//	page 0, 1  meta          2 ...      leaves of "rows"     then   branches, level by level, the last one page
//	then       leaf of "meta"           leaf with the two buckets   free list, empty
//
//	page:   | id 8 | flags 2 | count 2 | further pages 4 | elements, 16 bytes each | their bytes |
//	leaf:   element | flags 4 | offset 4 | key length 4 | value length 4 |     bytes: key, value
//	branch: element | offset 4 | key length 4 | page 8 |                       bytes: first key below
//
// Offsets count from the element itself. Numbers are in the machine's order.
type builder struct {
	w        *bufio.Writer
	pageSize int
	fill     int // bytes of a page that are used before the next begins
	id       uint64
	page     []byte
	row      []pair
	bytes    int
	level    []childPage
	slab     []byte
	err      error
}

// A pair is an element to be: pre is part of the key and stands in front of it.
type pair struct {
	pre, key, value []byte
	flags           uint32
}

type childPage struct {
	key []byte
	id  uint64
}

const (
	elementSize = 16
	metaPage    = 0x04
	bucketFlag  = 1
)

var prefixBytes = []byte{rowPrefix}

// newBuilder begins a file on w, two empty pages for finish to write over.
func newBuilder(w io.Writer, pageSize int) *builder {
	b := &builder{w: bufio.NewWriterSize(w, 256<<10), pageSize: pageSize, fill: pageSize / 10 * 9, id: 2}
	b.page = make([]byte, pageSize)
	for range 2 {
		b.write(b.page)
	}
	return b
}

func (b *builder) write(p []byte) {
	if b.err == nil {
		_, b.err = b.w.Write(p)
	}
}

// add adds a row; its key is greater than all before. The bytes must stay until the page is written, with the rows after it.
func (b *builder) add(key, stored []byte) error {
	size := elementSize + len(prefixBytes) + len(key) + len(stored)
	if len(b.row) > 0 && pageHead+b.bytes+size > b.fill {
		b.endLeaf()
	}
	b.row = append(b.row, pair{pre: prefixBytes, key: key, value: stored})
	b.bytes += size
	return b.err
}

// endLeaf writes the rows that have come together.
func (b *builder) endLeaf() {
	first := b.row[0]
	b.level = append(b.level, childPage{b.keep(first.pre, first.key), b.leaf(b.row)})
	b.row, b.bytes = b.row[:0], 0
}

// keep copies a key into memory that many share.
func (b *builder) keep(pre, key []byte) []byte {
	n := len(pre) + len(key)
	if cap(b.slab)-len(b.slab) < n {
		b.slab = make([]byte, 0, max(n, 64<<10))
	}
	at := len(b.slab)
	b.slab = append(append(b.slab, pre...), key...)
	return b.slab[at : at+n : at+n]
}

// begin makes a page of the given content, zeroed behind its head, and returns its number.
func (b *builder) begin(flags uint16, count, size int) uint64 {
	pages := (size + b.pageSize - 1) / b.pageSize
	b.page = slices.Grow(b.page[:0], pages*b.pageSize)[:pages*b.pageSize]
	clear(b.page[size:])
	id := b.id
	native.PutUint64(b.page, id)
	native.PutUint16(b.page[8:], flags)
	native.PutUint16(b.page[10:], uint16(count))
	native.PutUint32(b.page[12:], uint32(pages-1))
	b.id += uint64(pages)
	return id
}

// leaf writes a leaf page.
func (b *builder) leaf(pairs []pair) uint64 {
	size := pageHead
	for _, p := range pairs {
		size += elementSize + len(p.pre) + len(p.key) + len(p.value)
	}
	id := b.begin(leafPage, len(pairs), size)
	at := pageHead + len(pairs)*elementSize
	for i, p := range pairs {
		e := pageHead + i*elementSize
		native.PutUint32(b.page[e:], p.flags)
		native.PutUint32(b.page[e+4:], uint32(at-e))
		native.PutUint32(b.page[e+8:], uint32(len(p.pre)+len(p.key)))
		native.PutUint32(b.page[e+12:], uint32(len(p.value)))
		at += copy(b.page[at:], p.pre)
		at += copy(b.page[at:], p.key)
		at += copy(b.page[at:], p.value)
	}
	b.write(b.page)
	return id
}

// branch writes a branch page.
func (b *builder) branch(children []childPage, size int) uint64 {
	id := b.begin(branchPage, len(children), size)
	at := pageHead + len(children)*elementSize
	for i, c := range children {
		e := pageHead + i*elementSize
		native.PutUint32(b.page[e:], uint32(at-e))
		native.PutUint32(b.page[e+4:], uint32(len(c.key)))
		native.PutUint64(b.page[e+8:], c.id)
		at += copy(b.page[at:], c.key)
	}
	b.write(b.page)
	return id
}

// climb writes the branches of one level above the pages of b.level, each over at least two, so that levels get shorter.
func (b *builder) climb() {
	var up []childPage
	for rest := b.level; len(rest) > 0; {
		n, size := 0, pageHead
		for n < len(rest) && (n < 2 || len(rest)-n == 1 || size+elementSize+len(rest[n].key) <= b.fill) {
			size += elementSize + len(rest[n].key)
			n++
		}
		up = append(up, childPage{rest[0].key, b.branch(rest[:n], size)})
		rest = rest[n:]
	}
	b.level = up
}

// finish writes all that leads to the rows, and returns the two meta pages, which belong at the start of the file.
func (b *builder) finish(checkpoint []byte) ([]byte, error) {
	if len(b.row) > 0 {
		b.endLeaf()
	}
	if len(b.level) == 0 {
		b.level = []childPage{{id: b.leaf(nil)}}
	}
	for len(b.level) > 1 {
		b.climb()
	}
	rows := b.level[0].id
	pairs := []pair{{key: versionKey, value: []byte{fileVersion}}}
	if checkpoint != nil {
		pairs = slices.Insert(pairs, 0, pair{key: checkpointKey, value: checkpoint})
	}
	meta := b.leaf(pairs)
	root := b.leaf([]pair{
		{key: metaBucket, value: bucketAt(meta), flags: bucketFlag}, {key: rowsBucket, value: bucketAt(rows), flags: bucketFlag},
	})
	freelist := b.begin(freelistPage, 0, pageHead)
	b.write(b.page)
	if b.err == nil {
		b.err = b.w.Flush()
	}
	return b.metas(root, freelist), b.err
}

// bucketAt returns a bucket as its parent has it: root page and sequence number.
func bucketAt(page uint64) []byte { return native.AppendUint64(native.AppendUint64(nil, page), 0) }

func (b *builder) metas(root, freelist uint64) []byte {
	pages := make([]byte, 2*b.pageSize)
	for i := range uint64(2) {
		p := pages[int(i)*b.pageSize:]
		native.PutUint64(p, i)
		native.PutUint16(p[8:], metaPage)
		m := p[pageHead : pageHead+metaSize]
		native.PutUint32(m, boltMagic)
		native.PutUint32(m[4:], boltVersion)
		native.PutUint32(m[8:], uint32(b.pageSize))
		native.PutUint64(m[16:], root)
		native.PutUint64(m[32:], freelist)
		native.PutUint64(m[40:], b.id)
		native.PutUint64(m[48:], 2+i) // the transaction, whose parity is the page
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		native.PutUint64(m[56:], sum.Sum64())
	}
	return pages
}
