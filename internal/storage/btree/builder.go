package btree

import (
	"bytes"
	"hash/crc32"
	"hash/fnv"
	"io"
	"slices"
)

// A Builder writes a whole bbolt file from rows in ascending order: for each bucket the leaves as
// they fill, then the branches above them; after all buckets the leaf that has them, and an empty
// free list. bbolt itself takes some ten times as long: it searches the place of every row, and its
// pages are trees of objects until they are written.
//
//	page 0, 1  meta     2 ...  leaves of a bucket, its branches level by level, the last one page; the next bucket
//	then  the root, a leaf with the buckets     free list, empty
//
//	page:   | id 8 | flags 2 | count 2 | further pages 4 | elements, 16 bytes each | their bytes |
//	leaf:   element | flags 4 | offset 4 | key length 4 | value length 4 |     bytes: key, value
//	branch: element | offset 4 | key length 4 | page 8 |                       bytes: first key below
//
// Offsets count from the element itself. Numbers are in the machine's order.
type Builder struct {
	// Prefix is in front of each key of the bucket being written.
	Prefix []byte
	// Sums are the checksums of the pages written so far, those of the two meta pages zero.
	Sums []uint32

	w        io.Writer
	out      []byte // pages that are not written yet
	pageSize int
	id       uint64
	page     []byte // the page that was begun last, at the end of out
	// The leaf that rows are added to: elements without their offsets, which depend on how many there
	// will be, and the bytes of keys and values. Copies, and no slices of the caller's: to the collector,
	// slices of all rows of a page are work.
	heads, rows []byte
	first       []byte // the first key of it
	level       []childPage
	slab        []byte
	buckets     []pair
	err         error
}

// A pair is a future element. prefix is the first part of its key.
type pair struct {
	prefix, key, value []byte
	flags              uint32
}

type childPage struct {
	key []byte
	id  uint64
}

// NewBuilder begins a file on w with two empty pages, over which Finish's pages are to be written. Pages
// are filled: nothing is ever changed in them.
func NewBuilder(w io.Writer, pageSize int) *Builder {
	out := make([]byte, 2*pageSize, max(outBytes, 2*pageSize))
	return &Builder{w: w, pageSize: pageSize, id: 2, out: out, Sums: []uint32{0, 0}}
}

// outBytes is how much is written at once.
const outBytes = 128 << 10

// sum takes the checksums of the pages that were begun last, which are complete.
func (b *Builder) sum() {
	for one := range slices.Chunk(b.page, b.pageSize) {
		b.Sums = append(b.Sums, crc32.Checksum(one, Castagnoli))
	}
}

// flush writes the pages that are not written yet.
func (b *Builder) flush() error {
	if b.err == nil {
		_, b.err = b.w.Write(b.out)
	}
	b.out = b.out[:0]
	return b.err
}

// Pages returns the number of pages written so far.
func (b *Builder) Pages() uint64 { return b.id }

// Size returns about how many bytes the leaves have so far.
func (b *Builder) Size() int64 {
	return int64(b.id-2)*int64(b.pageSize) + int64(len(b.heads)) + int64(len(b.rows))
}

// Add adds a row to the bucket being written. Its key is greater than all before.
func (b *Builder) Add(key, value []byte) error {
	size := ElementSize + len(b.Prefix) + len(key) + len(value)
	if len(b.heads) > 0 && PageHead+len(b.heads)+len(b.rows)+size > b.pageSize {
		b.endLeaf()
	}
	if len(b.heads) == 0 {
		b.first = b.cloneKey(b.Prefix, key)
	}
	// Nothing else fits on its pages. A copy of the value may be large.
	if PageHead+size > b.pageSize {
		row := pair{prefix: b.Prefix, key: key, value: value}
		b.level = append(b.level, childPage{b.first, b.leaf([]pair{row})})
		return b.err
	}
	b.heads = Native.AppendUint64(b.heads, 0)
	b.heads = Native.AppendUint32(b.heads, uint32(len(b.Prefix)+len(key)))
	b.heads = Native.AppendUint32(b.heads, uint32(len(value)))
	b.rows = append(append(append(b.rows, b.Prefix...), key...), value...)
	return b.err
}

// endLeaf makes a leaf of the rows that were added since the last one.
func (b *Builder) endLeaf() {
	n := len(b.heads) / ElementSize
	id := b.begin(LeafPage, n, PageHead+len(b.heads)+len(b.rows))
	copy(b.page[PageHead:], b.heads)
	copy(b.page[PageHead+len(b.heads):], b.rows)
	at := len(b.heads) // from the element
	for e := b.page[PageHead : PageHead+len(b.heads)]; len(e) > 0; e = e[ElementSize:] {
		Native.PutUint32(e[4:], uint32(at))
		at += int(Native.Uint32(e[8:])+Native.Uint32(e[12:])) - ElementSize
	}
	b.sum()
	b.level = append(b.level, childPage{b.first, id})
	b.heads, b.rows = b.heads[:0], b.rows[:0]
}

// cloneKey copies a key into memory that many share.
func (b *Builder) cloneKey(prefix, key []byte) []byte {
	n := len(prefix) + len(key)
	if cap(b.slab)-len(b.slab) < n {
		b.slab = make([]byte, 0, max(n, 64<<10))
	}
	at := len(b.slab)
	b.slab = append(append(b.slab, prefix...), key...)
	return b.slab[at : at+n : at+n]
}

