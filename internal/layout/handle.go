package layout

import (
	"errors"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/windowspec"
	"github.com/millstream-go/millstream/store"
)

// Partitions is a store of bytes that shows several partitions of a store as one, merged by local key.
type Partitions interface {
	store.Bytes
	// Observed returns the observed time of the partition that has a local key, or with nil the greatest of all, -1 when there is none.
	Observed(local []byte) (int64, error)
	// Home returns the partition that has a user's key, or would have it, for writing; an error where nothing is to be written.
	Home(key []byte) (*Log, error)
}

// Handle returns what operators and references see of a store: of one partition, as Wrap returned it, or of Partitions. now is the
// time that rows of plain stores are written with.
func Handle(s *graph.Store, b store.Bytes, now func() int64) (store.Handle, error) {
	if x, ok := b.(*headed); ok {
		b = x.Engine
	}
	h, err := handle(s, b, now)
	if err == nil && s.KeepHeaders {
		h = withHeaders(h)
	}
	return h, err
}

func handle(s *graph.Store, b store.Bytes, now func() int64) (store.Handle, error) {
	h := store.Handle{Time: now, Plain: s.Kind == graph.Plain}
	if !Has(s.Kind) {
		h.Bytes = b
		return h, nil
	}
	v := view{
		rows: b, session: s.Kind == graph.Session, index: s.ByTime, dups: s.Duplicates, size: s.Size.Milliseconds(),
		shape: shape{session: s.Kind == graph.Session, segment: Segment(s).Milliseconds()}, retention: s.Retention.Milliseconds(),
	}
	switch x := b.(type) {
	case *Log:
		v.own = x
	case Partitions:
		v.parts = x
	case store.Engine:
		l, err := newLog(s, x)
		if err != nil {
			return h, err
		}
		v.own, v.rows = l, l
	default:
		return h, fmt.Errorf("store %q: a %T is no partition of it", s.Name, b)
	}
	switch s.Kind {
	case graph.Window:
		h.Windows = &windows{v}
	case graph.Session:
		h.Sessions = &sessions{v}
	default:
		h.Versions = &versions{view: v}
	}
	return h, nil
}

// view is a window, session or versioned store of one partition or several.
type view struct {
	rows      store.Bytes
	own       *Log       // the partition; nil when there are several
	parts     Partitions // several
	session   bool
	index     bool
	dups      bool
	shape     shape
	size      int64
	retention int64

	key, value []byte  // scratch of calls that end before they return
	idle       []*scan // not in use
}

// home returns where key is written.
func (v *view) home(key []byte) (*Log, error) {
	if key == nil {
		return nil, store.ErrNilKey
	}
	if v.own != nil {
		return v.own, nil
	}
	return v.parts.Home(key)
}

// live returns the times within [from, to] that rows may have. With several partitions each leaves out what has expired in it.
func (v *view) live(from, to int64) (int64, int64) {
	if v.own == nil {
		return from, to
	}
	return max(from, v.own.observed-v.retention+1), min(to, v.own.observed)
}

// there returns the times within [from, to] that rows may have for scans by time.
func (v *view) there(from, to int64) (int64, int64) {
	if v.own == nil {
		return from, to
	}
	return max(from, v.own.now()-v.retention+1), min(to, v.own.observed)
}

// unseen is whether a row of that time has expired, though it may be there for scans by time.
func (v *view) unseen(t int64) bool { return v.index && v.own != nil && v.own.expired(t) }

// ObservedTime implements store.WindowBytes and others.
func (v *view) ObservedTime() int64 {
	if v.own != nil {
		return v.own.observed
	}
	t, err := v.parts.Observed(nil)
	if err != nil {
		return -1
	}
	return t
}

// Observe implements store.WindowBytes and store.SessionBytes.
func (v *view) Observe(time int64) error {
	if v.own == nil {
		return errSeveral
	}
	return v.own.Observe(time)
}

var errSeveral = errors.New("store: the observed time is that of a partition, and here are several")

// end returns the end of a window.
func (v *view) end(start int64) int64 {
	if v.size >= windowspec.Forever.Milliseconds() || start > math.MaxInt64-v.size { // unlimited windows have no end
		return math.MaxInt64
	}
	return start + v.size
}

// entry is a row as operators see it.
func (v *view) entry(r row, e store.Entry) store.WindowEntry {
	if v.session {
		return store.WindowEntry{Key: r.key, Start: r.start, End: r.end, Value: e.Value, Time: r.end}
	}
	return store.WindowEntry{Key: r.key, Start: r.start, End: v.end(r.start), Value: e.Value, Time: e.Time}
}
