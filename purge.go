package millstream

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/topics"
)

// purgeInterval is how often what was processed is deleted from repartition topics.
const purgeInterval = 30 * time.Second

// purge collects what was committed and deletes it from repartition topics, now and then.
type purge struct {
	purger *topics.Purger
	logger *slog.Logger

	mu        sync.Mutex // not held while deleting
	committed map[kafka.TopicPartition]int64
}

func newPurge(admin kafka.Admin, logger *slog.Logger) *purge {
	return &purge{purger: topics.NewPurger(admin), logger: logger, committed: map[kafka.TopicPartition]int64{}}
}

func (p *purge) add(offsets map[kafka.TopicPartition]kafka.OffsetMeta) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tp, m := range offsets {
		p.committed[tp] = m.Offset
	}
}

func (p *purge) take() map[kafka.TopicPartition]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.committed
	p.committed = map[kafka.TopicPartition]int64{}
	return taken
}

// giveBack keeps what could not be deleted for the next time: no commit may follow that says it again.
func (p *purge) giveBack(committed map[kafka.TopicPartition]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tp, offset := range committed {
		p.committed[tp] = max(p.committed[tp], offset)
	}
}

func (p *purge) run(ctx context.Context, plan func() *topics.Plan) {
	t := time.NewTicker(purgeInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		committed := p.take()
		if err := p.purger.Purge(ctx, plan(), committed); err != nil && ctx.Err() == nil {
			p.giveBack(committed)
			p.logger.Warn("millstream: deleting what was processed from repartition topics; the next time will be soon", "error", err)
		}
	}
}
