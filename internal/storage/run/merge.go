package run

import (
	"bytes"
	"errors"
	"runtime/debug"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/btree"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// Input is one of the inputs of a Merge, at its first row: a memtable, rows of a database, or a Walk
// over a run. Its bytes do not change before the merge ends.
type Input interface {
	Valid() bool
	Key() []byte
	Row() memtable.Row
	Next()
	Err() error // an input with one is not valid
	// Fault returns the damage of the file in whose map addr lies; nil when it lies in none.
	Fault(recovered any, addr uintptr) error
	// Disordered returns the damage of the file that the current row is in: its key comes behind a
	// greater one.
	Disordered(reason error) error
}

// MergeOptions say what a Merge writes.
type MergeOptions struct {
	// Create begins the next file.
	Create func() (*Builder, error)
	// FileBytes is about how long a file gets. A file has at least one row.
	FileBytes int64
	// Bottom means that no older run has any of the keys: tombstones have nothing to hide and are left
	// out.
	Bottom bool
	// Expired are ranges whose rows are left out.
	Expired []memtable.Expiry
	// Segment returns the segment of a row, nil: there are none. A file that has SegmentBytes ends with its
	// segment, and so does one whose rows expire otherwise than those that follow: never, or in another
	// range.
	Segment      func(key []byte) storage.Segment
	SegmentBytes int64
	// Stopped reports whether the merge should end early. May be nil.
	Stopped func() bool
	// Pace is called when so many bytes more were written, and returns when the merge may go on. May be nil.
	Pace func(bytes int64)
}

// ErrStopped is returned by a merge that was stopped.
var ErrStopped = errors.New("the merge was stopped")

// Merge makes one run of several, a file at a time: of the rows of a key the one of the newest input.
// What Output returned stays right when the merge is never continued: a caller that lists the file, and
// reads the inputs behind After only, has all rows. A merge with inputs that start there goes on where
// this one ended, after a restart too.
type Merge struct {
	o      MergeOptions
	inputs []Input
	heap   []source // the next row is in heap[0]
	last   []byte   // the key that was merged last, in the memory of its input
	after  []byte
	rows   int

	segment storage.Segment // of the row that the file got last
}

// A source is an input and its current key.
type source struct {
	digits uint64 // of the key: most comparisons look no further
	key    []byte
	in     Input
	age    int // 0: the newest
}

// Output is a file of a merge.
type Output struct {
	Info Info
	// Moved is a file of an input that becomes a file of the output as it is; nil: a new file was written.
	Moved *Reader
}

// NewMerge begins a merge of inputs, the newest first.
func NewMerge(inputs []Input, o MergeOptions) (*Merge, error) {
	m := &Merge{o: o, inputs: inputs}
	for age, in := range inputs {
		if err := in.Err(); err != nil {
			return nil, err
		}
		if in.Valid() {
			m.heap = append(m.heap, source{btree.Digits(in.Key()), in.Key(), in, age})
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m, nil
}

// Output writes the next file. At the end ok is false: the remaining rows, if there were any, are left
// out.
func (m *Merge) Output() (out Output, ok bool, err error) {
	var b *Builder
	paced := int64(0) // bytes of the file that Pace was told of
	fault := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(fault)
		if p := recover(); p != nil {
			err = m.fault(p)
		}
		if err == nil {
			m.after = bytes.Clone(m.last)
			return
		}
		if out, ok = (Output{}), false; b != nil {
			err = errors.Join(err, b.Abort())
		}
	}()
	for len(m.heap) > 0 {
		if moved := m.movable(); moved != nil {
			if b != nil {
				break // its rows come before those of the file
			}
			return Output{Info: moved.info, Moved: moved}, true, m.skip()
		}
		next := m.NextSegment()
		if b != nil && m.endsWith(b, next) {
			break
		}
		had := 0
		if b != nil {
			had = b.Entries()
		}
		if b, err = m.row(b); err != nil {
			return Output{}, false, err
		}
		if b != nil && b.Entries() > had { // else the row was left out
			m.segment = next
		}
		if b == nil {
			continue
		}
		size := b.Size()
		if size >= m.o.FileBytes {
			break
		}
		if m.o.Pace != nil && size-paced >= paceBytes {
			b.writeOut()
			m.o.Pace(size - paced)
			paced = size
		}
	}
	if b == nil {
		return Output{}, false, nil
	}
	finishing := b
	b = nil // Finish removes the file when it fails
	info, err := finishing.Finish()
	return Output{Info: info}, err == nil, err
}

// paceBytes is after how many bytes Pace is called.
const paceBytes = 1 << 20

// NextSegment returns the segment of the next row; the zero Segment when there is none.
func (m *Merge) NextSegment() storage.Segment {
	if m.o.Segment == nil || len(m.heap) == 0 {
		return storage.Segment{}
	}
	return m.o.Segment(m.heap[0].key)
}

// endsWith reports whether a file ends before a row of the segment next.
func (m *Merge) endsWith(b *Builder, next storage.Segment) bool {
	return next != m.segment && (next.Class != m.segment.Class || b.Size() >= m.o.SegmentBytes)
}

// After returns the last key that is done with: in a file that was returned, or left out. Inputs have
// nothing to add up to it.
func (m *Merge) After() []byte { return m.after }

// row writes the next row, unless it is left out, and moves all inputs that have its key on.
func (m *Merge) row(b *Builder) (*Builder, error) {
	// Stopped asks a channel, and closing a store waits for the answer: each 4096 rows is rare
	// enough for the one and often enough for the other.
	if m.rows++; m.rows%4096 == 0 && m.o.Stopped != nil && m.o.Stopped() {
		return b, ErrStopped
	}
	row := m.heap[0].in.Row()
	// Before it is known whether the row is wanted: After has to pass rows that are left out too,
	// or a merge that goes on would read them again.
	m.last = row.Key
	if m.wants(row) {
		var err error
		// Not earlier: a merge all of whose rows are left out makes no file.
		if b == nil {
			if b, err = m.o.Create(); err != nil {
				return nil, err
			}
		}
		if row.State == memtable.Live {
			err = b.Add(row.Key, row.Stored)
		} else {
			err = b.AddDeleted(row.Key)
		}
		// The page of the row has changed since it was compared with its checksum: someone else has
		// written the file. All other inputs are behind the greater key.
		if errors.Is(err, errOrder) {
			err = m.heap[0].in.Disordered(err)
		}
		if err != nil {
			return b, err
		}
	}
	// The heap has the newest input of a key first, so the rows that come now are older ones. They
	// are passed even if the newest was left out: otherwise an older row would come back.
	digits := m.heap[0].digits
	for {
		m.heap[0].in.Next()
		if err := m.resettle(); err != nil {
			return b, err
		}
		if len(m.heap) == 0 || m.heap[0].digits != digits || !bytes.Equal(m.heap[0].key, row.Key) {
			return b, nil
		}
	}
}

// wants reports whether a row belongs into the output.
func (m *Merge) wants(row memtable.Row) bool {
	return row.State == memtable.Live && !memtable.Contains(m.o.Expired, row.Key) ||
		row.State == memtable.Deleted && !m.o.Bottom && !memtable.Contains(m.o.Expired, row.Key)
}

// movable returns the file that the next row is the first of, if all its rows come before those of the
// other inputs, and none is to be left out. It is not written again then: rows whose keys ascend with
// time cost nothing. Files much shorter than others are: runs would get many of them.
func (m *Merge) movable() *Reader {
	walk, ok := m.heap[0].in.(*Walk)
	if !ok {
		return nil
	}
	f := walk.whole()
	// At the bottom nothing else removes tombstones: a file that is moved again and again would
	// have them for ever.
	if f == nil || !m.wellCut(f) || m.o.Bottom && f.info.Tombstones > 0 {
		return nil
	}
	for i := range m.heap[1:] {
		// The current key of an input is the smallest that it still has.
		if bytes.Compare(m.heap[1+i].key, f.info.Largest) <= 0 {
			return nil
		}
	}
	for _, x := range m.o.Expired {
		if bytes.Compare(f.info.Smallest, x.To) < 0 && bytes.Compare(f.info.Largest, x.From) >= 0 {
			return nil
		}
	}
	return f
}

// wellCut reports whether a file that is written again would not become part of a better one.
func (m *Merge) wellCut(f *Reader) bool {
	if m.o.Segment == nil {
		return f.info.Length >= m.o.FileBytes/4
	}
	return f.info.Length >= m.o.SegmentBytes && m.o.Segment(f.info.Smallest).Class == m.o.Segment(f.info.Largest).Class
}

// skip passes the whole file that the next row is the first of.
func (m *Merge) skip() error {
	walk := m.heap[0].in.(*Walk)
	m.last = walk.whole().info.Largest
	walk.skipFile()
	return m.resettle()
}

// resettle puts the first source, whose input has moved, in its place.
func (m *Merge) resettle() error {
	s := &m.heap[0]
	if s.in.Valid() {
		s.key = s.in.Key()
		s.digits = btree.Digits(s.key)
	} else if err := s.in.Err(); err != nil {
		return err
	} else {
		n := len(m.heap) - 1
		m.heap[0], m.heap[n] = m.heap[n], source{}
		m.heap = m.heap[:n]
	}
	m.down(0)
	return nil
}

// down moves a source down the heap to its place.
func (m *Merge) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// before reports whether the row of source i comes before that of j: of two rows of a key the newer.
func (m *Merge) before(i, j int) bool {
	a, b := &m.heap[i], &m.heap[j]
	if a.digits != b.digits {
		return a.digits < b.digits
	}
	c := bytes.Compare(a.key, b.key)
	return c < 0 || c == 0 && a.age < b.age
}

// fault turns a fault of an input's map, while a Builder copied from it, into that file's damage. Other
// panics go on.
func (m *Merge) fault(recovered any) error {
	if at, ok := recovered.(interface{ Addr() uintptr }); ok {
		for _, in := range m.inputs {
			if err := in.Fault(recovered, at.Addr()); err != nil {
				return err
			}
		}
	}
	panic(recovered)
}

var (
	_ Input = (*Walk)(nil)
	_ Input = (*Table)(nil)
)
