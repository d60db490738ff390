package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
)

// stores opens the store partitions of a run.
type stores struct {
	dir       *statedir.Directory
	graph     *graph.Graph
	logger    *slog.Logger
	processID [16]byte

	notify      func(DamageInfo) // nil: nobody
	damageCount *atomic.Int64
	mu          sync.Mutex
	// repaired are stores, by the names in the graph, of which a file was moved aside; guarded by mu.
	repaired map[statedir.Name]bool
	// failing are the stores whose last flush, or last step of a merge, has failed; guarded by mu.
	failing map[failing]bool
	// unneeded are the tasks whose state here is of no use at present; guarded by mu.
	unneeded map[graph.TaskID]bool
	// lagging has, by directory, what was logged of merges that fall behind; guarded by mu.
	lagging map[string]lag
}

// openStores opens the application's state directory. There is none when the topology keeps nothing
// on disk: instances of such an App may share a machine without each being given a directory.
func openStores(ctx context.Context, inst *Instance) (*stores, error) {
	cfg := inst.cfg
	options := statedir.OptionsOf(ctx)
	options.Budget, options.Hook, options.Crashed = cfg.MemoryBudget, inst.hook, inst.crash
	root := ""
	for _, st := range inst.graph.Stores {
		if !st.InMemory {
			root = cfg.StateDir
		}
	}
	s := &stores{
		graph: inst.graph, logger: cfg.Logger, notify: cfg.Observer.Damaged, damageCount: &cfg.Counters.damaged,
		repaired: map[statedir.Name]bool{}, failing: map[failing]bool{}, lagging: map[string]lag{},
	}
	options.OnDamage = s.reportDamage
	onFlush := options.OnFlush // a simulation's
	options.OnFlush = func(f lsm.FlushInfo) {
		s.reportWrite(failing{path: f.Path}, f.Err)
		if onFlush != nil {
			onFlush(f)
		}
	}
	options.OnMerge = s.reportMerge
	dir, err := statedir.Open(root, cfg.ApplicationID, options)
	if err != nil {
		return nil, err
	}
	s.dir = dir
	dir.Probe()
	if mode, exposed := dir.Exposed(); exposed {
		cfg.Logger.Warn("millstream: every user of this machine can read the state directory; chmod o-rwx makes it private",
			"directory", dir.Path(), "mode", fmt.Sprintf("%04o", mode))
	}
	if s.processID, err = statedir.ProcessID(dir.Path()); err != nil {
		return nil, errors.Join(err, dir.Close(false))
	}
	return s, nil
}

