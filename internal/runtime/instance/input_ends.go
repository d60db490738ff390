package instance

import (
	"context"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

const (
	endsTimeout = 10 * time.Second
	// endsInterval is the time between two look-ups of ends, while somebody asks.
	endsInterval = 5 * time.Second
)

// inputEnds are the ends of input partitions of which nothing is fetched at present: of tasks that are paused,
// restored, or in a function that takes long. They are looked up when somebody asks, in the background.
type inputEnds struct {
	mu         sync.Mutex
	ends       map[kafka.TopicPartition]int64 // replaced, never changed
	at         time.Time
	refreshing bool
	closed     bool // no look-up begins any more
}

func (e *inputEnds) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
}

// get returns what is known of the ends, and has them looked up if that is old.
func (e *inputEnds) get(inst *Instance, tps []kafka.TopicPartition) map[kafka.TopicPartition]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(tps) > 0 && !e.refreshing && time.Since(e.at) > endsInterval && !e.closed {
		e.refreshing = true
		inst.background(func() { e.refresh(inst, tps) })
	}
	return e.ends
}

func (e *inputEnds) refresh(inst *Instance, tps []kafka.TopicPartition) {
	ctx, cancel := context.WithTimeout(inst.ctx, endsTimeout)
	defer cancel()
	ends, err := inst.admin.ListOffsets(ctx, kafka.ReadCommitted, latestOf(tps))
	if err != nil && inst.ctx.Err() == nil {
		inst.cfg.Logger.Debug("millstream: looking up the ends of inputs failed", "error", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refreshing, e.at = false, time.Now()
	if err == nil {
		e.ends = ends
	}
}
