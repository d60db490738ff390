package sarama

import (
	"maps"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/kafka"
)

// ticketState gathers the fate of the records between two calls of Cut. Under producer.mu.
type ticketState struct {
	ticket     *kafka.Ticket // nil before Cut
	unresolved int           // chunks whose fate is open
	ends       map[kafka.TopicPartition]int64
	foreign    []kafka.ForeignWrite
	err        error

	// transaction is the one that the records belong to; nil: none. Extend changes it, while the dispatcher reads.
	transaction atomic.Pointer[transaction]
	restarts    int // transactions.restarts when it began
}

func newTicketState() *ticketState { return &ticketState{ends: map[kafka.TopicPartition]int64{}} }

func (ts *ticketState) fail(err error) {
	if ts.err == nil {
		ts.err = err
	}
}

// resolve notes that the fate of n records of ck is known; when that of all is, ck is used again.
// Under mu.
func (p *producer) resolve(ck *chunk, n int) {
	if p.dropped(ck.ticket) { // and counted then; a sender may still be reading its memory
		return
	}
	if ck.unresolved -= n; ck.unresolved > 0 {
		return
	}
	ts := ck.ticket
	ts.unresolved--
	if ck.endOffset >= 0 {
		ts.ends[ck.partition.TopicPartition] = ck.endOffset
	}
	p.resolvedBytes.Add(int64(ck.maxSize))
	p.recycle(ck)
}

// Cut returns a ticket for all records that Send has queued so far.
func (p *producer) Cut() *kafka.Ticket {
	t := &kafka.Ticket{Done: make(chan struct{})}
	p.mu.Lock()
	p.handOverAll()
	p.current.ticket = t
	next := newTicketState()
	if p.transactions != nil {
		p.transactions.cut(p.current.transaction.Load(), next, p.sentBytes)
	}
	p.current = next
	p.tickets = append(p.tickets, p.current)
	p.completeTickets()
	if p.broken != nil {
		p.failTickets(p.broken)
	}
	p.mu.Unlock()
	signal(p.wake)
	return t
}

// completeTickets completes tickets in the order of their Cuts. Ends are those of the ticket's
// records and of earlier ones. A later record may be acknowledged sooner; it counts for a later
// ticket, since a checkpoint must not pass its epoch. Under mu.
func (p *producer) completeTickets() {
	for len(p.tickets) > 0 && p.tickets[0].ticket != nil && p.tickets[0].unresolved == 0 {
		p.completeTicket(p.tickets[0])
		p.tickets = p.tickets[1:]
	}
}

func (p *producer) completeTicket(ts *ticketState) {
	maps.Copy(p.ends, ts.ends)
	t := ts.ticket
	t.Ends, t.Foreign, t.Err = maps.Clone(p.ends), ts.foreign, ts.err
	if t.Err == nil && p.broken != nil {
		t.Err = p.broken
	}
	close(t.Done)
}

// failTickets fails all tickets that are still open. Under mu.
func (p *producer) failTickets(err error) {
	for _, ts := range p.tickets {
		if ts.ticket != nil {
			ts.fail(err)
			p.completeTicket(ts)
		}
	}
	p.tickets = []*ticketState{p.current}
}