// storedTasks returns the tasks of which there is state on disk. The group gives them back to this
// member where balance allows.
func (s *stores) storedTasks() []graph.TaskID {
	names, err := s.dir.List()
	if err != nil {
		s.logger.Warn("millstream: looking for state on disk", "error", err)
	}
	seen := map[graph.TaskID]bool{}
	var out []graph.TaskID
	for _, n := range names {
		// A directory may also be of a store that the program has no more, or whose rows were of another
		// layout: that state is of no use.
		st := s.graph.Store(statedir.StoreName(n.Store))
		if st == nil || statedir.DirName(st) != n.Store || st.InMemory || st.Global {
			continue
		}
		id := graph.TaskID{Subtopology: st.Subtopology, Partition: n.Partition}
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// setTypes compares the types of the stores' rows with what their files say. Files of another type
// are removed where the store can be restored from a topic: the deployer has found before that the
// type of what is in the changelog is the right one.
func (s *stores) setTypes() error {
	var errs []error
	for _, st := range s.graph.Stores {
		if st.InMemory {
			continue
		}
		restorable := restorable(st)
		was, changed, err := s.dir.SetType(statedir.DirName(st), st.Type(), restorable)
		switch {
		case err != nil:
			errs = append(errs, err)
		case changed && restorable:
			s.logger.Info("millstream: the type of a store changed; its files are removed, and it is restored",
				"store", st.Name, "was", was.String(), "is", st.Type().String())
		case changed: // its only copy: to remove it is for the user to decide
			errs = append(errs, fmt.Errorf("the type of store %q, made at %s, changed: it was (%s) and is (%s); it has no "+
				"changelog to be restored from: give it another name, or delete its files in %s", st.Name, st.Pos, was, st.Type(),
				s.dir.Path()))
		}
	}
	return errors.Join(errs...)
}

// checkEarlierFormat looks for state of an earlier format, which nothing reads any more. It is restored
// where the store can be restored from a topic. Files of other stores are the only copy of their rows:
// what becomes of them is for the user to decide.
func (s *stores) checkEarlierFormat() error {
	var errs []error
	for _, st := range s.graph.Stores {
		if st.InMemory {
			continue
		}
		files, err := s.dir.EarlierFiles(statedir.DirName(st))
		if err != nil {
			errs = append(errs, err)
		}
		if len(files) == 0 {
			continue
		}
		if !restorable(st) {
			errs = append(errs, fmt.Errorf("store %q, made at %s, has files of an earlier format (%s), which this version does "+
				"not read, and it has no changelog to be restored from: run the version that wrote them, or give the store "+
				"another name, or delete these files to begin without rows", st.Name, st.Pos, files[0].Path))
			continue
		}
		left := slices.DeleteFunc(files, func(f statedir.EarlierFile) bool { return f.Replaced })
		if len(left) > 0 {
			s.logger.Warn("millstream: the state of a store is of an earlier format; it is restored from its changelog, and "+
				"its files are removed then", "store", st.Name, "files", len(left), "first", left[0].Path)
		}
	}
	return errors.Join(errs...)
}

// acquire opens a store partition. memoryWanted is called when its memory is wanted.
func (s *stores) acquire(st *graph.Store, partition int32, memoryWanted func()) (storage.Engine, error) {
	kind := statedir.OnDisk
	if st.InMemory {
		kind = statedir.InMemory
	}
	engine, _, err := s.dir.Acquire(statedir.Name{Store: statedir.DirName(st), Partition: partition}, kind, memoryWanted)
	return engine, err
}

// release returns a store partition. What is not settled is undone.
func (s *stores) release(name string, partition int32) {
	err := s.dir.Release(statedir.Name{Store: statedir.DirName(s.graph.Store(name)), Partition: partition}, true,
		time.Now())
	if err != nil {
		s.logger.Error("millstream: closing a store", "store", name, "partition", partition, "error", err)
	}
}

// releaseSettled is release for a store whose position is right. inMemory has one in memory stay open, too, if it has a
// changelog: without one, the rows of before would be there when the task comes back, and not what it did meanwhile.
func (s *stores) releaseSettled(name string, partition int32, inMemory bool) {
	st := s.graph.Store(name)
	n := statedir.Name{Store: statedir.DirName(st), Partition: partition}
	err := s.dir.ReleaseSettled(n, inMemory && restorable(st), time.Now())
	if err != nil {
		s.logger.Error("millstream: closing a store", "store", name, "partition", partition, "error", err)
	}
}

// reportDamage reports that a file was moved aside. It is called once for each file.
func (s *stores) reportDamage(damage statedir.Damage) {
	name := statedir.StoreName(damage.Store)
	st := s.graph.Store(name)
	info := DamageInfo{Store: name, Partition: damage.Partition, File: damage.File, MovedTo: damage.MovedTo,
		Reason: damage.Reason}
	// A row that does not decode from now on is what Kafka has: mayRestore does not restore it once
	// more.
	s.mu.Lock()
	s.repaired[statedir.Name{Store: name, Partition: damage.Partition}] = true
	s.mu.Unlock()
	s.damageCount.Add(1)
	message := "millstream: a file of a store is damaged; it was moved aside, and this partition of the store is " +
		"restored from its changelog"
	if st != nil && !restorable(st) {
		message = "millstream: a file of a store is damaged; it was moved aside, and this partition of the store begins " +
			"empty, for it has no changelog"
	}
	s.logger.Error(message, "store", info.Store, "partition", info.Partition, "file", info.File, "moved_to", info.MovedTo,
		"reason", info.Reason)
	if s.notify != nil {
		s.notify(info)
	}
}

// restorable reports whether the rows of a store are in Kafka.
func restorable(st *graph.Store) bool { return st.Changelog || st.SourceTopic != "" }

// mayRestore reports whether a restore may bring back rows of a store that do not decode. It may
// once in the life of an App: a row that does not decode after a restore is what Kafka has, and the
// same restore again would change nothing.
func (s *stores) mayRestore(name string, partition int32) bool {
	st := s.graph.Store(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return st != nil && !st.InMemory && restorable(st) && !s.repaired[statedir.Name{Store: name, Partition: partition}]
}

// failing is a store that cannot be written to disk.
type failing struct {
	path  string
	merge bool // that its runs cannot be merged
}

// reportWrite logs that a store cannot be written to disk, once until it can be again: what fails is
// tried again for as long as the disk is full. Damage is logged where the file is moved aside.
func (s *stores) reportWrite(f failing, err error) {
	s.mu.Lock()
	before := s.failing[f]
	if err == nil {
		delete(s.failing, f)
	} else {
		s.failing[f] = true
	}
	s.mu.Unlock()
	bad := "millstream: a store cannot be written to disk; this is retried, and its rows stay in memory"
	good := "millstream: a store can be written to disk again"
	if f.merge {
		bad = "millstream: the files of a store cannot be merged; this is retried, and reads look into more files meanwhile"
		good = "millstream: the files of a store can be merged again"
	}
	switch {
	case before && err == nil:
		s.logger.Info(good, "directory", f.path)
	case !before && err != nil && !isDamage(err) && !errors.Is(err, crashpoint.Dead):
		s.logger.Warn(bad, "directory", f.path, "error", err)
	}
}

const (
	// probeInterval is the time between two probes of the state directory. Ready is to know that it
	// cannot be written to before a flush fails, and when there is room again.
	probeInterval     = 10 * time.Second
	closeIdleInterval = time.Minute
)

// maintain closes stores that have not been used for long, and probes the state directory, until
// ctx ends. cleanUp is called now and then, to remove files that are of no use.
func (s *stores) maintain(ctx context.Context, cleanUp func(now time.Time)) {
	idle, probe := time.NewTicker(closeIdleInterval), time.NewTicker(probeInterval)
	defer idle.Stop()
	defer probe.Stop()
	for {
		select {
		case <-probe.C:
			s.dir.Probe()
		case <-idle.C:
			if err := s.dir.CloseIdle(time.Now()); err != nil {
				s.logger.Error("millstream: closing idle stores", "error", err)
			}
			cleanUp(time.Now())
		case <-ctx.Done():
			return
		}
	}
}
