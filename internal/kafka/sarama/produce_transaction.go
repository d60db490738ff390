package sarama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Transactions as Kafka's protocol has them since 0.11 (KIP-98), with offsets that are committed as a member of a
// generation (KIP-447). The requests to coordinators are in produce_coordinator.go.

// transactor is a producer with transactions. Its records, of all partitions, are under one identity: that of the
// transactional id. The dispatcher sends what belongs to the open transaction, and nothing else (keeps 4).
type transactor struct{ *producer }

// transactions is what a transactor has beside the producer.
type transactions struct {
	id      string
	timeout time.Duration
	calls   *transactionCalls

	// boundary is how many bytes Send had queued at the Cut of the open transaction: what came after it waits for the
	// end of that. math.MaxInt64 before the Cut.
	boundary atomic.Int64

	// Under producer.mu.
	restarts int          // how often Begin and Abort have dropped everything
	identity *identity    // nil before Begin, and while a transaction is aborted
	open     *transaction // whose records may be sent: the oldest one that has not ended
	extended int          // how often Extend has had that take in more records
	results  []addResult  // not collected by the dispatcher yet

	// aborting is the identity of before an Abort that has not come to its end; endAborting says that there may be a
	// transaction to be ended. The owner's.
	aborting    *identity
	endAborting bool
}

// transaction is the records between two Cuts. Under producer.mu, but for next, which is nil until the Cut.
type transaction struct {
	next     *transaction
	ticket   *ticketState
	boundary int64           // bytes that were queued at its Cut
	began    time.Time       // when the coordinator may have heard of it: there is something to be ended; zero: it has not
	offsets  map[string]bool // groups whose offsets are part of it
}

// begin notes that the coordinator hears of the transaction: its time-out begins. Under mu.
func (t *transaction) begin() {
	if t.began.IsZero() {
		t.began = time.Now()
	}
}

func (t *transaction) begun() bool { return !t.began.IsZero() }

// addResult is what became of partitions that were to be added to a transaction.
type addResult struct {
	to         *transaction
	partitions []*producePartition
	errs       []error // of each
	err        error   // of all: the producer cannot go on
}

// transactional is the dispatcher's side of transactions.
type transactional struct {
	restarts   int          // those that the dispatcher has followed
	open       *transaction // transactions.open; nil without transactions
	extended   int          // transactions.extended
	partitions []*producePartition
	toAdd      []*producePartition // wait until they are added to the open transaction
	adding     bool                // a request for that is under way
}

// transactionState is the dispatcher's side of a partition.
type transactionState struct {
	transaction *transaction // that it was added to
	isKnown     bool         // it is in transactional.partitions
	toBeAdded   bool         // it is in transactional.toAdd, or in a request
}

func newTransactor(c *Client, cfg kafka.ProduceConfig, t kafka.TransactionConfig) (*transactor, error) {
	if t.ID == "" {
		return nil, errors.New("kafka: a transactor needs a transactional id")
	}
	defaultTo(&t.Timeout, time.Minute)
	calls := newTransactionCalls(c, t)
	p, err := newProducer(c, cfg, &transactions{id: t.ID, timeout: t.Timeout, calls: calls})
	if err != nil {
		return nil, err
	}
	calls.trouble = func(err error) {
		p.mu.Lock()
		p.idErr = err
		p.mu.Unlock()
	}
	return &transactor{p}, nil
}

// begin begins a first transaction under an identity. Under mu.
func (t *transactions) begin(p *producer, id *identity) {
	t.restarts++
	t.identity, t.results = id, nil
	t.open = &transaction{ticket: p.current}
	p.current.transaction.Store(t.open)
	p.current.restarts = t.restarts
	t.boundary.Store(math.MaxInt64)
}

// cut ends the records of a transaction, and begins the next one, whose ticket is next. sent is how many bytes Send has
// queued. Under mu.
func (t *transactions) cut(ending *transaction, next *ticketState, sent int64) {
	ending.next, ending.boundary = &transaction{ticket: next}, sent
	next.transaction.Store(ending.next)
	next.restarts = t.restarts
	if ending == t.open {
		t.boundary.Store(sent)
	}
}

