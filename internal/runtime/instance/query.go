package instance

import (
	"bytes"
	"errors"
	"iter"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/internal/runtime/global"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

var (
	// ErrNotRunning is returned by reads of stores while nothing runs.
	ErrNotRunning = errors.New("millstream: the App is not running")
	// ErrReadOnly is returned by writes to a store from outside the topology.
	ErrReadOnly = errors.New("millstream: stores can be read from outside, not written")
	// ErrPartitionLeft is returned by a read that has seen a part of a partition which is not here any
	// more.
	ErrPartitionLeft = errors.New("millstream: a partition of the store has left this App while it was read: " +
		"what was read is a part of its rows")
)

// OpenStore opens a store for reading from outside the topology. current returns the instance that
// each read goes to, nil when nothing runs. So a store can be opened before the run, and reading
// fails after it.
//
// Reads run on the goroutine of the caller, in snapshots of the partitions (storage.Snapshotter): they
// see what has settled, and wait for no worker.
func OpenStore(st *graph.Store, current func() *Instance) (storage.Handle, error) {
	streamTime := func() int64 { return -1 } // nobody outside of a task has one
	if st.Global {
		return segmented.Handle(st, &globalView{current, st.Name}, streamTime)
	}
	open := func() (segmented.OpenPartitions, error) { return openPartitions(st, current) }
	return segmented.ReadHandle(st, open, ErrReadOnly, streamTime), nil
}

// readable is a partition of a store that runs here.
type readable struct {
	partition int32
	engine    storage.Engine
}

// partitions are those of a store that this member runs, for one call: a snapshot of each that the call
// reads, and all of them as one store.
//
// The task manager publishes a partition when its task begins to process and withdraws it before it
// gives the engine back. A call may have got it before that. Then the engine says that it is closed
// (storage.ErrUnavailable), or shows what has settled, as any other.
type partitions struct {
	all       []*partition
	segmented bool // keys are those of segments, which the user's key is a part of
	tasks     int
}

// partition is one of the partitions, whose snapshot is opened when it is read first.
type partition struct {
	readable
	snapshot *segmented.Snapshot
	begun    bool // the call has read of it
	gone     bool
}

func openPartitions(st *graph.Store, current func() *Instance) (*partitions, error) {
	inst := current()
	if inst == nil {
		return nil, ErrNotRunning
	}
	p := &partitions{segmented: segmented.IsSegmented(st.Kind)}
	for _, r := range (*inst.manager.readable.Load())[st.Name] {
		p.all = append(p.all, &partition{readable: r})
	}
	if len(p.all) > 0 {
		p.tasks = inst.group.Deployment().Subtopologies[st.Subtopology].TaskCount
	}
	return p, nil
}

// Close ends the snapshots.
func (p *partitions) Close() {
	for _, x := range p.all {
		if x.snapshot != nil {
			x.snapshot.Close()
		}
	}
}

// read calls f with the snapshot of the partition. It does not when the partition is not here any more:
// that is no error, and no value, as if the call had come a moment later. Once the call has read of the
// partition it is an error: else a scan would end in the middle and look like one that is complete.
func (x *partition) read(f func(*segmented.Snapshot) error) (err error) {
	if x.gone {
		return nil
	}
	if x.snapshot == nil {
		x.snapshot, err = segmented.OpenSnapshot(x.engine)
	}
	if err == nil {
		err = f(x.snapshot)
	}
	switch {
	case err == nil:
		x.begun = true
	case !errors.Is(err, storage.ErrUnavailable):
	case x.begun:
		err = ErrPartitionLeft
	default:
		x.gone, err = true, nil
	}
	return err
}

// Get implements storage.Bytes. The partition that a key has by Kafka's default partitioner is
// asked first. The others are asked then, since whoever wrote the records may have used another
// partitioner.
func (p *partitions) Get(key []byte) (value []byte, time int64, ok bool, err error) {
	preferred := int32(-1)
	if p.tasks > 0 {
		userKey := key
		if p.segmented {
			userKey = segmented.UserKey(key)
		}
		preferred = partitioner.ForKey(userKey, p.tasks)
	}
	for _, first := range []bool{true, false} {
		for _, x := range p.all {
			if (x.partition == preferred) != first {
				continue
			}
			err = x.read(func(s *segmented.Snapshot) (err error) {
				value, time, ok, err = s.Get(key)
				return err
			})
			if ok || err != nil {
				return value, time, ok, err
			}
		}
	}
	return nil, 0, false, nil
}

// Put implements storage.Bytes.
func (*partitions) Put([]byte, []byte, int64) error { return ErrReadOnly }

// Delete implements storage.Bytes.
func (*partitions) Delete([]byte, int64) error { return ErrReadOnly }

// Len implements storage.Bytes. It counts.
func (p *partitions) Len() (n int64, err error) {
	for _, err := range p.Scan(storage.Range{}) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// PartitionOf implements segmented.Partitions.
func (*partitions) PartitionOf([]byte) (*segmented.Store, error) { return nil, ErrReadOnly }

// Observed implements segmented.Partitions: of the partition that has a row, or of all where local
// is nil.
func (p *partitions) Observed(local []byte) (int64, error) {
	latest := int64(-1)
	for _, x := range p.all {
		found := false
		err := x.read(func(s *segmented.Snapshot) (err error) {
			// Of the whole partition: rows expire by the stream time of the partition that they are in.
			if local == nil {
				latest = max(latest, s.Observed())
			} else if _, _, found, err = s.Get(local); found {
				latest = s.Observed()
			}
			return err
		})
		if found || err != nil {
			return latest, err
		}
	}
	return latest, nil
}

// Scan implements storage.Bytes: the rows of all partitions that run here, merged by key.
func (p *partitions) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) {
		scans := make([]*partitionScan, 0, len(p.all))
		for _, x := range p.all {
			scan := &partitionScan{partition: x, r: r}
			if err := scan.next(); err != nil {
				yield(storage.Entry{}, err)
				return
			}
			scans = append(scans, scan)
		}
		for {
			first := least(scans, r.Backward)
			if first == nil || !yield(first.row, nil) {
				return
			}
			if err := first.next(); err != nil {
				yield(storage.Entry{}, err)
				return
			}
		}
	}
}

