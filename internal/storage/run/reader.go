package run

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/btree"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// Reader reads a run file through a map. Once it has found the file damaged it returns that error for
// ever. Safe from any goroutine, but for Close.
type Reader struct {
	path     string
	info     Info
	data     []byte
	pageSize uint64
	rows     btree.Tree
	sums     *btree.Sums
	table    []byte
	pages    uint64 // of bbolt: the filter begins behind them
	blocks   uint32
	leaves   atomic.Pointer[btree.Leaves] // nil until something is looked up
	smallest uint64                       // digits of the first key
	largest  uint64                       // and of the last
	series   storage.Series
	numbers  storage.Numbers
	damage   atomic.Pointer[error]
}

// Open opens a file, which must be the one that want describes: an older or newer file of the same
// name is damage as much as a changed byte. Errors of a file that cannot be right wrap
// storage.ErrDamaged. The length, the table of checksums and the pages that lead to the rows are
// checked here, all other pages when they are touched.
func Open(path string, want Info) (r *Reader, err error) {
	f, err := safefile.OpenReadOnly(path)
	if err != nil {
		return nil, err
	}
	// The map stays when the file is closed, and nothing was written to it.
	defer func() { _ = f.Close() }()
	stat, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if stat.Size() != want.Length || want.Length <= 0 {
		return nil, fmt.Errorf("%q: %w: it has %d bytes, and %d were written", path, errDamaged, stat.Size(), want.Length)
	}
	data, err := mapFile(f, int(stat.Size()))
	if err != nil {
		return nil, fmt.Errorf("map %q: %w", path, err)
	}
	r = &Reader{path: path, data: data}
	if err := r.open(want); err != nil {
		return nil, errors.Join(err, unmapFile(data))
	}
	return r, nil
}

func (r *Reader) open(want Info) (err error) {
	fault := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(fault)
		if p := recover(); p != nil {
			err = r.Damage(p)
		}
	}()
	t, table, err := readTail(r.data)
	if err != nil {
		return r.distrust(err)
	}
	if t.info.Identity != want.Identity || t.info.Sum != want.Sum {
		return r.distrust(fmt.Errorf("it is file %d of store %q partition %d with the sum %#x; file %d of store %q "+
			"partition %d with the sum %#x was written here",
			t.info.Sequence, t.info.Store, t.info.Partition, t.info.Sum, want.Sequence, want.Store, want.Partition, want.Sum))
	}
	// Before tree reads the first page: after a fault there, Damage computes the page from the page
	// size.
	r.series, r.numbers = t.series, t.numbers
	r.info, r.pageSize, r.pages, r.blocks = t.info, uint64(t.pageSize), t.pages, t.filterBlocks
	// A copy, 4 bytes for each page. In the map it would change with the pages when somebody writes
	// another run file over this one, and say that they are right.
	r.table = bytes.Clone(table)
	r.sums = btree.NewSums(r.table)
	adviseRandom(r.data)
	r.sums.Before = func(from, to uint64) { adviseSoon(r.aligned(from, to)) }
	r.smallest, r.largest = btree.Digits(t.info.Smallest), btree.Digits(t.info.Largest)
	r.rows = r.tree(r.sums)
	return nil
}

// aligned returns a part of the map, from the system page before it on.
func (r *Reader) aligned(from, to uint64) []byte {
	return r.data[from-from%systemPage : min(to, uint64(len(r.data)))]
}

// verifying returns sums for a walk over the whole file, none of whose pages was compared. The file is
// fetched ahead of the walk, a window at a time. Behind it, the walk's pages are given up before others
// are: a merge reads many pages once, and the file is removed after it.
func (r *Reader) verifying() *btree.Sums {
	sums := btree.NewSums(r.table)
	fetched := uint64(0) // where the last window ends
	sums.Before = func(from, to uint64) {
		// The branches are at the end of the file; from there the walk goes back to its leaves.
		if to <= fetched && from+window >= fetched {
			return
		}
		if from >= window {
			adviseCold(r.aligned(from-min(from, 2*window), from-window))
		}
		fetched = from + window
		adviseSoon(r.aligned(from, fetched))
	}
	return sums
}

// window is how much of a file is fetched at once for a walk that reads all of it.
const window = 512 << 10

// tree returns the rows, whose pages are compared with sums.
func (r *Reader) tree(sums *btree.Sums) btree.Tree {
	sums.Check(r.data, r.pageSize, 0, 2)
	root := btree.Buckets(r.data[:r.pages*r.pageSize], r.pageSize, lastTransaction)
	root.Sums = sums
	rows, ok := root.Bucket(rowsBucket)
	if !ok {
		panic("it has no rows")
	}
	rows.Prefix = len(prefixBytes)
	rows.InLeaf = int((uint64(r.info.Rows+r.info.Tombstones) + r.pages/2) / r.pages)
	return rows
}

// lastTransaction is the number that a Builder of package btree gives to the newer meta page.
const lastTransaction = 3

// Close unmaps the file. No bytes that the reader returned may be used any more.
func (r *Reader) Close() error {
	data := r.data
	r.data, r.rows, r.table = nil, btree.Tree{}, nil
	r.leaves.Store(nil)
	if data == nil {
		return nil
	}
	return unmapFile(data)
}

// Info returns what is known of the file.
func (r *Reader) Info() *Info { return &r.info }

// Series returns which rows the file notes the numbers of.
func (r *Reader) Series() storage.Series { return r.series }

// MayHave reports whether the file may have a row that a scan of a series visits.
func (r *Reader) MayHave(of storage.Series, scan storage.Range) bool {
	return of.Tail == 0 || r.series != of || r.numbers.MayHave(scan)
}

// Path returns the file's path.
func (r *Reader) Path() string { return r.path }

