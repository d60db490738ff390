package instance

import (
	"path/filepath"
	"time"

	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/internal/storage/lsm"
)

// StoreStats are figures of a store on disk: of its partitions that are open here.
type StoreStats struct {
	Partitions    int
	Files         int
	Bytes         int64
	WrittenBytes  int64
	MergesWaiting int
	WaitingBytes  int64
	PagesChecked  int64
}

// StoreStats returns the figures of the stores on disk, by name. Safe for use by several goroutines.
func (inst *Instance) StoreStats() map[string]StoreStats {
	all := map[string]StoreStats{}
	inst.stores.dir.EachOpen(func(n statedir.Name, e *lsm.Engine) {
		partition, name := e.Stats(), statedir.StoreName(n.Store)
		sum := all[name]
		sum.Partitions++
		sum.Files += partition.Files
		sum.Bytes += partition.Bytes
		sum.WrittenBytes += partition.Written
		sum.PagesChecked += partition.Compared
		if partition.Waiting > 0 {
			sum.MergesWaiting++
			sum.WaitingBytes += partition.WaitingBytes
		}
		all[name] = sum
	})
	return all
}

// behindInterval is the least time between two lines that say that the merges of a store fall behind: under
// a load that the disk can hardly bear, flushes may wait again and again.
const behindInterval = time.Minute

// reportMerge logs that the merges of a store fall behind and that they have caught up, and whether its
// files can be merged.
func (s *stores) reportMerge(m lsm.MergeInfo) {
	dir, partition := filepath.Split(m.Path)
	store := statedir.StoreName(filepath.Base(dir))
	switch m.Event {
	case lsm.MergeEnds, lsm.MergeFails:
		s.reportWrite(failing{path: m.Path, merge: true}, m.Err)
	case lsm.MergesBehind:
		if s.startsToLag(m.Path, time.Now()) {
			s.logger.Info("millstream: store: merges fall behind, and flushes wait for them; processing waits when "+
				"memory is full", "store", store, "partition", partition, "runs", m.Runs)
		}
	case lsm.MergesCaughtUp:
		if s.endsToLag(m.Path) {
			s.logger.Info("millstream: store: merges have caught up", "store", store, "partition", partition, "runs", m.Runs,
				"flush_waited", m.Took)
		}
	case lsm.MergesLeft:
		// Not said, but they have to be said to fall behind when they do after the store was opened again.
		s.endsToLag(m.Path)
	}
}

// startsToLag reports whether it is to be logged that the merges of a store fall behind.
func (s *stores) startsToLag(path string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lagging[path]
	if l.logged || !l.since.IsZero() && now.Sub(l.since) < behindInterval {
		return false
	}
	s.lagging[path] = lag{since: now, logged: true}
	return true
}

// endsToLag reports whether it was logged that the merges of a store fall behind, and is not any more.
func (s *stores) endsToLag(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lagging[path]
	s.lagging[path] = lag{since: l.since}
	return l.logged
}

// lag is what was logged of the merges of a store.
type lag struct {
	since  time.Time // when it was logged last that they fall behind
	logged bool      // and not yet that they have caught up
}
