package segmented

import (
	"iter"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
)

// OpenPartitions is what one call on a store reads: all that it returns is of the same snapshots.
type OpenPartitions interface {
	Partitions
	Close()
}

// ReadHandle returns a handle of which each call, and each scan as a whole, reads what open returns,
// and closes it. So the rows of a call belong together, although a window store makes many reads of
// one. The calls share nothing, and any goroutine may make them, but for LastHeaders, which is about
// the last one. Writes return readOnly.
func ReadHandle(
	s *graph.Store, open func() (OpenPartitions, error), readOnly error, now func() int64,
) storage.Handle {
	c := perCall{store: s, open: open, readOnly: readOnly, now: now}
	h := storage.Handle{Time: now, Plain: s.Kind == graph.Plain}
	switch s.Kind {
	case graph.Window:
		h.Windows = readWindows{c}
	case graph.Session:
		h.Sessions = readSessions{c}
	case graph.Versioned:
		h.Versions = readVersions{c}
	default:
		h.Bytes = readBytes{c}
	}
	if s.KeepHeaders {
		h = withHeaders(h)
	}
	return h
}

// perCall makes a view for each call.
type perCall struct {
	store    *graph.Store
	open     func() (OpenPartitions, error)
	readOnly error
	now      func() int64
}

// call calls f with a view of partitions that stay open meanwhile.
func (c perCall) call(f func(storage.Handle) error) error {
	p, err := c.open()
	if err != nil {
		return err
	}
	defer p.Close()
	h, err := handle(c.store, p, c.now)
	if err != nil {
		return err
	}
	return f(h)
}

// each is a scan of a view.
func each[E any](c perCall, scan func(storage.Handle) iter.Seq2[E, error]) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		err := c.call(func(h storage.Handle) error {
			for e, err := range scan(h) {
				if !yield(e, err) {
					return nil
				}
			}
			return nil
		})
		if err != nil { // of open: the scan's own errors were yielded
			var none E
			yield(none, err)
		}
	}
}

func (c perCall) observedTime() (t int64) {
	t = -1
	_ = c.call(func(h storage.Handle) error {
		t = h.Segmented().(interface{ ObservedTime() int64 }).ObservedTime()
		return nil
	})
	return t
}

// readBytes implements storage.Bytes.
type readBytes struct{ perCall }

// Get implements storage.Bytes.
func (r readBytes) Get(key []byte) (value []byte, time int64, ok bool, err error) {
	err = r.call(func(h storage.Handle) (err error) {
		value, time, ok, err = h.Bytes.Get(key)
		return err
	})
	return value, time, ok, err
}

// Put implements storage.Bytes.
func (r readBytes) Put(_, _ []byte, _ int64) error { return r.readOnly }

// Delete implements storage.Bytes.
func (r readBytes) Delete([]byte, int64) error { return r.readOnly }

// Scan implements storage.Bytes.
func (r readBytes) Scan(in storage.Range) iter.Seq2[storage.Entry, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.Entry, error] { return h.Bytes.Scan(in) })
}

// Len implements storage.Bytes. It counts.
func (r readBytes) Len() (n int64, err error) {
	err = r.call(func(h storage.Handle) (err error) {
		n, err = h.Bytes.Len()
		return err
	})
	return n, err
}

// readWindows implements storage.WindowBytes.
type readWindows struct{ perCall }

// Get implements storage.WindowBytes.
func (r readWindows) Get(key []byte, start int64) (value []byte, time int64, ok bool, err error) {
	err = r.call(func(h storage.Handle) (err error) {
		value, time, ok, err = h.Windows.Get(key, start)
		return err
	})
	return value, time, ok, err
}

// Put implements storage.WindowBytes.
func (r readWindows) Put([]byte, int64, []byte, int64) (bool, error) { return false, r.readOnly }

// Delete implements storage.WindowBytes.
func (r readWindows) Delete([]byte, int64, int64) error { return r.readOnly }