// waiting returns how many of the bytes that Send has queued wait for the open transaction to end.
func (t *transactions) waiting(sent int64) int64 { return max(sent-t.boundary.Load(), 0) }

// isCut reports whether records that are sent now wait for the open transaction to end.
func (t *transactions) isCut() bool { return t.boundary.Load() != math.MaxInt64 }

// Waiting implements kafka.Transactor.
func (t *transactor) Waiting() int64 { return t.transactions.waiting(t.sentBytes) }

// Began implements kafka.Transactor.
func (t *transactor) Began() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.transactions.open.began
}

// Begin implements kafka.Transactor.
func (t *transactor) Begin(ctx context.Context) error {
	id, err := t.transactions.calls.initProducerID(ctx, identity{-1, -1})
	if err != nil {
		return err
	}
	t.restart(id)
	return nil
}

// restart drops what has not ended, and begins again under an identity.
func (t *transactor) restart(id *identity) {
	t.mu.Lock()
	t.drop(kafka.ErrAborted)
	t.transactions.aborting = nil
	t.transactions.begin(t.producer, id)
	t.mu.Unlock()
	signal(t.wake)
}

// CommitOffsets implements kafka.Transactor.
func (t *transactor) CommitOffsets(
	ctx context.Context, group, memberID string, generation int32, offsets map[kafka.TopicPartition]kafka.OffsetMeta,
) error {
	if len(offsets) == 0 {
		return nil
	}
	open, id, err := t.openTransaction()
	if err != nil {
		return err
	}
	t.mu.Lock()
	added := open.offsets[group]
	open.begin()
	t.mu.Unlock()
	if !added {
		if err := t.transactions.calls.addOffsets(ctx, id, group); err != nil {
			return err
		}
		t.mu.Lock()
		if open.offsets == nil {
			open.offsets = map[string]bool{}
		}
		open.offsets[group] = true
		t.mu.Unlock()
	}
	return t.transactions.calls.commitOffsets(ctx, id, group, memberID, generation, offsets)
}

func (t *transactor) openTransaction() (*transaction, identity, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.broken != nil:
		return nil, identity{}, t.broken
	case t.transactions.identity == nil:
		return nil, identity{}, errors.New("kafka: Begin of the transactor has not been called")
	}
	return t.transactions.open, *t.transactions.identity, nil
}

// End implements kafka.Transactor.
func (t *transactor) End(ctx context.Context) error {
	open, id, err := t.openTransaction()
	if err != nil {
		return err
	}
	t.mu.Lock()
	cut, begun, unresolved, failed := open.next != nil, open.begun(), open.ticket.unresolved, open.ticket.err
	t.mu.Unlock()
	switch {
	case !cut:
		return errors.New("kafka: End without a Cut")
	case unresolved > 0: // keeps 2
		return fmt.Errorf("kafka: End while %d chunks of records are not acknowledged", unresolved)
	case failed != nil:
		return failed
	}
	if begun {
		if err := t.transactions.calls.end(ctx, id, true); err != nil {
			return err
		}
	}
	raised, failed := t.raise(ctx, id)
	t.mu.Lock()
	if raised != nil {
		t.transactions.identity = raised
	}
	t.transactions.openNext()
	if failed != nil {
		t.failOpen(t.transactions.identity, failed)
	}
	t.mu.Unlock()
	// The dispatcher sends what has waited; the owner may wait for room.
	signal(t.wake)
	signal(t.space)
	return nil
}

// raise has the next transaction under another epoch when a request of this one was not answered. The request may be
// on its way: an end would commit the next transaction before all of it is written, and offsets would replace later
// ones. It returns nil when there is no need of it. This transaction has ended: an error is the next one's.
func (t *transactor) raise(ctx context.Context, id identity) (raised *identity, err error) {
	if !t.transactions.calls.unanswered.Load() {
		return nil, nil
	}
	return t.transactions.calls.initProducerID(ctx, id)
}

