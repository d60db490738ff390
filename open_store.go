package millstream

import (
	"fmt"
	"strings"

	"github.com/millstream-go/millstream/internal/runtime/instance"
	"github.com/millstream-go/millstream/internal/storage"
)

// OpenStore opens a store for reading from outside the topology, as from an HTTP handler. References
// of package store call it:
//
//	counts := table.Count(byWord, "word-counts")
//	...
//	n, ok, err := counts.Store().In(app).Get("be")
//
// What it shows are the partitions that this App has at the time of each read; with several members
// of the group, each has a part, but of a global store each has all. The rows of a task that is being
// restored, moved to another member or stopped are not found, which is no error: Ready returns nil when
// all tasks of this App run.
//
// Values are those of the last commit: a read shows nothing that a failure could still undo, and comes
// after a result on the output topic by as much as Config.CommitInterval. A call sees one such version
// of each partition, and so does a scan from its begin to its end, whatever is processed meanwhile. When
// a partition leaves the App before the end, the scan returns an error (ErrPartitionLeft). A scan of a
// global store sees writes that happen ahead of it.
//
// Several goroutines may read at once, each with what it has opened itself, which has buffers for keys
// and headers. Each read runs on the goroutine of the caller. It waits neither for a worker nor for a
// function of the topology, and a caller who stops in the middle of a scan holds nobody up. For a scan
// the stores keep rows that are replaced meanwhile, in up to as much memory as Config.MemoryBudget; the
// longest scans are ended before they would need more (ErrScanEnded). Files that were merged meanwhile stay
// on the disk until the scan ends, so a caller should not leave one in the middle for long.
func (a *App) OpenStore(name string) (storage.Handle, error) {
	st := a.graph.Store(name)
	if st == nil {
		var names []string
		for _, other := range a.graph.Stores {
			names = append(names, other.Name)
		}
		return storage.Handle{}, fmt.Errorf("millstream: there is no store %q; there are: %s", name,
			strings.Join(names, ", "))
	}
	return instance.OpenStore(st, a.current)
}
