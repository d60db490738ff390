package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"

	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/btree"
)

// Options configure the files that a Builder writes.
type Options struct {
	// PageSize is in bytes, a power of two. Defaults to DefaultPageSize.
	PageSize int
	// NoSync leaves out the sync that protects a file from a power loss: for tests and simulations.
	NoSync bool
	// Series says which rows the file notes the numbers of.
	Series storage.Series
}

// Builder writes one run file. It belongs to one goroutine.
type Builder struct {
	o      Options
	file   *os.File
	path   string
	pages  *btree.Builder
	hashes []uint64   // of the keys that were added last
	full   [][]uint64 // of those before, hashesAtOnce each: a slice of all would be copied again and again
	info   Info
	last   []byte

	numbers storage.Numbers
}

// Create begins a file. It replaces what has the name.
func Create(path string, id Identity, o Options) (*Builder, error) {
	if o.PageSize == 0 {
		o.PageSize = DefaultPageSize
	}
	f, err := safefile.Create(path)
	if err != nil {
		return nil, err
	}
	b := &Builder{o: o, file: f, path: path, info: Info{Identity: id}, numbers: storage.NoNumbers}
	b.pages = btree.NewBuilder(f, o.PageSize)
	b.pages.Prefix = prefixBytes
	return b, nil
}

// Add adds a row as it is stored: eight bytes of time, then the value. Keys come in ascending order;
// one that does not is an error.
func (b *Builder) Add(key, stored []byte) error {
	b.info.Rows++
	return b.add(key, stored)
}

// AddDeleted adds a tombstone, which hides rows of the key in older runs.
func (b *Builder) AddDeleted(key []byte) error {
	b.info.Tombstones++
	return b.add(key, tombstoneBytes)
}

const hashesAtOnce = 8 << 10

var errOrder = errors.New("keys out of order")

func (b *Builder) add(key, stored []byte) error {
	switch {
	case b.Entries() == 0:
		b.info.Smallest = append([]byte{}, key...)
	case !btree.Less(b.last, key):
		return fmt.Errorf("%w: %s behind %s", errOrder, quote.Key(key), quote.Key(b.last))
	}
	b.last = append(b.last[:0], key...)
	if len(b.hashes) == hashesAtOnce {
		b.full, b.hashes = append(b.full, b.hashes), make([]uint64, 0, hashesAtOnce)
	}
	b.hashes = append(b.hashes, Hash(key))
	if prefix := b.o.Series.Prefix(key); prefix != nil {
		b.numbers.Add(key, len(prefix))
	}
	return b.pages.Add(key, stored)
}

// Size returns about how many bytes the file has so far.
func (b *Builder) Size() int64 { return b.pages.Size() + int64(b.Entries()*filterBits/8) }

// Entries returns the number of rows and tombstones so far.
func (b *Builder) Entries() int { return len(b.full)*hashesAtOnce + len(b.hashes) }

// Finish writes the rest, syncs and closes the file. The caller has to sync the directory. When it
// fails, the file is removed.
func (b *Builder) Finish() (Info, error) {
	err := b.finish()
	if err == nil && !b.o.NoSync {
		err = b.file.Sync()
	}
	if err != nil {
		return Info{}, errors.Join(err, b.Abort())
	}
	if err := b.file.Close(); err != nil {
		return Info{}, errors.Join(err, os.Remove(b.path))
	}
	return b.info, nil
}

func (b *Builder) finish() error {
	if err := b.pages.EndBucket(rowsBucket); err != nil {
		return err
	}
	metas, err := b.pages.Finish()
	if err != nil {
		return err
	}
	// Over the empty pages that the file begins with. WriteAt does not move the offset of the file:
	// the filter is written behind the pages.
	if _, err := b.file.WriteAt(metas, 0); err != nil {
		return err
	}
	if b.Entries() > 0 {
		b.info.Largest = append([]byte{}, b.last...)
	}
	t := tail{pageSize: uint32(b.o.PageSize), pages: b.pages.Pages(), filterBlocks: blocksFor(b.Entries()), info: b.info,
		series: b.o.Series, numbers: b.numbers}
	filter := b.filter(&t)
	// The filter has checksums as pages have: a bit that changed in it would hide a row.
	sums := b.pages.Sums
	for page := range slices.Chunk(filter, b.o.PageSize) {
		sums = append(sums, crc32.Checksum(page, btree.Castagnoli))
	}
	end := make([]byte, 0, len(sums)*4+tailFixed+seriesSize+trailerSize+256)
	for _, sum := range sums {
		end = binary.BigEndian.AppendUint32(end, sum)
	}
	// The table of checksums begins behind all pages, one checksum for each of them.
	end = appendTail(end, &t, int64(len(sums))*int64(b.o.PageSize))
	b.info = t.info
	if _, err := b.file.Write(filter); err != nil {
		return err
	}
	_, err = b.file.Write(end)
	return err
}

// filter returns the filter's pages. Their number is known only at the end: it depends on that of the
// keys, whose hashes are 8 bytes each until then.
func (b *Builder) filter(t *tail) []byte {
	t.filterPages = uint32((int(t.filterBlocks)*blockSize + b.o.PageSize - 1) / b.o.PageSize)
	filter := make([]byte, int(t.filterPages)*b.o.PageSize)
	for _, hashes := range append(b.full, b.hashes) {
		for _, h := range hashes {
			at := blockOf(h, t.filterBlocks) * blockSize
			setBits(filter[at:at+blockSize], h)
		}
	}
	return filter
}

// writeOut begins to write what was added, so that less is left for Finish.
func (b *Builder) writeOut() {
	if !b.o.NoSync {
		writeOut(b.file)
	}
}

// Abort closes and removes the file.
func (b *Builder) Abort() error { return errors.Join(b.file.Close(), os.Remove(b.path)) }
