package worker

import (
	"context"
	"errors"

	"github.com/millstream-go/millstream/store"
)

// ErrNotHere says that a worker does not have a store partition.
var ErrNotHere = errors.New("the store partition is not here")

// Query calls f with a store partition on the worker's goroutine, between two rounds, and returns what f returns. f must be done
// soon: the worker's tasks wait meanwhile.
func (w *Worker) Query(ctx context.Context, name string, partition int32, f func(store.Bytes) error) error {
	result := make(chan error, 1)
	w.command(func() {
		for _, r := range w.tasks {
			if e := r.Engines[name]; e != nil && r.ID.Partition == partition && !r.undo && r.err == nil {
				result <- f(e)
				return
			}
		}
		result <- ErrNotHere
	})
	select {
	case err := <-result:
		return err
	case <-w.done:
		return ErrNotHere
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
