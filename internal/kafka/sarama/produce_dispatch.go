package sarama

import (
	"context"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// dispatcher is the goroutine that owns what is under way: it makes batches, passes each to the
// sender of the partition's leader, one at a time per partition (invariant 3), and decides what a
// response means (produce_response.go).
type dispatcher struct {
	producer           *producer
	ready              []*producePartition // with something to send
	senders            map[string]*sender
	identity           *identity // for partitions that have none
	requestingIdentity bool
	transactional
}

// sendState is the dispatcher's side of a partition.
type sendState struct {
	queue    []*chunk
	retries  []*batch // come before the queue, in this order
	inFlight bool
	queued   bool // in dispatcher.ready

	identity   *identity
	sequence   int32
	nextOffset int64 // the offset that the next record should get; -1: not checked
	maxBytes   int   // bytes of a batch; less than BatchBytes where the topic accepts less

	attempts   int
	retryAt    time.Time
	lastLeader leader // who got the last batch
	unknown    unknownTopic
	resets     int // identities dropped since the last success

	transactionState
}

const (
	// notAllowedRetry is after how long Allowed is asked again when it has returned an error.
	notAllowedRetry = 20 * time.Millisecond
	// maxRequestBytes bounds the records of one request.
	maxRequestBytes = 8 << 20
)

func (d *dispatcher) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer d.stop()
	for {
		// Before the metadata is read: an update that comes in between wakes the dispatcher at once.
		updated := d.producer.client.metadata.updated()
		d.collect()
		timer.Reset(d.dispatchReady(time.Now()))
		select {
		case <-d.producer.wake:
		case <-updated:
			d.retryMoved()
		case <-timer.C:
		case <-d.producer.done:
			return
		}
	}
}

func (d *dispatcher) stop() {
	for _, s := range d.senders {
		s.stop()
	}
	for _, s := range d.senders {
		<-s.ended
	}
}

// collect fetches what the owner and the senders have left for the dispatcher.
func (d *dispatcher) collect() {
	p := d.producer
	p.mu.Lock()
	chunks, results, id := p.handedOver, p.results, p.newID
	p.handedOver, p.results, p.newID = nil, nil, nil
	var additions []addResult
	if p.transactions != nil {
		additions = d.collectTransactions(p.transactions)
	}
	p.mu.Unlock()
	if id != nil {
		d.identity, d.requestingIdentity = id, false
	}
	for _, ck := range chunks {
		ck.partition.queue = append(ck.partition.queue, ck)
		if p.transactions != nil {
			d.know(ck.partition)
		}
		d.enqueue(ck.partition)
	}
	for _, r := range additions {
		d.added(r)
	}
	for _, r := range results {
		d.handleResult(r)
	}
	// Only a result resolves records.
	if len(results) > 0 {
		p.mu.Lock()
		p.completeTickets()
		p.mu.Unlock()
		signal(p.space)
	}
}

// enqueue makes a partition ready if it has something to be written and nothing under way (keeps 3).
func (d *dispatcher) enqueue(part *producePartition) {
	if !part.queued && !part.inFlight && d.sendable(part) {
		part.queued = true
		d.ready = append(d.ready, part)
	}
}

// sendable reports whether the partition has something to be written, of the transaction that is open where there are
// transactions.
func (d *dispatcher) sendable(part *producePartition) bool {
	return len(part.retries) > 0 || len(part.queue) > 0 && part.queue[0].ticket.transaction.Load() == d.open
}

// retryMoved ends the backoff of partitions whose leader has changed.
func (d *dispatcher) retryMoved() {
	for _, part := range d.ready {
		if lead, err := d.producer.client.metadata.leader(part.TopicPartition); err == nil && lead != part.lastLeader {
			part.retryAt = time.Time{}
		}
	}
}

// dispatchReady passes to senders what can be written now, and returns when to try the rest again.
func (d *dispatcher) dispatchReady(now time.Time) time.Duration {
	next := time.Hour
	if len(d.ready) == 0 || d.producer.brokenErr() != nil {
		return next
	}
	if d.producer.cfg.Allowed != nil && d.producer.cfg.Allowed() != nil {
		return notAllowedRetry
	}
	waiting := d.ready[:0]
	requests := map[*sender]*produceRequest{}
	for _, part := range d.ready {
		// Its batches were refused while it waited.
		if !d.sendable(part) {
			part.queued = false
			continue
		}
		s, wait := d.route(part, now)
		if s != nil && s.hasRoom() && d.addToRequest(requests, s, part) {
			continue
		}
		// A sender without room needs no timer: it wakes the dispatcher with a result.
		if s == nil {
			next = min(next, wait)
		}
		waiting = append(waiting, part)
	}
	clear(d.ready[len(waiting):])
	d.ready = waiting
	for s, r := range requests {
		s.enqueue(r)
	}
	d.addPartitions()
	return next
}

