package instance

import (
	"context"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// dropCounter counts dropped records, and notifies the observer at most once a second for each step
// and reason: an input can be such that every record is dropped, and an event each would cost more
// than the processing.
type dropCounter struct {
	counters *Counters
	notify   func(DropInfo) // nil: nobody

	mu      sync.Mutex
	pending map[dropKey]int64 // since the last flush
}

type dropKey struct{ step, reason string }

func newDropCounter(counters *Counters, notify func(DropInfo)) *dropCounter {
	return &dropCounter{counters: counters, notify: notify, pending: map[dropKey]int64{}}
}

// add counts records that a node dropped. Workers call it once a round.
func (d *dropCounter) add(node *graph.Node, reason string, count int64) {
	d.counters.drop(node.Name, reason, count)
	if d.notify == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending[dropKey{node.Name, reason}] += count
}

// flush notifies the observer of what was counted since the last flush.
func (d *dropCounter) flush() {
	d.mu.Lock()
	counts := d.pending
	d.pending = map[dropKey]int64{}
	d.mu.Unlock()
	for key, count := range counts {
		d.notify(DropInfo{Step: key.step, Reason: key.reason, N: count})
	}
}

// run flushes every second until ctx ends, and once more then.
func (d *dropCounter) run(ctx context.Context) {
	if d.notify == nil {
		return
	}
	defer d.flush()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.flush()
		case <-ctx.Done():
			return
		}
	}
}
