package millstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/internal/worker"
)

// partitions knows how many partitions topics have.
type partitions struct {
	ctx    context.Context
	admin  kafka.Admin
	beside func(func()) // starts goroutines of the session

	mu    sync.Mutex // not held while asking
	known map[string]counted
}

type counted struct {
	n  int
	at time.Time
}

// countsLast is how long a count is believed: a topic may be given more partitions.
const countsLast = time.Minute

func newPartitions(s *session, plan *topics.Plan) *partitions {
	p := &partitions{ctx: s.ctx, admin: s.admin, beside: s.background, known: map[string]counted{}}
	for name, info := range plan.Topics {
		p.known[name] = counted{info.Partitions, time.Now()}
	}
	return p
}

// of returns the count of a topic. It asks the cluster when it does not know, on the caller's goroutine at the first time, else beside it.
func (p *partitions) of(topic string) (int, error) {
	p.mu.Lock()
	c, ok := p.known[topic]
	old := ok && time.Since(c.at) > countsLast
	if old {
		c.at = time.Now() // one look at a time
		p.known[topic] = c
	}
	p.mu.Unlock()
	if old {
		p.beside(func() { _, _ = p.ask(topic) })
	}
	if ok {
		return c.n, nil
	}
	return p.ask(topic)
}

func (p *partitions) ask(topic string) (n int, err error) {
	err = worker.Persist(p.ctx, func() error {
		found, err := p.admin.Topics(p.ctx, topic)
		n = found[topic].Partitions
		return err
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("topic %q: %w", topic, kafka.ErrUnknownTopic)
	}
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[topic] = counted{n, time.Now()}
	return n, nil
}