// SmallestKey returns the first key, nil when there is none.
func (r *Reader) SmallestKey() []byte { return r.info.Smallest }

// LargestKey returns the last key, nil when there is none.
func (r *Reader) LargestKey() []byte { return r.info.Largest }

// Rows returns the number of rows, without tombstones.
func (r *Reader) Rows() int64 { return r.info.Rows }

// Bytes returns the length of the file.
func (r *Reader) Bytes() int64 { return r.info.Length }

// FilterBytes returns the length of the filter.
func (r *Reader) FilterBytes() int64 { return int64(r.blocks) * blockSize }

// Compared returns how many pages were compared with their checksums by others than merges.
func (r *Reader) Compared() int64 { return r.sums.Compared() }

// Get appends the row of key, eight bytes of time and the value, to buf. The state is Absent when the
// file has neither row nor tombstone of the key.
func (r *Reader) Get(buf, key []byte) (row []byte, state memtable.State, err error) {
	if err := r.Damaged(); err != nil {
		return buf, memtable.Absent, err
	}
	fault := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(fault)
		if p := recover(); p != nil {
			row, state, err = buf, memtable.Absent, r.Damage(p)
		}
	}()
	row, state = r.Find(buf, key, Hash(key))
	return row, state, nil
}

// Find is Get for callers that look in several files: they compute the hash once, set
// debug.SetPanicOnFault, and pass what they recover to Damage.
func (r *Reader) Find(buf, key []byte, hash uint64) ([]byte, memtable.State) {
	if !r.mayHave(hash) {
		return buf, memtable.Absent
	}
	return appendStored(buf, r.leafIndex().Find(key))
}

// AddTo adds the look-up of a key to a group, if the file may have it. may reports whether it may, added
// whether the group has it. It has what Find asks of its callers.
func (r *Reader) AddTo(g *btree.Group, key []byte, hash uint64) (may, added bool) {
	if !r.mayHave(hash) {
		return false, false
	}
	return true, g.Add(r.leafIndex(), key)
}

// At is Find of a row that a group has found at a place. The state is Absent when it is not there.
func (r *Reader) At(buf, key []byte, at btree.RowAt) ([]byte, memtable.State) {
	return appendStored(buf, r.leafIndex().At(at, key))
}

// leafIndex returns the index of the leaves. Two goroutines may make it at once, with the same result.
func (r *Reader) leafIndex() *btree.Leaves {
	leaves := r.leaves.Load()
	if leaves == nil {
		leaves = btree.NewLeaves(r.rows, r.info.Smallest, r.info.Largest)
		r.leaves.Store(leaves)
	}
	return leaves
}

// appendStored appends what a file has of a key; nil: nothing.
func appendStored(buf, stored []byte) ([]byte, memtable.State) {
	if stored == nil {
		return buf, memtable.Absent
	}
	state := stateOf(stored)
	if state == memtable.Live {
		buf = append(buf, stored...) // here, where a fault is recovered: to copy is to read
	}
	return buf, state
}

// Touch reads a byte of what mayHave reads. A caller that looks in several files touches all of them
// first: the processor fetches their memory at once then, and not one after the other.
//
//go:noinline
func (r *Reader) Touch(hash uint64) byte {
	return r.data[r.filterAt(hash)]
}

func (r *Reader) filterAt(hash uint64) uint64 {
	return r.pages*r.pageSize + blockOf(hash, r.blocks)*blockSize
}

// mayHave asks the filter.
func (r *Reader) mayHave(hash uint64) bool {
	at := r.filterAt(hash)
	r.sums.Check(r.data, r.pageSize, at/r.pageSize, 1)
	return hasBits(r.data[at:at+blockSize], hash)
}

// Damaged returns why the file cannot be trusted, nil while nothing is known.
func (r *Reader) Damaged() error {
	if err := r.damage.Load(); err != nil {
		return *err
	}
	return nil
}

// Damage turns what was recovered while the file was read into its damage. A panic that is not about
// this file, like a fault of memory that is not its map, goes on.
func (r *Reader) Damage(recovered any) error {
	err, isError := recovered.(error)
	at, isFault := recovered.(interface{ Addr() uintptr })
	switch {
	case isFault && r.Maps(at.Addr()):
		byteAt := at.Addr() - uintptr(unsafe.Pointer(unsafe.SliceData(r.data)))
		page := byteAt / uintptr(max(1, r.pageSize))
		return r.distrust(fmt.Errorf("a fault while byte %d was read, in page %d: the file ends before it, or its disk "+
			"failed", byteAt, page))
	case isFault:
		panic(recovered)
	case isError && !isRuntimeError(err):
		panic(recovered)
	}
	return r.distrust(fmt.Errorf("%v", recovered))
}

// isRuntimeError reports whether err is that of an index or a slice out of bounds.
func isRuntimeError(err error) bool {
	var r interface {
		error
		RuntimeError()
	}
	return errors.As(err, &r)
}

func (r *Reader) distrust(reason error) error {
	err := fmt.Errorf("%q: %w: %w", r.path, errDamaged, reason)
	if !r.damage.CompareAndSwap(nil, &err) {
		return r.Damaged()
	}
	return err
}

// Maps reports whether an address lies in the file's map.
func (r *Reader) Maps(addr uintptr) bool {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(r.data)))
	return addr >= from && addr-from < uintptr(len(r.data))
}

// Verify compares all pages with their checksums, once more.
func (r *Reader) Verify() (err error) {
	if err := r.Damaged(); err != nil {
		return err
	}
	fault := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(fault)
		if p := recover(); p != nil {
			err = r.Damage(p)
		}
	}()
	r.verifying().Check(r.data, r.pageSize, 0, uint64(len(r.table)/4))
	return nil
}
