package millstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/state"
	"github.com/millstream-go/millstream/store"
)

// stores opens the store partitions of an App.
type stores struct {
	dir    *state.Directory
	g      *graph.Graph
	logger *slog.Logger
	id     [16]byte
}

// openStores takes the App's directory, unless nothing of the topology is kept on disk: instances of such an App may share a
// machine without saying so.
func openStores(ctx context.Context, cfg Config, g *graph.Graph, s *session) (*stores, error) {
	o := state.OptionsOf(ctx)
	o.Budget, o.Hook, o.Died = cfg.MemoryBudget, s.hook, s.die
	root := ""
	for _, st := range g.Stores {
		if !st.InMemory {
			root = cfg.StateDir
		}
	}
	dir, err := state.Open(root, cfg.ApplicationID, o)
	if err != nil {
		return nil, err
	}
	out := &stores{dir: dir, g: g, logger: cfg.Logger}
	if out.id, err = processID(dir.Path()); err != nil {
		return nil, errors.Join(err, dir.Close(false))
	}
	return out, nil
}

// processID returns what tells this member from those with other state directories: kept in the directory, so that a member that
// comes back is known as the one that has the state.
func processID(dir string) (id [16]byte, err error) {
	if dir == "" {
		_, err = rand.Read(id[:])
		return id, err
	}
	path := filepath.Join(dir, ".process")
	b, err := os.ReadFile(path)
	if err == nil {
		id, ok, err := parseProcess(b)
		if ok || err != nil {
			return id, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("state directory: %w", err)
	}
	if _, err := rand.Read(id[:]); err != nil {
		return id, err
	}
	if err := os.WriteFile(path, formatProcess(id), 0o600); err != nil {
		return id, fmt.Errorf("state directory: %w", err)
	}
	return id, nil
}

// processVersion is that of the file .process; docs/format/store.md describes it.
const processVersion = 1

func formatProcess(id [16]byte) []byte { return fmt.Appendf(nil, "%d %x\n", processVersion, id) }

// parseProcess is the inverse of formatProcess. A file that was cut short, as by a loss of power, is not ok, and no error: the member
// is known by another id then, and costs the group a move of its tasks.
func parseProcess(b []byte) (id [16]byte, ok bool, err error) {
	version, digits := 0, ""
	if n, _ := fmt.Sscan(string(b), &version, &digits); n == 2 && version != processVersion {
		return id, false, fmt.Errorf("state directory: .process has version %d, and this program knows %d", version, processVersion)
	}
	n, bad := hex.Decode(id[:], []byte(digits[:min(len(digits), 2*len(id))]))
	return id, bad == nil && n == len(id), nil
}

// tasks returns the tasks of which there is state on disk.
func (s *stores) tasks() []graph.TaskID {
	names, err := s.dir.Found()
	if err != nil {
		s.logger.Warn("millstream: looking for state on disk", "error", err)
	}
	seen := map[graph.TaskID]bool{}
	var out []graph.TaskID
	for _, n := range names {
		name, _, _ := strings.Cut(n.Store, "+")
		st := s.g.Store(name)
		if st == nil || onDisk(st) != n.Store || st.InMemory || st.Global {
			continue
		}
		id := graph.TaskID{Sub: st.Sub, Partition: n.Partition}
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// borrow opens a store partition. pressed is called when its memory is wanted.
func (s *stores) borrow(st *graph.Store, partition int32, pressed func()) (store.Engine, error) {
	kind := state.OnDisk
	if st.InMemory {
		kind = state.InMemory
	}
	e, info, err := s.dir.Borrow(state.Name{Store: onDisk(st), Partition: partition}, kind, pressed)
	if info.Aside != "" {
		s.logger.Error("millstream: a store's file cannot be trusted; it was moved aside, and the store will be restored",
			"store", st.Name, "partition", partition, "aside", info.Aside, "reason", info.Reason)
	}
	return e, err
}

// onDisk is the name that a store has in the state directory: stores whose rows are others have other names there, so that a store that is
// made another one is restored and not misread. No store's name has a plus.
func onDisk(st *graph.Store) string {
	name := st.Name
	switch st.Kind {
	case graph.Window:
		name += "+windows"
	case graph.Session:
		name += "+sessions"
	case graph.Versioned:
		name += "+versions"
	}
	if st.KeepHeaders {
		name += "+headers"
	}
	return name
}

// giveBack takes a store partition back, with what is not settled undone or to be undone.
func (s *stores) giveBack(name string, partition int32) {
	if err := s.dir.Return(state.Name{Store: onDisk(s.g.Store(name)), Partition: partition}, true, time.Now()); err != nil {
		s.logger.Error("millstream: closing a store", "store", name, "partition", partition, "error", err)
	}
}

// closeIdle closes stores that have not been used for long, until ctx ends.
func (s *stores) closeIdle(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := s.dir.CloseIdle(time.Now()); err != nil {
				s.logger.Error("millstream: closing idle stores", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