// Extend implements kafka.Transactor.
func (t *transactor) Extend() {
	t.mu.Lock()
	t.transactions.extend()
	t.mu.Unlock()
	signal(t.wake)
}

// extend has the open transaction take in the one after it. Under mu.
func (t *transactions) extend() {
	next := t.open.next
	if next == nil {
		return
	}
	t.extended++
	next.ticket.transaction.Store(t.open)
	t.open.ticket, t.open.next, t.open.boundary = next.ticket, next.next, next.boundary
	boundary := int64(math.MaxInt64)
	if t.open.next != nil {
		boundary = t.open.boundary
	}
	t.boundary.Store(boundary)
}

// openNext opens the transaction after the one that has ended. Under mu.
func (t *transactions) openNext() {
	t.open = t.open.next
	boundary := int64(math.MaxInt64)
	if t.open.next != nil { // it was cut already
		boundary = t.open.boundary
	}
	t.boundary.Store(boundary)
}

// Abort implements kafka.Transactor. keeps 7
func (t *transactor) Abort(ctx context.Context) error {
	x := t.transactions
	t.mu.Lock()
	if x.identity == nil && x.aborting == nil {
		t.mu.Unlock()
		return t.Begin(ctx)
	}
	if x.identity != nil { // else an earlier Abort has failed, and this one goes on with it
		x.aborting, x.endAborting = x.identity, x.open.begun()
		// Nothing more of it is sent. Batches that are under way may still arrive: the broker refuses them once the epoch
		// is raised.
		t.drop(kafka.ErrAborted)
		x.begin(t.producer, nil)
	}
	id, begun := x.aborting, x.endAborting
	t.mu.Unlock()
	signal(t.wake)
	if begun {
		// The coordinator may have ended it, or given the id to somebody else: the next request says which.
		err := t.transactions.calls.end(ctx, *id, false)
		if err != nil && !errors.Is(err, kafka.ErrFenced) && !isNotInTransaction(err) {
			return err
		}
	}
	raised, err := t.transactions.calls.initProducerID(ctx, *id)
	if err != nil {
		return err
	}
	t.restart(raised)
	return nil
}

// AbortOpen implements kafka.Transactor.
func (t *transactor) AbortOpen(ctx context.Context) error {
	t.mu.Lock()
	// Nothing more is sent, and no partition added: what came behind the abort would begin another transaction.
	if t.broken == nil {
		t.broken = kafka.ErrAborted
	}
	t.failTickets(t.broken)
	id, begun := t.transactions.identity, t.transactions.open.begun()
	t.mu.Unlock()
	switch {
	case id == nil:
		_, err := t.transactions.calls.initProducerID(ctx, identity{-1, -1})
		return err
	case begun:
		err := t.transactions.calls.end(ctx, *id, false)
		if errors.Is(err, kafka.ErrFenced) || isNotInTransaction(err) { // it has ended, and the next one has not begun
			return nil
		}
		return err
	}
	return nil
}

// Close ends the goroutines. A transaction that is open is left to its time-out: AbortOpen ends it before.
func (t *transactor) Close() {
	t.transactions.calls.close()
	t.producer.Close()
}

// failTransaction ends the producer's work until the next Begin or Abort, because of what became of a batch, unless
// that belongs to what was dropped already.
func (p *producer) failTransaction(b *batch, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failOpen(b.identity, err)
}

// failOpen does that if id is still the identity. Under mu.
func (p *producer) failOpen(id *identity, err error) {
	if p.transactions.identity != id {
		return
	}
	if p.broken == nil {
		p.broken = err
	}
	p.failTickets(err)
	signal(p.space)
}

// isDropped reports whether a batch belongs to what Begin or Abort has dropped.
func (p *producer) isDropped(b *batch) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped(b.spans[0].chunk.ticket)
}

