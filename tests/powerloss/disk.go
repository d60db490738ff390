// Package powerloss makes, for tests, the files that a power loss may leave. It traces the system
// calls of a process (Linux on amd64), and writes the directories that a power loss after any of
// them may leave.
//
// The disk promises no more than POSIX does. Data written to a file is safe once the file was
// synced; a new name, a rename and a removal, once the directory was synced. Until then any part of
// the writes may be there, torn at any sector, and each name of a directory may be what it was after
// any of the changes to it, whatever became of those to other names: a renamed file may have both
// names or none. The idea to derive the states that a file system permits from a trace of calls is that of
// ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
package powerloss

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Kind is the kind of a step.
type Kind uint8

const (
	Write    Kind = iota // Data was written to File at Offset
	Truncate             // File was made Offset bytes long
	Sync                 // File was synced: what was written before is safe
	SyncDir              // the directory Path was synced: its changes so far are safe
	Link                 // Path became the name of File, of a directory when File is negative
	Unlink               // Path is no name any more
	Rename               // Path became To
	Output               // Data was written to the standard output
)

// An Op is one step of a trace. Files have numbers, since names change.
type Op struct {
	Kind   Kind
	File   int
	Path   string // below the root of the trace
	To     string
	Offset int64
	Data   []byte
}

// String describes the step.
func (o Op) String() string {
	switch o.Kind {
	case Write:
		return fmt.Sprintf("write %d bytes at %d of file %d", len(o.Data), o.Offset, o.File)
	case Truncate:
		return fmt.Sprintf("truncate file %d to %d", o.File, o.Offset)
	case Sync:
		return fmt.Sprintf("sync file %d", o.File)
	case SyncDir:
		return fmt.Sprintf("sync directory %q", o.Path)
	case Link:
		return fmt.Sprintf("make %q, file %d", o.Path, o.File)
	case Unlink:
		return fmt.Sprintf("remove %q", o.Path)
	case Rename:
		return fmt.Sprintf("rename %q to %q", o.Path, o.To)
	default:
		return fmt.Sprintf("say %q", o.Data)
	}
}

// A Disk is the state of a disk after some steps of a trace: what is safe, and what is not yet. The
// zero Disk is an empty directory.
type Disk struct {
	files map[int]*file
	dirs  map[string]*dir // by path; "." is the root
}

type file struct {
	safe    []byte
	pending []Op // writes and truncations
}

type dir struct {
	safe    map[string]int // names to files, negative: a directory
	pending []Op           // links, removals and renames
}

// Apply applies the next step of the trace.
func (d *Disk) Apply(o Op) {
	switch o.Kind {
	case Write, Truncate:
		f := d.file(o.File)
		f.pending = append(f.pending, o)
	case Sync:
		f := d.file(o.File)
		for _, p := range f.pending {
			f.safe = afterWrite(f.safe, p)
		}
		f.pending = nil
	case Link, Unlink, Rename:
		// A rename is one step of the directory that it ends in. A trace has none from one directory to
		// another.
		at := d.dir(filepath.Dir(o.Path))
		at.pending = append(at.pending, o)
	case SyncDir:
		at := d.dir(o.Path)
		for _, p := range at.pending {
			applyToNames(at.safe, p)
		}
		at.pending = nil
	case Output: // nothing that a disk would know of
	}
}

func (d *Disk) file(n int) *file {
	if d.files == nil {
		d.files = map[int]*file{}
	}
	if d.files[n] == nil {
		d.files[n] = &file{}
	}
	return d.files[n]
}

func (d *Disk) dir(path string) *dir {
	if d.dirs == nil {
		d.dirs = map[string]*dir{}
	}
	if d.dirs[path] == nil {
		d.dirs[path] = &dir{safe: map[string]int{}}
	}
	return d.dirs[path]
}

// applyToNames makes a step of a directory in names.
func applyToNames(names map[string]int, o Op) {
	switch name := filepath.Base(o.Path); o.Kind {
	case Link:
		names[name] = o.File
	case Unlink:
		delete(names, name)
	case Rename:
		names[filepath.Base(o.To)] = names[name]
		delete(names, name)
	}
}

// afterWrite returns b after a write or a truncation.
func afterWrite(b []byte, o Op) []byte {
	b = slices.Clone(b)
	if o.Kind == Truncate {
		if o.Offset <= int64(len(b)) {
			return b[:o.Offset]
		}
		return append(b, make([]byte, o.Offset-int64(len(b)))...)
	}
	if end := o.Offset + int64(len(o.Data)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[o.Offset:], o.Data)
	return b
}

// sector is what a disk writes whole or not at all.
const sector = 512

// PowerOff writes what a power loss now may leave to root, an empty directory. rnd draws which of
// the steps that are not safe reached the disk.
func (d *Disk) PowerOff(root string, rnd *rand.Rand) error {
	// Nothing, all, or a part. Both ends are drawn often, since each is what one kind of disk always
	// does.
	share := []float64{0, 1, rnd.Float64(), rnd.Float64()}[rnd.IntN(4)]
	return d.powerOff(root, ".", share, rnd)
}

func (d *Disk) powerOff(root, path string, share float64, rnd *rand.Rand) error {
	if err := os.MkdirAll(filepath.Join(root, path), 0o700); err != nil {
		return err
	}
	at := d.dir(path)
	names := at.partlyChanged(share, rnd)
	for _, name := range slices.Sorted(keys(names)) {
		below := filepath.Join(path, name)
		if names[name] < 0 {
			if err := d.powerOff(root, below, share, rnd); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(filepath.Join(root, below), d.file(names[name]).partlyWritten(share, rnd), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// partlyChanged returns the names of the directory with a part of what is not safe. File systems that
// journal names apply their changes in order; others may write the blocks of a directory in any order. So
// each name is drawn by itself from what it was after each of the changes.
func (d *dir) partlyChanged(share float64, rnd *rand.Rand) map[string]int {
	after := []map[string]int{maps.Clone(d.safe)}
	for _, o := range d.pending {
		next := maps.Clone(after[len(after)-1])
		applyToNames(next, o)
		after = append(after, next)
	}
	all := map[string]int{}
	for _, names := range after {
		maps.Copy(all, names)
	}
	result := map[string]int{}
	for _, name := range slices.Sorted(keys(all)) {
		n := len(d.pending)
		switch {
		case share == 0:
			n = 0
		case share < 1: // the ends often: a name that is new beside one that is old is what goes wrong most
			n = []int{0, n, rnd.IntN(n + 1)}[rnd.IntN(3)]
		}
		if file, ok := after[n][name]; ok {
			result[name] = file
		}
	}
	return result
}

func keys(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// partlyWritten returns the file with a part of what is not safe.
func (f *file) partlyWritten(share float64, rnd *rand.Rand) []byte {
	b := bytes.Clone(f.safe)
	for _, o := range f.pending {
		if o.Kind == Truncate {
			if rnd.Float64() < share {
				b = afterWrite(b, o)
			}
			continue
		}
		for from := 0; from < len(o.Data); from += sector {
			if rnd.Float64() < share {
				to := min(from+sector, len(o.Data))
				b = afterWrite(b, Op{Kind: Write, Offset: o.Offset + int64(from), Data: o.Data[from:to]})
			}
		}
	}
	return b
}