// partitionScan is a scan of one partition, at a row.
type partitionScan struct {
	*partition
	r    storage.Range
	rows storage.RowReader
	row  storage.Entry
	ok   bool // there is a row
}

func (s *partitionScan) next() error {
	s.ok = false
	return s.read(func(snapshot *segmented.Snapshot) (err error) {
		if s.rows == nil {
			s.rows = snapshot.Rows(s.r)
		}
		s.row, s.ok, err = s.rows.Next()
		return err
	})
}

// least returns the scan with the row that comes first, nil when there is no row.
func least(scans []*partitionScan, backward bool) (best *partitionScan) {
	for _, s := range scans {
		if s.ok && (best == nil || (bytes.Compare(s.row.Key, best.row.Key) < 0) != backward) {
			best = s
		}
	}
	return best
}

// globalView shows a global store. Its reads run on the goroutine of the caller.
type globalView struct {
	current func() *Instance
	name    string
}

// view returns the store for one read. Until a restore is done it shows what is there.
func (g *globalView) view() (storage.Bytes, error) {
	inst := g.current()
	if inst == nil {
		return nil, ErrNotRunning
	}
	return inst.globals.byName[g.name].View(), nil
}

// Get implements storage.Bytes.
func (g *globalView) Get(key []byte) ([]byte, int64, bool, error) {
	view, err := g.view()
	if err != nil {
		return nil, 0, false, err
	}
	value, at, ok, err := view.Get(key)
	return value, at, ok, asNotRunning(err)
}

// asNotRunning returns ErrNotRunning for a store that was closed between view and the read, which
// is when the run ends.
func asNotRunning(err error) error {
	if errors.Is(err, global.ErrClosed) {
		return ErrNotRunning
	}
	return err
}

// Put implements storage.Bytes.
func (g *globalView) Put([]byte, []byte, int64) error { return ErrReadOnly }

// Delete implements storage.Bytes.
func (g *globalView) Delete([]byte, int64) error { return ErrReadOnly }

// Len implements storage.Bytes. It counts.
func (g *globalView) Len() (int64, error) {
	view, err := g.view()
	if err != nil {
		return 0, err
	}
	n, err := view.Len()
	return n, asNotRunning(err)
}

// Scan implements storage.Bytes.
func (g *globalView) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) {
		view, err := g.view()
		if err != nil {
			yield(storage.Entry{}, err)
			return
		}
		for e, err := range view.Scan(r) {
			if !yield(e, asNotRunning(err)) {
				return
			}
		}
	}
}