// dropped is isDropped for the records of a ticket. Under mu.
func (p *producer) dropped(ts *ticketState) bool {
	return p.transactions != nil && ts.restarts != p.transactions.restarts
}

// collectTransactions follows what has changed since the last time, and returns what became of partitions that were
// to be added. Under mu.
func (d *dispatcher) collectTransactions(t *transactions) []addResult {
	// After Begin or Abort everything begins again: sequences at 0, each partition to be added to its transaction.
	if d.restarts != t.restarts {
		d.restarts = t.restarts
		for _, part := range d.partitions {
			part.sendState = sendState{nextOffset: -1, maxBytes: part.maxBytes}
			part.isKnown = true
		}
		d.ready, d.toAdd, d.adding = nil, nil, false
	}
	// Under another epoch, too. Nothing is under way when it is raised between two transactions.
	if d.identity != t.identity {
		d.identity = t.identity
		for _, part := range d.partitions {
			part.identity = nil
		}
	}
	if d.open != t.open || d.extended != t.extended {
		d.open, d.extended = t.open, t.extended
		for _, part := range d.partitions {
			d.enqueue(part)
		}
	}
	results := t.results
	t.results = nil
	return results
}

// know notes a partition.
func (d *dispatcher) know(part *producePartition) {
	if !part.isKnown {
		part.isKnown = true
		d.partitions = append(d.partitions, part)
	}
}

// wantPartition has a partition added to the open transaction.
func (d *dispatcher) wantPartition(part *producePartition) {
	if !part.toBeAdded {
		part.toBeAdded = true
		d.toAdd = append(d.toAdd, part)
	}
}

// addPartitions asks the coordinator to add the partitions that wait for it, all at once. One request is under way at
// a time.
func (d *dispatcher) addPartitions() {
	if d.adding || len(d.toAdd) == 0 {
		return
	}
	p, id, r := d.producer, *d.identity, addResult{to: d.open, partitions: d.toAdd}
	d.toAdd, d.adding = nil, true
	p.mu.Lock()
	r.to.begin()
	p.mu.Unlock()
	p.wg.Go(func() { p.addPartitions(id, r) })
}

// addPartitions makes that request until it is answered.
func (p *producer) addPartitions(id identity, r addResult) {
	t := p.transactions
	for n := 0; ; n++ {
		r.errs, r.err = t.calls.addPartitions(id, r.partitions)
		if !isTransient(r.err) {
			break
		}
		p.mu.Lock()
		superseded := t.open != r.to || p.broken != nil
		if !superseded && !isConcurrent(r.err) {
			p.idErr = r.err
		}
		p.mu.Unlock()
		if superseded || !sleep(p.client.cfg.transactionBackoff(n, r.err), p.done, nil) {
			return
		}
	}
	p.mu.Lock()
	p.idErr = nil
	t.results = append(t.results, r)
	p.mu.Unlock()
	signal(p.wake)
}

// added decides what becomes of partitions that were to be added.
func (d *dispatcher) added(r addResult) {
	if r.to != d.open {
		return // it was aborted meanwhile
	}
	d.adding = false
	if r.err != nil {
		d.producer.mu.Lock()
		d.producer.failOpen(d.identity, fmt.Errorf("add partitions to the transaction: %w", r.err))
		d.producer.mu.Unlock()
		return
	}
	for i, part := range r.partitions {
		part.toBeAdded = false
		err := r.errs[i]
		switch {
		case err == nil:
			part.transaction, part.attempts = r.to, 0
		case isUnknownTopic(err):
			// As a leader would say: new, or deleted. Nothing of the request was done.
			d.producer.client.metadata.refresh(part.Topic)
			d.postpone(part, fmt.Errorf("%s: %w", part.TopicPartition, err), time.Now())
		case err == errNotAttempted:
			// Another partition of the request was refused. It is asked for again, without that.
		default:
			d.refuseQueued(part, err)
		}
	}
}

var _ kafka.Transactor = (*transactor)(nil)
