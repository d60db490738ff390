package lsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/btree"
	"github.com/millstream-go/millstream/internal/storage/run"
)

// root is what the root file of a store partition says. The store is what it lists: a run file that it
// does not list is removed when the store is opened.
type root struct {
	checkpoint storage.Checkpoint
	has        bool        // checkpoint is set
	runs       []listedRun // the newest first
}

// A listedRun is a run as the root lists it.
type listedRun struct {
	id    uint64 // runs are numbered in the order in which they were begun
	into  uint64 // the run into which this one is being merged; 0: none
	files []listedFile
}

// A listedFile is a file of a run. After is as in run.File.
type listedFile struct {
	info  run.Info
	after []byte
}

const (
	rootVersion = 1
	rootMagic   = "msroot\r\n"
	rootName    = "root"
	newRootName = "root.new"
)

func rootPath(o *Options) string { return filepath.Join(o.Path, rootName) }

// appendRoot appends the encoded root to b; docs/format/store.md has the bytes.
func appendRoot(b []byte, o *Options, r *root) []byte {
	start := len(b)
	number := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	text := func(s []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = append(append(b, rootMagic...), rootVersion)
	text([]byte(o.Store))
	b = binary.BigEndian.AppendUint32(b, uint32(o.Partition))
	if r.has {
		text(storage.AppendCheckpoint(nil, r.checkpoint))
	} else {
		text(nil)
	}
	number(uint64(len(r.runs)))
	for _, x := range r.runs {
		number(x.id)
		number(x.into)
		number(uint64(len(x.files)))
		for _, f := range x.files {
			for _, n := range []int64{int64(f.info.Sequence), f.info.Rows, f.info.Tombstones, f.info.Length} {
				number(uint64(n))
			}
			b = binary.BigEndian.AppendUint32(b, f.info.Sum)
			text(f.info.Smallest)
			text(f.info.Largest)
			// The flag tells nil, all keys are read, from the empty key, behind which the row of
			// that key is hidden.
			if f.after == nil {
				b = append(b, 0)
			} else {
				b = append(b, 1)
				text(f.after)
			}
		}
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], btree.Castagnoli))
}

var errRoot = fmt.Errorf("%w: the root cannot be right", storage.ErrDamaged)

// A rootReader decodes a root whose checksum was right. Once it has failed it returns zeros.
type rootReader struct {
	b      []byte
	failed bool
}

func (r *rootReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *rootReader) u8() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *rootReader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *rootReader) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text returns a copy of bytes with their length in front; never nil.
func (r *rootReader) text() []byte { return append([]byte{}, r.bytes(uint64(r.u32()))...) }

// decodeRoot is the inverse of appendRoot.
func decodeRoot(b []byte, o *Options) (r root, err error) {
	if len(b) < len(rootMagic)+1+4 || string(b[:len(rootMagic)]) != rootMagic {
		return r, fmt.Errorf("%w: %d bytes that do not begin as it does", errRoot, len(b))
	}
	// The checksum comes before the version. A changed byte there would otherwise be an unknown
	// version, which Open refuses, instead of damage, which is restored. So each later version has
	// to end with this checksum too.
	body := b[:len(b)-4]
	if got, want := crc32.Checksum(body, btree.Castagnoli), binary.BigEndian.Uint32(b[len(body):]); got != want {
		return r, fmt.Errorf("%w: its checksum is %#x, and %#x was written", errRoot, got, want)
	}
	if v := b[len(rootMagic)]; v != rootVersion {
		return r, fmt.Errorf("%w: %d, known is %d", storage.ErrVersion, v, rootVersion)
	}
	in := rootReader{b: body[len(rootMagic)+1:]}
	// A directory that was copied or renamed has a root whose bytes are all right. Its rows are
	// those of another store, and its checkpoint is an offset in another changelog.
	if store, partition := string(in.text()), int32(in.u32()); store != o.Store || partition != o.Partition {
		return r, fmt.Errorf("%w: it is that of store %q partition %d, not of store %q partition %d",
			errRoot, store, partition, o.Store, o.Partition)
	}
	if c := in.text(); len(c) > 0 {
		if r.checkpoint, err = storage.DecodeCheckpoint(c); err != nil {
			return r, err
		}
		r.has = true
	}
	for n := in.u64(); n > 0 && !in.failed; n-- {
		x := listedRun{id: in.u64(), into: in.u64()}
		for n := in.u64(); n > 0 && !in.failed; n-- {
			x.files = append(x.files, in.file(o))
		}
		r.runs = append(r.runs, x)
	}
	// Bytes behind the last run are as wrong as missing ones: this code has not written them.
	if in.failed || len(in.b) > 0 {
		return root{}, fmt.Errorf("%w: it is too short or too long", errRoot)
	}
	return r, nil
}

func (r *rootReader) file(o *Options) (f listedFile) {
	f.info.Store, f.info.Partition = o.Store, o.Partition
	f.info.Sequence = r.u64()
	f.info.Rows, f.info.Tombstones, f.info.Length = int64(r.u64()), int64(r.u64()), int64(r.u64())
	f.info.Sum = r.u32()
	f.info.Smallest, f.info.Largest = r.text(), r.text()
	switch r.u8() {
	case 0:
	case 1:
		f.after = r.text()
	default:
		r.failed = true
	}
	return f
}

// longestRoot is more than a root ever has: with the longest keys, that of a store of half a terabyte.
const longestRoot = 1 << 30

// readRoot reads the root of the store; there is none when it was never flushed.
func readRoot(o *Options) (r root, there bool, err error) {
	b, err := safefile.Read(rootPath(o), longestRoot)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return root{}, false, nil
	case errors.Is(err, safefile.ErrNotRegular), errors.Is(err, safefile.ErrTooLong):
		return root{}, true, fmt.Errorf("%w: %w", errRoot, err)
	case err != nil:
		return root{}, true, err
	}
	r, err = decodeRoot(b, o)
	return r, true, err
}

// ReadCheckpoint returns the checkpoint of a store that may be closed; ok is false when it has no files or no
// checkpoint. Of o it needs Path, Store and Partition.
func ReadCheckpoint(o Options) (c storage.Checkpoint, ok bool, err error) {
	o = o.withDefaults()
	r, _, err := readRoot(&o)
	return r.checkpoint, r.has && err == nil, err
}

// writeRoot replaces the root. renamed reports whether it is in place, which it may be though an error
// is returned: then only a power loss can bring the old one back.
//
// The names of new run files are synced before: else a power loss might leave a root that lists files
// which are not there.
func writeRoot(o *Options, r *root) (renamed bool, err error) {
	path := filepath.Join(o.Path, newRootName)
	if err := syncDir(o); err != nil {
		return false, err
	}
	if err := writeSynced(o, path, appendRoot(nil, o, r)); err != nil {
		return false, errors.Join(err, removeIfThere(path))
	}
	o.Hook.At(crashpoint.RootWritten)
	if err := os.Rename(path, rootPath(o)); err != nil {
		return false, err
	}
	return true, syncDir(o)
}

func writeSynced(o *Options, path string, b []byte) (err error) {
	f, err := safefile.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil || o.NoSync {
		return err
	}
	return f.Sync()
}

func syncDir(o *Options) error {
	if o.NoSync {
		return nil
	}
	return safefile.SyncDir(o.Path)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
