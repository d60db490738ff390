package millstream

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/runtime/instance"
	"github.com/millstream-go/millstream/internal/storage"
)

// ErrRunning is returned by Run and RunToEnd when the App has been run already: an App runs once.
var ErrRunning = errors.New("millstream: an App runs only once; make another one with New")

// ErrNotRunning is returned by reads of stores while the App does not run.
var ErrNotRunning = instance.ErrNotRunning

// ErrReadOnly is returned by writes through what App.OpenStore returned.
var ErrReadOnly = instance.ErrReadOnly

// ErrScanEnded is returned by a scan through what App.OpenStore returned, when the earlier rows that
// were kept for it would have needed more memory than Config.MemoryBudget. The caller was slow, or
// stopped in the middle, and others write much.
var ErrScanEnded = storage.ErrSnapshotEnded

// ErrPartitionLeft is returned by a read through what App.OpenStore returned, when a partition leaves
// the App after the read has begun: it moves to another member, its file turns out to be damaged, or the
// App ends. What a scan has visited until then is a part of the rows.
var ErrPartitionLeft = instance.ErrPartitionLeft

// joinErrors makes one error of the mistakes, one a line; nil when there are none.
func joinErrors(errs []error) error {
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("millstream: %w", err)
	}
	return nil
}
