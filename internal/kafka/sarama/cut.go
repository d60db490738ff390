package sarama

import (
	"maps"

	"github.com/millstream-go/millstream/internal/kafka"
)

// cut gathers the fate of the records between two calls of Cut. Under producer.mu.
type cut struct {
	ticket  *kafka.Ticket // nil until it is called for
	open    int           // chunks whose fate is open
	ends    map[kafka.TopicPartition]int64
	foreign []kafka.ForeignWrite
	err     error
}

func newCut() *cut { return &cut{ends: map[kafka.TopicPartition]int64{}} }

func (c *cut) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Cut returns a ticket for all records sent so far.
func (p *producer) Cut() *kafka.Ticket {
	t := &kafka.Ticket{Done: make(chan struct{})}
	p.mu.Lock()
	p.handAll()
	p.current.ticket = t
	p.current = newCut()
	p.cuts = append(p.cuts, p.current)
	p.finish()
	if p.broken != nil {
		p.abandon(p.broken)
	}
	p.mu.Unlock()
	poke(p.wake)
	return t
}

// finish completes tickets in the order in which they were taken. Ends are those of the ticket's records and of earlier ones: a
// later record that was acknowledged sooner is in a later ticket, since a checkpoint must not pass its epoch. Under mu.
func (p *producer) finish() {
	for len(p.cuts) > 0 && p.cuts[0].ticket != nil && p.cuts[0].open == 0 {
		p.complete(p.cuts[0])
		p.cuts = p.cuts[1:]
	}
}

func (p *producer) complete(c *cut) {
	maps.Copy(p.ends, c.ends)
	t := c.ticket
	t.Ends, t.Foreign, t.Err = maps.Clone(p.ends), c.foreign, c.err
	if t.Err == nil && p.broken != nil {
		t.Err = p.broken
	}
	close(t.Done)
}

// abandon fails all tickets that are still open. Under mu.
func (p *producer) abandon(err error) {
	for _, c := range p.cuts {
		if c.ticket != nil {
			c.fail(err)
			p.complete(c)
		}
	}
	p.cuts = []*cut{p.current}
}
