package segmented

import (
	"errors"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/internal/storage"
)

// Partitions is a store of bytes that shows several partitions of one store, merged by local key.
// Queries of an App read through it.
type Partitions interface {
	storage.Bytes
	// Observed returns the observed time of the partition that has a local key; for nil, the greatest
	// of all partitions. It is -1 when there is none.
	Observed(local []byte) (int64, error)
	// PartitionOf returns the partition that has a user's key, or would have it, to write to. It fails
	// where nothing may be written.
	PartitionOf(key []byte) (*Store, error)
}

// Handle returns what operators and references see of a store. rows is one partition, as Wrap
// returned it, or Partitions. now returns the time that rows of plain stores are written with.
func Handle(s *graph.Store, b storage.Bytes, now func() int64) (storage.Handle, error) {
	if wrapped, ok := b.(*headerEngine); ok {
		b = wrapped.Engine
	}
	h, err := handle(s, b, now)
	if err == nil && s.KeepHeaders {
		h = withHeaders(h)
	}
	return h, err
}

func handle(graphStore *graph.Store, bytes storage.Bytes, now func() int64) (storage.Handle, error) {
	opened := storage.Handle{Time: now, Plain: graphStore.Kind == graph.Plain}
	if !IsSegmented(graphStore.Kind) {
		opened.Bytes = bytes
		return opened, nil
	}
	session := graphStore.Kind == graph.Session
	v := view{
		rows: bytes, session: session, timeIndex: graphStore.ByTime, duplicates: graphStore.Duplicates,
		shape: shape{session: session, interval: SegmentInterval(graphStore).Milliseconds()},
		size:  graphStore.Size.Milliseconds(), retention: graphStore.Retention.Milliseconds(),
	}
	switch source := bytes.(type) {
	case *Store:
		v.partition = source
	case Partitions:
		v.partitions = source
	case storage.Engine: // not wrapped yet
		partition, err := newStore(graphStore, source)
		if err != nil {
			return opened, err
		}
		v.partition, v.rows = partition, partition
	default:
		return opened, fmt.Errorf("store %q: a %T is not a partition of it", graphStore.Name, bytes)
	}
	switch graphStore.Kind {
	case graph.Window:
		opened.Windows = &windows{v}
	case graph.Session:
		opened.Sessions = &sessions{v}
	default:
		opened.Versions = &versions{view: v}
	}
	return opened, nil
}

// view is a window, session or versioned store of one partition or of several.
type view struct {
	rows       storage.Bytes
	partition  *Store     // nil when there are several
	partitions Partitions // nil when there is one
	session    bool
	timeIndex  bool
	duplicates bool
	shape      shape
	size       int64
	retention  int64

	key, value []byte  // scratch of calls that visit nothing
	idleScans  []*scan // not in use
}

// partitionOf returns where key is written.
func (v *view) partitionOf(key []byte) (*Store, error) {
	if key == nil {
		return nil, storage.ErrNilKey
	}
	if v.partition != nil {
		return v.partition, nil
	}
	return v.partitions.PartitionOf(key)
}

// readRange returns the times within [from, to] that rows may have which reads see. With several
// partitions each leaves out what has expired in it (Store.Scan).
func (v *view) readRange(from, to int64) (int64, int64) {
	if v.partition == nil {
		return from, to
	}
	return max(from, v.partition.readTime()-v.retention+1), min(to, v.partition.observedTime)
}

// scanRange is readRange for scans by time, which see rows until they expire by the expiry time.
func (v *view) scanRange(from, to int64) (int64, int64) {
	if v.partition == nil {
		return from, to
	}
	return max(from, v.partition.expiryTime()-v.retention+1), min(to, v.partition.observedTime)
}

// hiddenFromReads reports whether a row of time t has expired for reads though scans by time may
// still see it.
func (v *view) hiddenFromReads(t int64) bool {
	return v.timeIndex && v.partition != nil && v.partition.hiddenFromReads(t)
}

// ObservedTime implements storage.WindowBytes and others.
func (v *view) ObservedTime() int64 {
	if v.partition != nil {
		return v.partition.readTime()
	}
	t, err := v.partitions.Observed(nil)
	if err != nil {
		return -1
	}
	return t
}

// Observe implements storage.WindowBytes and storage.SessionBytes.
func (v *view) Observe(time int64) error {
	if v.partition == nil {
		return errSeveralPartitions
	}
	return v.partition.Observe(time)
}

var errSeveralPartitions = errors.New("store: the observed time is that of one partition, and this view has several")

// windowEnd returns the end of a window.
func (v *view) windowEnd(start int64) int64 {
	// Windows without a limit have no end.
	if v.size >= spec.Forever.Milliseconds() || start > math.MaxInt64-v.size {
		return math.MaxInt64
	}
	return start + v.size
}

// entry returns a row as operators see it.
func (v *view) entry(r row, e storage.Entry) storage.WindowEntry {
	if v.session {
		return storage.WindowEntry{Key: r.key, Start: r.start, End: r.end, Value: e.Value, Time: r.end}
	}
	return storage.WindowEntry{Key: r.key, Start: r.start, End: v.windowEnd(r.start), Value: e.Value, Time: e.Time}
}
