package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"github.com/millstream-go/millstream/store"
)

const (
	defaultPageSize = 16 << 10
	smallestMap     = 64 << 20
	growBy          = 4 << 20 // files grow in steps, each of which is synced; must be less than any map
	compactFrom     = 8 << 20 // smaller files are not worth it
	lockWait        = 200 * time.Millisecond
)

// A file is a bbolt file and the read transaction through which the store's owner reads it.
//
// Two goroutines use it: the owner reads, the flusher writes and replaces the read transaction after each of its own. The lock
// is a channel, so that waiting for it is seen in a simulation; who holds it waits for nothing but the disk. The owner holds it
// for a read or for a whole scan, so that a read transaction never ends inside one.
//
// Invariants:
//  1. tx is of the newest committed transaction, or of the one before while the owner reads.
//  2. The map never grows under an open read transaction: bbolt would wait for it for ever. MaxSize is the size of the map; when
//     it is reached the file is opened again with twice as much. Where no such hint can be given, exclusive is set, and the read
//     transaction is closed while one writes.
type file struct {
	path      string
	pageSize  int
	noSync    bool
	exclusive bool
	leastMap  int64

	lock   chan struct{}
	db     *bbolt.DB // nil: there is no file yet
	tx     *bbolt.Tx
	rows   *bbolt.Bucket
	tree   tree // of rows
	mapped int
	seek   []byte // the owner's scratch
}

func newFile(o Options) *file {
	f := &file{path: o.Path, pageSize: o.PageSize, noSync: o.NoSync, lock: make(chan struct{}, 1)}
	if f.pageSize == 0 {
		f.pageSize = defaultPageSize
	}
	if f.leastMap = o.leastMap; f.leastMap == 0 {
		f.leastMap = smallestMap
	}
	// On Windows bbolt makes the file as large as the map; on 32 bits there is no room for maps.
	f.exclusive = o.exclusive || runtime.GOOS == "windows" || strconv.IntSize == 32
	return f
}

// mapFor returns the map for a file of n bytes: one of those sizes that bbolt makes, so that MaxSize is exactly it.
func (f *file) mapFor(n int64) int {
	want := max(f.leastMap, 2*n)
	size := f.leastMap
	for size < want && size < 1<<30 {
		size *= 2
	}
	if size < want {
		size = (want + 1<<30 - 1) >> 30 << 30
	}
	return int(size)
}

// open opens the file, or makes it. The caller holds the lock.
func (f *file) open(mapSize int) error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	o := &bbolt.Options{
		Timeout: lockWait, PageSize: f.pageSize, NoSync: f.noSync, FreelistType: bbolt.FreelistMapType,
	}
	if !f.exclusive {
		o.InitialMmapSize, o.MaxSize = mapSize, mapSize
	}
	db, err := bbolt.Open(f.path, 0o600, o)
	if err != nil {
		return err
	}
	db.AllocSize = int(min(growBy, f.leastMap/16))
	f.db, f.mapped = db, mapSize
	return f.renew()
}

// renew replaces the read transaction by one of the newest state. The caller holds the lock.
func (f *file) renew() error {
	f.endRead()
	tx, err := f.db.Begin(false)
	if err != nil {
		return err
	}
	f.tx = tx
	if f.rows = tx.Bucket(rowsBucket); f.rows != nil {
		f.tree = treeOf(f.db, tx, f.rows)
	}
	return nil
}

func (f *file) endRead() {
	if f.tx != nil {
		_ = f.tx.Rollback() // it errs only when it has ended already
	}
	f.tx, f.rows, f.tree = nil, nil, tree{}
}

// close closes the file. The caller holds the lock.
func (f *file) close() error {
	f.endRead()
	if f.db == nil {
		return nil
	}
	err := f.db.Close()
	f.db = nil
	return err
}

// grow opens the file again with a map twice as large. The caller holds the lock.
func (f *file) grow() error {
	next := f.mapFor(int64(f.mapped))
	if err := f.close(); err != nil {
		return err
	}
	return f.open(next)
}

// errAway is returned by reads when the file could not be opened again to make it larger; the flusher goes on trying.
var errAway = errors.New("store: the file is not open")

// get looks a key up in the file. The bytes live until the lock is released.
func (f *file) get(key []byte) (stored []byte, err error) {
	if f.db == nil {
		return nil, errAway
	}
	if f.rows == nil {
		return nil, nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = f.damaged(r)
		}
	}()
	f.seek = appendKey(f.seek[:0], key)
	if f.tree.data == nil {
		return f.rows.Get(f.seek), nil
	}
	return f.tree.find(f.seek), nil
}

// damaged turns what was recovered from a panic of bbolt, over a page that is not what it should be, into an error, and marks the file
// so that it is moved aside at the next start. (Functions that read recover in a closure of their own: a pointer to their error
// would be an allocation each.)
func (f *file) damaged(r any) error {
	if e, ok := r.(error); ok && isDeath(e) {
		panic(r)
	}
	err := fmt.Errorf("%q: %w: %v", f.path, errCorrupt, r)
	if e := mark(f.path); e != nil {
		err = errors.Join(err, e)
	}
	return err
}

// version checks the version of the file's content; a file without one is new.
func (f *file) version() error {
	meta := f.tx.Bucket(metaBucket)
	if meta == nil {
		return nil
	}
	if v := meta.Get(versionKey); len(v) != 1 || v[0] != fileVersion {
		return fmt.Errorf("%q: %w: %v, known is %d", f.path, ErrVersion, v, fileVersion)
	}
	return nil
}

// checkpoint returns the checkpoint in the file.
func (f *file) checkpoint() (c store.Checkpoint, ok bool, err error) {
	meta := f.tx.Bucket(metaBucket)
	if meta == nil {
		return c, false, nil
	}
	b := meta.Get(checkpointKey)
	if b == nil {
		return c, false, nil
	}
	c, err = decodeCheckpoint(b)
	return c, err == nil, err
}
