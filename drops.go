package millstream

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// drops counts dropped records and tells Events at most once a second for each step and reason: an input can be such that every
// record is dropped.
type drops struct {
	tell func(DropInfo)

	mu      sync.Mutex
	reasons map[string]int64
	told    map[dropKey]int64 // since the last time
}

type dropKey struct{ step, reason string }

func newDrops(tell func(DropInfo)) *drops {
	return &drops{tell: tell, reasons: map[string]int64{}, told: map[dropKey]int64{}}
}

// add counts. Workers call it once a round.
func (d *drops) add(n *graph.Node, reason string, count int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reasons[reason] += count
	if d.tell != nil {
		d.told[dropKey{n.Name, reason}] += count
	}
}

func (d *drops) byReason() map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.reasons)
}

// flush tells what was counted since the last flush.
func (d *drops) flush() {
	d.mu.Lock()
	counts := d.told
	d.told = map[dropKey]int64{}
	d.mu.Unlock()
	for k, n := range counts {
		d.tell(DropInfo{Step: k.step, Reason: k.reason, N: n})
	}
}

// run tells until ctx ends, and once more then.
func (d *drops) run(ctx context.Context) {
	if d.tell == nil {
		return
	}
	defer d.flush()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			d.flush()
		case <-ctx.Done():
			return
		}
	}
}
