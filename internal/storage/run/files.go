package run

import (
	"bytes"
	"sort"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/btree"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// File is a file of a run. A merge that is not finished has merged the keys up to After already: they
// are not read here any more.
type File struct {
	*Reader
	After []byte // nil: all keys are read
}

// has reports whether the file, which does not end below key, is read for it.
func (f *File) has(digits uint64, key []byte) bool {
	return (f.smallest < digits || f.smallest == digits && bytes.Compare(f.info.Smallest, key) <= 0) &&
		(f.After == nil || bytes.Compare(f.After, key) < 0)
}

// endsBelow reports whether the last key of the file is below key.
func (f *File) endsBelow(digits uint64, key []byte) bool {
	return f.largest < digits || f.largest == digits && bytes.Compare(f.info.Largest, key) < 0
}

// Files are the files of one run: ascending and disjoint ranges of keys, none of them empty.
type Files []File

// For returns the only file that may have key, nil when there is none.
func (fs Files) For(key []byte) *File {
	if i := fs.from(key); i < len(fs) && fs[i].has(btree.Digits(key), key) {
		return &fs[i]
	}
	return nil
}

// from returns the first file that does not end below key.
func (fs Files) from(key []byte) int {
	digits := btree.Digits(key)
	lo, hi := 0, len(fs)
	for lo < hi {
		if m := (lo + hi) / 2; fs[m].endsBelow(digits, key) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// MayHave reports whether the files may have a row that a scan of a series visits.
func (fs Files) MayHave(of storage.Series, scan storage.Range) bool {
	for i := range fs {
		if fs[i].Reader.MayHave(of, scan) {
			return true
		}
	}
	return len(fs) == 0
}

// Bytes returns the length of all files.
func (fs Files) Bytes() (n int64) {
	for i := range fs {
		n += fs[i].info.Length
	}
	return n
}

// Rows returns the number of rows in all files, without tombstones. It counts those that After hides.
func (fs Files) Rows() (n int64) {
	for i := range fs {
		n += fs[i].info.Rows
	}
	return n
}

// Walk walks over a run in the order of a scan. A walk that is used again allocates nothing.
type Walk struct {
	files     Files
	r         storage.Range
	verifying bool
	i         int
	c         Cursor
}

// Start begins a walk at the first row of the files that a scan of r visits. With verifying, each page
// is compared with its checksum, whether that was done before or not.
func (w *Walk) Start(files Files, r storage.Range, verifying bool) {
	w.files, w.r, w.verifying = files, r, verifying
	switch {
	case !r.Backward && r.From == nil:
		w.i = 0
	case !r.Backward:
		w.i = files.from(r.From)
	case r.To == nil:
		w.i = len(files) - 1
	default:
		w.i = sort.Search(len(files), func(i int) bool { return bytes.Compare(files[i].info.Smallest, r.To) > 0 }) - 1
	}
	w.enter()
}

// End ends a walk. It refers to nothing of the files any more; one that was not begun costs nothing.
func (w *Walk) End() {
	if w.files != nil {
		w.Start(nil, storage.Range{}, false)
	}
}

// enter moves to the first row of the current file, or of the files that follow.
func (w *Walk) enter() {
	for ; w.i >= 0 && w.i < len(w.files); w.i += w.direction() {
		f := &w.files[w.i]
		if w.verifying {
			w.c.ResetVerifying(f.Reader)
		} else {
			w.c.Reset(f.Reader)
		}
		if w.first(f); w.c.Err() != nil || w.c.Valid() && w.has() {
			return
		}
	}
	w.c.valid, w.c.err = false, nil
}

func (w *Walk) direction() int {
	if w.r.Backward {
		return -1
	}
	return 1
}

// first moves to the first row of a file.
func (w *Walk) first(f *File) {
	switch {
	case w.r.Backward && w.r.To == nil:
		w.c.Last()
	case w.r.Backward:
		w.c.SeekBack(w.r.To, w.r.ToBefore)
	case f.After != nil && (w.r.From == nil || bytes.Compare(f.After, w.r.From) >= 0):
		w.c.Seek(f.After, true)
	case w.r.From == nil:
		w.c.First()
	default:
		w.c.Seek(w.r.From, w.r.FromAfter)
	}
}

// has reports whether the file is read for the row that the cursor is at.
func (w *Walk) has() bool {
	after := w.files[w.i].After
	return !w.r.Backward || after == nil || bytes.Compare(w.c.Key(), after) > 0
}

// Next moves to the next row.
func (w *Walk) Next() {
	if w.c.Next() && w.has() || w.c.Err() != nil {
		return
	}
	w.i += w.direction()
	w.enter()
}

// Valid reports whether the walk is at a row.
func (w *Walk) Valid() bool { return w.c.valid }

// Key returns the key of the current row.
func (w *Walk) Key() []byte { return w.c.row.Key }

// Row returns the current row, which may be a tombstone.
func (w *Walk) Row() memtable.Row { return w.c.row }

// Err returns why the walk ended early, nil when it did not.
func (w *Walk) Err() error { return w.c.err }

// Fault returns the damage of the file in whose map an address lies at which the process faulted; nil
// when it lies in none.
func (w *Walk) Fault(recovered any, addr uintptr) error {
	for i := range w.files {
		if w.files[i].Maps(addr) {
			return w.files[i].Damage(recovered)
		}
	}
	return nil
}

// Disordered implements Input.
func (w *Walk) Disordered(reason error) error { return w.files[w.i].distrust(reason) }

// whole returns the current file if the walk is at its first row and After hides none of its rows.
func (w *Walk) whole() *Reader {
	f := &w.files[w.i]
	if f.After != nil || !bytes.Equal(f.info.Smallest, w.Key()) {
		return nil
	}
	return f.Reader
}

// skipFile moves to the first row of the next file.
func (w *Walk) skipFile() {
	w.i++
	w.enter()
}
