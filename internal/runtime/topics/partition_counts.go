package topics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

const (
	// countTTL is how long a partition count is believed: a topic may get more partitions.
	countTTL = time.Minute
	// newTopicWait is how long a topic that a record is to go to may be unknown: it may have been
	// created just now, and a broker may not have heard of it.
	newTopicWait = 2 * time.Second
)

// PartitionCounts knows how many partitions the topics have that records are written to. Safe for
// use by several goroutines.
type PartitionCounts struct {
	ctx   context.Context
	admin kafka.Admin

	mu        sync.Mutex // not held while the cluster is asked
	counts    map[string]int
	requested map[string]bool // topics that were asked for, which Run looks up again
	lastWait  time.Time       // when lookUp last waited for a topic that was unknown
}

// NewPartitionCounts returns PartitionCounts that know the topics of a deployment. ctx ends the
// waiting for brokers.
func NewPartitionCounts(ctx context.Context, admin kafka.Admin, d *Deployment) *PartitionCounts {
	p := &PartitionCounts{ctx: ctx, admin: admin, counts: map[string]int{}, requested: map[string]bool{}}
	for name, info := range d.Topics {
		p.counts[name] = info.Partitions
	}
	return p
}

// Count returns how many partitions a topic has. It asks the cluster, on the caller's goroutine,
// when it does not know.
func (p *PartitionCounts) Count(topic string) (int, error) {
	p.mu.Lock()
	count, ok := p.counts[topic]
	p.requested[topic] = true
	p.mu.Unlock()
	if ok {
		return count, nil
	}
	return p.lookUp(topic)
}

// lookUp asks the cluster until it knows the topic, or has waited long enough.
func (p *PartitionCounts) lookUp(topic string) (count int, err error) {
	var deadline time.Time
	for {
		err = kafka.RetryUnavailable(p.ctx, func() error {
			found, err := p.admin.Topics(p.ctx, topic)
			count = found[topic].Partitions
			return err
		})
		if err != nil {
			return 0, err
		}
		if count > 0 {
			break
		}
		if deadline.IsZero() { // not before it is needed: each call uses up the wait for all topics
			deadline = p.waitUntil()
		}
		if !time.Now().Before(deadline) {
			return 0, fmt.Errorf("topic %q does not exist; create it: %w", topic, kafka.ErrUnknownTopic)
		}
		if err := kafka.Sleep(p.ctx, newTopicWait/20); err != nil {
			return 0, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[topic] = count
	return count, nil
}

// waitUntil returns until when to wait for a topic that is unknown: for newTopicWait, but once in
// countTTL, whatever the number of topics. All tasks of a worker wait with the one that writes. The
// zero Time means not at all.
func (p *PartitionCounts) waitUntil() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.lastWait) < countTTL {
		return time.Time{}
	}
	p.lastWait = time.Now()
	return p.lastWait.Add(newTopicWait)
}

// Run looks up all topics that were asked for every minute, until ctx ends. Those to which nothing
// is written at present are looked up, too: the next records are to go to all partitions that there
// are by then.
func (p *PartitionCounts) Run(ctx context.Context) {
	ticker := time.NewTicker(countTTL)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.refresh(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (p *PartitionCounts) refresh(ctx context.Context) {
	p.mu.Lock()
	names := slices.Collect(maps.Keys(p.requested))
	p.mu.Unlock()
	if len(names) == 0 {
		return // no names would mean all topics
	}
	found, err := p.admin.Topics(ctx, names...)
	if err != nil {
		return // the old counts do until the next time
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		if count := found[name].Partitions; count > 0 {
			p.counts[name] = count
		} else {
			delete(p.counts, name) // it was deleted: the next Count asks, and returns an error
		}
	}
}