// begin makes a page of the given content, zeroed behind its head, and returns its number.
func (b *Builder) begin(flags uint16, count, size int) uint64 {
	pages := (size + b.pageSize - 1) / b.pageSize
	n := pages * b.pageSize
	if len(b.out)+n > cap(b.out) {
		_ = b.flush() // b.err has it
		// Not longer than it is needed: a row may have a gigabyte.
		if c := max(outBytes, n); c != cap(b.out) {
			b.out = make([]byte, 0, c)
		}
	}
	b.page = b.out[len(b.out) : len(b.out)+n]
	b.out = b.out[:len(b.out)+n]
	clear(b.page[size:])
	id := b.id
	Native.PutUint64(b.page, id)
	Native.PutUint16(b.page[8:], flags)
	Native.PutUint16(b.page[10:], uint16(count))
	Native.PutUint32(b.page[12:], uint32(pages-1))
	b.id += uint64(pages)
	return id
}

// leaf writes a leaf page.
func (b *Builder) leaf(pairs []pair) uint64 {
	size := PageHead
	for i := range pairs {
		p := &pairs[i]
		size += ElementSize + len(p.prefix) + len(p.key) + len(p.value)
	}
	id := b.begin(LeafPage, len(pairs), size)
	at := PageHead + len(pairs)*ElementSize
	for i := range pairs {
		p, e := &pairs[i], PageHead+i*ElementSize
		Native.PutUint32(b.page[e:], p.flags)
		Native.PutUint32(b.page[e+4:], uint32(at-e))
		Native.PutUint32(b.page[e+8:], uint32(len(p.prefix)+len(p.key)))
		Native.PutUint32(b.page[e+12:], uint32(len(p.value)))
		at += copy(b.page[at:], p.prefix)
		at += copy(b.page[at:], p.key)
		at += copy(b.page[at:], p.value)
	}
	b.sum()
	return id
}

// branch writes a branch page.
func (b *Builder) branch(children []childPage, size int) uint64 {
	id := b.begin(BranchPage, len(children), size)
	at := PageHead + len(children)*ElementSize
	for i, c := range children {
		e := PageHead + i*ElementSize
		Native.PutUint32(b.page[e:], uint32(at-e))
		Native.PutUint32(b.page[e+4:], uint32(len(c.key)))
		Native.PutUint64(b.page[e+8:], c.id)
		at += copy(b.page[at:], c.key)
	}
	b.sum()
	return id
}

// addLevel writes the branches of one level above the pages of b.level. Each has at least two
// children, so levels get shorter.
func (b *Builder) addLevel() {
	var up []childPage
	for rest := b.level; len(rest) > 0; {
		n, size := 0, PageHead
		for n < len(rest) && (n < 2 || len(rest)-n == 1 || size+ElementSize+len(rest[n].key) <= b.pageSize) {
			size += ElementSize + len(rest[n].key)
			n++
		}
		up = append(up, childPage{rest[0].key, b.branch(rest[:n], size)})
		rest = rest[n:]
	}
	b.level = up
}

// EndBucket makes the rows that were added since the last bucket a bucket of that name.
func (b *Builder) EndBucket(name []byte) error {
	if len(b.heads) > 0 {
		b.endLeaf()
	}
	if len(b.level) == 0 {
		b.level = []childPage{{id: b.leaf(nil)}}
	}
	for len(b.level) > 1 {
		b.addLevel()
	}
	// A bucket is its root page and a sequence number.
	root := Native.AppendUint64(Native.AppendUint64(nil, b.level[0].id), 0)
	b.buckets = append(b.buckets, pair{key: name, value: root, flags: bucketFlag})
	b.level = nil
	return b.err
}

// Finish writes what leads to the buckets, and returns the two meta pages, which belong at the start
// of the file.
func (b *Builder) Finish() (metas []byte, err error) {
	slices.SortFunc(b.buckets, func(x, y pair) int { return bytes.Compare(x.key, y.key) })
	root := b.leaf(b.buckets)
	freelist := b.begin(FreelistPage, 0, PageHead)
	b.sum()
	metas = b.metas(root, freelist)
	if b.Sums != nil {
		b.Sums[0] = crc32.Checksum(metas[:b.pageSize], Castagnoli)
		b.Sums[1] = crc32.Checksum(metas[b.pageSize:], Castagnoli)
	}
	return metas, b.flush()
}

func (b *Builder) metas(root, freelist uint64) []byte {
	pages := make([]byte, 2*b.pageSize)
	for i := range uint64(2) {
		p := pages[int(i)*b.pageSize:]
		Native.PutUint64(p, i)
		Native.PutUint16(p[8:], metaPage)
		m := p[PageHead : PageHead+MetaSize]
		Native.PutUint32(m, boltMagic)
		Native.PutUint32(m[4:], boltVersion)
		Native.PutUint32(m[8:], uint32(b.pageSize))
		Native.PutUint64(m[16:], root)
		Native.PutUint64(m[32:], freelist)
		Native.PutUint64(m[40:], b.id)
		Native.PutUint64(m[48:], 2+i) // the transaction, whose parity is the page
		sum := fnv.New64a()
		sum.Write(m[:MetaSize-8])
		Native.PutUint64(m[56:], sum.Sum64())
	}
	return pages
}
