package topics

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// purgeInterval is the time between two purges.
const purgeInterval = 30 * time.Second

// PurgeLoop collects what was committed and what has expired, and has it deleted from repartition
// topics and changelogs now and then. Safe for use by several goroutines.
type PurgeLoop struct {
	purger *Purger
	logger *slog.Logger

	mu        sync.Mutex // not held while anything is deleted
	committed map[kafka.TopicPartition]int64
	expired   map[kafka.TopicPartition]int64

	token chan struct{} // capacity 1: who has put the token in may use the purger
}

// NewPurgeLoop returns a PurgeLoop. Run runs it.
func NewPurgeLoop(admin kafka.Admin, logger *slog.Logger) *PurgeLoop {
	return &PurgeLoop{
		purger: NewPurger(admin, logger), logger: logger, token: make(chan struct{}, 1),
		committed: map[kafka.TopicPartition]int64{}, expired: map[kafka.TopicPartition]int64{},
	}
}

// Add adds the offsets of a commit that was accepted, and offsets before which changelogs have
// expired.
func (p *PurgeLoop) Add(committed map[kafka.TopicPartition]kafka.OffsetMeta, expired map[kafka.TopicPartition]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tp, offset := range committed {
		p.committed[tp] = offset.Offset
	}
	maps.Copy(p.expired, expired)
}

func (p *PurgeLoop) drain() (committed, expired map[kafka.TopicPartition]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	committed, expired = p.committed, p.expired
	p.committed, p.expired = map[kafka.TopicPartition]int64{}, map[kafka.TopicPartition]int64{}
	return committed, expired
}

// requeue adds what could not be deleted for the next time. It would be lost otherwise: the
// partition may get no further commit. A commit may have come meanwhile, so the greater offset
// counts.
func (p *PurgeLoop) requeue(committed, expired map[kafka.TopicPartition]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tp, offset := range committed {
		p.committed[tp] = max(p.committed[tp], offset)
	}
	for tp, offset := range expired {
		p.expired[tp] = max(p.expired[tp], offset)
	}
}

// Run purges every purgeInterval until ctx ends. running returns the changelogs of the tasks that
// the member runs.
func (p *PurgeLoop) Run(
	ctx context.Context, deployment func() *Deployment, running func() map[kafka.TopicPartition]bool,
) {
	ticker := time.NewTicker(purgeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.Purge(ctx, deployment(), running())
		case <-ctx.Done():
			return
		}
	}
}

// Purge purges once. From changelogs it deletes only where the member runs the task. What had
// expired stays expired whoever has the task by now, but its new owner says so itself; and after an
// application was reset and its topics made again, only the owner's offsets are those of the new
// topic.
func (p *PurgeLoop) Purge(ctx context.Context, d *Deployment, running map[kafka.TopicPartition]bool) {
	// A channel, not a mutex: a request to the brokers may take long, and who waits for its end must
	// be able to give up with ctx.
	select {
	case p.token <- struct{}{}:
		defer func() { <-p.token }()
	case <-ctx.Done():
		return
	}
	committed, expired := p.drain()
	if err := p.purger.PurgeCommitted(ctx, d, committed); err != nil {
		p.requeue(committed, nil)
		if ctx.Err() == nil {
			p.logger.Warn("millstream: deleting processed records from repartition topics failed, and is retried soon",
				"error", err)
		}
	}
	maps.DeleteFunc(expired, func(tp kafka.TopicPartition, _ int64) bool { return !running[tp] })
	if remaining, err := p.purger.PurgeExpired(ctx, d, expired); err != nil {
		p.requeue(nil, remaining)
		if ctx.Err() == nil {
			p.logger.Warn("millstream: deleting expired records from changelogs failed, and is retried soon", "error", err)
		}
	}
}