// route returns the sender of the partition's leader, or none and how long to wait.
func (d *dispatcher) route(part *producePartition, now time.Time) (*sender, time.Duration) {
	if w := part.retryAt.Sub(now); w > 0 {
		return nil, w
	}
	if part.identity == nil && !d.ensureIdentity(part) {
		return nil, time.Hour // requestIdentity wakes the dispatcher
	}
	if d.open != nil && part.transaction != d.open {
		d.wantPartition(part)
		return nil, time.Hour // the coordinator's answer wakes the dispatcher
	}
	lead, err := d.producer.client.metadata.leader(part.TopicPartition)
	if err != nil {
		d.producer.client.metadata.refresh(part.Topic)
		d.postpone(part, err, d.producer.client.metadata.lookupTime(part.Topic))
		return nil, part.retryAt.Sub(now)
	}
	part.lastLeader = lead
	s := d.senders[lead.addr]
	if s == nil {
		s = newSender(d.producer, lead.addr)
		d.senders[lead.addr] = s
	}
	return s, 0
}

// addToRequest adds the partition's next batch to the request for s, and reports false when that is
// full.
func (d *dispatcher) addToRequest(requests map[*sender]*produceRequest, s *sender, part *producePartition) bool {
	r := requests[s]
	if r == nil {
		r = &produceRequest{}
		requests[s] = r
	}
	if r.bytes >= maxRequestBytes {
		return false
	}
	b := part.nextBatch()
	b.assignSequence(&part.sendState)
	part.inFlight, part.queued = true, false
	r.batches = append(r.batches, b)
	r.bytes += b.maxSize
	return true
}

// nextBatch returns the batch that is to be retried, or makes one of as many chunks as fit.
func (part *producePartition) nextBatch() *batch {
	if len(part.retries) > 0 {
		b := part.retries[0]
		part.retries = part.retries[1:]
		return b
	}
	b := &batch{partition: part}
	n := 0
	for _, ck := range part.queue {
		// A chunk whose offset is to be checked begins a batch: the broker says where a batch begins, not
		// where a record is.
		// Nor does a batch have records of two transactions (keeps 4).
		if n > 0 && (b.maxSize+ck.maxSize > part.maxBytes || ck.expectedOffset >= 0 ||
			ck.ticket.transaction.Load() != part.queue[0].ticket.transaction.Load()) {
			break
		}
		b.add(ck.all())
		n++
	}
	clear(part.queue[:n])
	part.queue = part.queue[n:]
	return b
}

// ensureIdentity reports whether the partition has an identity now. If there is none to have, it is
// requested.
func (d *dispatcher) ensureIdentity(part *producePartition) bool {
	if d.identity != nil {
		part.identity, part.sequence = d.identity, 0
		return true
	}
	if !d.requestingIdentity && d.producer.transactions == nil { // a transactor has Begin ask for one
		d.requestingIdentity = true
		d.producer.wg.Go(d.producer.requestIdentity)
	}
	return false
}

// requestIdentity asks for a producer id until it gets one or must not have one.
func (p *producer) requestIdentity() {
	for n := 0; ; n++ {
		id, err := p.newIdentity()
		p.mu.Lock()
		p.newID, p.idErr = id, err
		p.mu.Unlock()
		if isNotAuthorized(err) {
			p.fail(err)
		}
		if err == nil || isNotAuthorized(err) {
			signal(p.wake)
			return
		}
		p.client.cfg.Logger.Debug("millstream: asking for a producer id failed", "error", err)
		if !sleep(p.client.cfg.backoff(n), p.done, nil) {
			return
		}
	}
}

// newIdentity makes one request for a producer id.
func (p *producer) newIdentity() (id *identity, err error) {
	err = p.pool.withToken(context.Background(), func(ctx context.Context) error {
		return p.pool.requestAny(ctx, func(cn *conn, b *ibm.Broker) error {
			resp, err := b.InitProducerID(&ibm.InitProducerIDRequest{Version: cn.version(apiInitProducerID, 4),
				TransactionTimeout: time.Minute, ProducerID: -1, ProducerEpoch: -1})
			if err != nil {
				return err
			}
			if err := codeError(resp.Err); err != nil {
				return err
			}
			id = &identity{resp.ProducerID, resp.ProducerEpoch}
			return nil
		})
	})
	return id, err
}

// fail ends the producer's work: what is not acknowledged fails with err.
func (p *producer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
	}
	p.failTickets(err)
	signal(p.space)
}

// postpone sets the next try after a backoff. at is when the broker said what err says.
func (d *dispatcher) postpone(part *producePartition, err error, at time.Time) {
	part.retryAt = time.Now().Add(d.producer.client.cfg.backoff(part.attempts))
	part.attempts++
	if part.unknown.note(err, at); part.unknown.confirmed(d.producer.client.cfg.UnknownTopicTimeout) {
		d.refuseQueued(part, err)
	}
	if part.attempts > 1 && d.sendable(part) { // no topic is known before it is first looked up
		d.producer.mu.Lock()
		d.producer.unhealthy[part] = err
		d.producer.mu.Unlock()
	}
}

var _ kafka.Producer = (*producer)(nil)