// Fetch implements storage.WindowBytes.
func (r readWindows) Fetch(key []byte, from, to int64, backward bool) iter.Seq2[storage.WindowEntry, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.WindowEntry, error] {
		return h.Windows.Fetch(key, from, to, backward)
	})
}

// Visit implements storage.WindowBytes.
func (r readWindows) Visit(key []byte, from, to int64, f func(storage.WindowEntry, error) bool) {
	r.Fetch(key, from, to, false)(f)
}

// All implements storage.WindowBytes.
func (r readWindows) All(keys storage.Range, from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.WindowEntry, error] {
		return h.Windows.All(keys, from, to)
	})
}

// ByTime implements storage.WindowBytes.
func (r readWindows) ByTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.WindowEntry, error] {
		return h.Windows.ByTime(from, to)
	})
}

// ObservedTime implements storage.WindowBytes.
func (r readWindows) ObservedTime() int64 { return r.observedTime() }

// Observe implements storage.WindowBytes.
func (readWindows) Observe(int64) error { return errSeveralPartitions }

// readSessions implements storage.SessionBytes.
type readSessions struct{ perCall }

// Get implements storage.SessionBytes.
func (r readSessions) Get(key []byte, start, end int64) (value []byte, ok bool, err error) {
	err = r.call(func(h storage.Handle) (err error) {
		value, ok, err = h.Sessions.Get(key, start, end)
		return err
	})
	return value, ok, err
}

// Put implements storage.SessionBytes.
func (r readSessions) Put([]byte, int64, int64, []byte, int64) (bool, error) {
	return false, r.readOnly
}

// Delete implements storage.SessionBytes.
func (r readSessions) Delete([]byte, int64, int64, int64) error { return r.readOnly }

// Find implements storage.SessionBytes.
func (r readSessions) Find(
	key []byte, endFrom, startTo int64, backward bool,
) iter.Seq2[storage.WindowEntry, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.WindowEntry, error] {
		return h.Sessions.Find(key, endFrom, startTo, backward)
	})
}

// All implements storage.SessionBytes.
func (r readSessions) All(keys storage.Range, endFrom, startTo int64) iter.Seq2[storage.WindowEntry, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.WindowEntry, error] {
		return h.Sessions.All(keys, endFrom, startTo)
	})
}

// ByTime implements storage.SessionBytes.
func (r readSessions) ByTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.WindowEntry, error] {
		return h.Sessions.ByTime(from, to)
	})
}

// ObservedTime implements storage.SessionBytes.
func (r readSessions) ObservedTime() int64 { return r.observedTime() }

// Observe implements storage.SessionBytes.
func (readSessions) Observe(int64) error { return errSeveralPartitions }

// readVersions implements storage.VersionedBytes.
type readVersions struct{ perCall }

// Get implements storage.VersionedBytes.
func (r readVersions) Get(key []byte) (v storage.Version, ok bool, err error) {
	err = r.call(func(h storage.Handle) (err error) {
		v, ok, err = h.Versions.Get(key)
		return err
	})
	return v, ok, err
}

// AsOf implements storage.VersionedBytes.
func (r readVersions) AsOf(key []byte, time int64) (v storage.Version, ok bool, err error) {
	err = r.call(func(h storage.Handle) (err error) {
		v, ok, err = h.Versions.AsOf(key, time)
		return err
	})
	return v, ok, err
}

// Put implements storage.VersionedBytes.
func (r readVersions) Put(_, _ []byte, _ int64) (int64, bool, error) { return 0, false, r.readOnly }

// History implements storage.VersionedBytes.
func (r readVersions) History(key []byte, from, to int64, backward bool) iter.Seq2[storage.Version, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.Version, error] {
		return h.Versions.History(key, from, to, backward)
	})
}

// Latest implements storage.VersionedBytes.
func (r readVersions) Latest() iter.Seq2[storage.Entry, error] {
	return each(r.perCall, func(h storage.Handle) iter.Seq2[storage.Entry, error] { return h.Versions.Latest() })
}

// ObservedTime implements storage.VersionedBytes.
func (r readVersions) ObservedTime() int64 { return r.observedTime() }
