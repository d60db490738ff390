package sarama

import (
	"context"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// dispatcher is the goroutine that owns what is under way: it makes batches, sends each to the leader of its partition, one at
// a time per partition (invariant 3), and decides what an answer means (verdict.go).
type dispatcher struct {
	p       *producer
	ready   []*outPart // with something to send
	senders map[string]*sender
	ident   *identity // for partitions that have none
	asking  bool      // an identity is being asked for
}

// lane is the dispatcher's side of a partition.
type lane struct {
	queue  []*chunk
	again  []*batch // to be sent before the queue, in this order
	flying bool
	listed bool // in dispatcher.ready

	ident *identity
	seq   int32
	next  int64 // the offset that the next record should get; -1: not checked
	max   int   // bytes of a batch; less than BatchBytes where the topic takes less

	attempts int
	retry    time.Time
	asked    leader // who refused last
	unknown  missing
	resets   int // identities given up since the last success
}

// hold is how long a refusal of Allowed lasts before it is asked again.
const hold = 20 * time.Millisecond

// requestLimit bounds the records of one request.
const requestLimit = 8 << 20

func (d *dispatcher) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer d.stop()
	for {
		updated := d.p.c.meta.updated()
		d.collect()
		timer.Reset(d.send(time.Now()))
		select {
		case <-d.p.wake:
		case <-updated:
			d.reconsider()
		case <-timer.C:
		case <-d.p.done:
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

// collect takes what the owner and the senders have left.
func (d *dispatcher) collect() {
	p := d.p
	p.mu.Lock()
	handed, results, id := p.handed, p.results, p.id
	p.handed, p.results, p.id = nil, nil, nil
	p.mu.Unlock()
	if id != nil {
		d.ident, d.asking = id, false
	}
	for _, k := range handed {
		k.part.queue = append(k.part.queue, k)
		d.list(k.part)
	}
	for _, r := range results {
		d.judge(r)
	}
	if len(results) > 0 {
		p.mu.Lock()
		p.finish()
		p.mu.Unlock()
		poke(p.space)
	}
}

// list puts a partition among those with something to send.
func (d *dispatcher) list(o *outPart) {
	if !o.listed && !o.flying && (len(o.queue) > 0 || len(o.again) > 0) {
		o.listed = true
		d.ready = append(d.ready, o)
	}
}

// reconsider cuts the wait of partitions short whose leader has changed.
func (d *dispatcher) reconsider() {
	for _, o := range d.ready {
		if l, err := d.p.c.meta.leader(o.TopicPartition); err == nil && l != o.asked {
			o.retry = time.Time{}
		}
	}
}

// send starts what can be started and returns when to look again.
func (d *dispatcher) send(now time.Time) time.Duration {
	next := time.Hour
	if len(d.ready) == 0 || d.p.failed() != nil {
		return next
	}
	if d.p.cfg.Allowed != nil && d.p.cfg.Allowed() != nil {
		return hold
	}
	keep := d.ready[:0]
	reqs := map[*sender]*request{}
	for _, o := range d.ready {
		if len(o.queue) == 0 && len(o.again) == 0 {
			o.listed = false
			continue
		}
		s, wait := d.route(o, now)
		if s != nil && s.room() && d.put(reqs, s, o) {
			continue
		}
		if s == nil {
			next = min(next, wait)
		}
		keep = append(keep, o)
	}
	clear(d.ready[len(keep):])
	d.ready = keep
	for s, r := range reqs {
		s.send(r)
	}
	return next
}

// route finds who is to be sent to, or how long to wait.
func (d *dispatcher) route(o *outPart, now time.Time) (*sender, time.Duration) {
	if w := o.retry.Sub(now); w > 0 {
		return nil, w
	}
	if o.ident == nil && !d.identify(o) {
		return nil, time.Hour // identify wakes us
	}
	l, err := d.p.c.meta.leader(o.TopicPartition)
	if err != nil {
		d.p.c.meta.refresh(o.Topic)
		d.postpone(o, err, d.p.c.meta.learned(o.Topic))
		return nil, o.retry.Sub(now)
	}
	o.asked = l
	s := d.senders[l.addr]
	if s == nil {
		s = newSender(d.p, l.addr)
		d.senders[l.addr] = s
	}
	return s, 0
}

// put adds o's next batch to the request for s.
func (d *dispatcher) put(reqs map[*sender]*request, s *sender, o *outPart) bool {
	r := reqs[s]
	if r == nil {
		r = &request{}
		reqs[s] = r
	}
	if r.bytes >= requestLimit {
		return false
	}
	b := o.takeBatch()
	b.stamp(&o.lane)
	o.flying, o.listed = true, false
	r.batches = append(r.batches, b)
	r.bytes += b.bytes
	return true
}

// takeBatch returns the batch to be sent again, or makes one of as many chunks as fit.
func (o *outPart) takeBatch() *batch {
	if len(o.again) > 0 {
		b := o.again[0]
		o.again = o.again[1:]
		return b
	}
	b := &batch{part: o}
	n := 0
	for _, k := range o.queue {
		if n > 0 && (b.bytes+k.size > o.max || k.expect >= 0) {
			break
		}
		b.push(k.all())
		n++
	}
	clear(o.queue[:n])
	o.queue = o.queue[n:]
	return b
}

// identify gives o an identity, asking for one if there is none.
func (d *dispatcher) identify(o *outPart) bool {
	if d.ident != nil {
		o.ident, o.seq = d.ident, 0
		return true
	}
	if !d.asking {
		d.asking = true
		d.p.wg.Go(d.p.fetchIdentity)
	}
	return false
}

// fetchIdentity asks for a producer id until it gets one, or is told that it may not have one.
func (p *producer) fetchIdentity() {
	for n := 0; ; n++ {
		id, err := p.newIdentity()
		p.mu.Lock()
		p.id, p.noID = id, err
		p.mu.Unlock()
		if isNotAuthorized(err) {
			p.breakDown(err)
		}
		if err == nil || isNotAuthorized(err) {
			poke(p.wake)
			return
		}
		p.c.cfg.Logger.Debug("kafka: producer id", "error", err)
		if !wait(p.c.cfg.backoff(n), p.done) {
			return
		}
	}
}

func (p *producer) newIdentity() (id *identity, err error) {
	err = p.ask.with(context.Background(), func(ctx context.Context) error {
		id, err = askAny(ctx, p.ask, func(l *link, b *sarama.Broker) (*identity, error) {
			resp, err := b.InitProducerID(&sarama.InitProducerIDRequest{Version: l.version(apiInitProducerID, 4),
				TransactionTimeout: time.Minute, ProducerID: -1, ProducerEpoch: -1})
			if err != nil {
				return nil, err
			}
			if err := failure(resp.Err); err != nil {
				return nil, err
			}
			return &identity{resp.ProducerID, resp.ProducerEpoch}, nil
		})
		return err
	})
	return id, err
}

// breakDown ends the producer's work: what is not acknowledged fails with err.
func (p *producer) breakDown(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
	}
	p.abandon(err)
	poke(p.space)
}

// postpone sets the next try of o after a backoff. The error is an answer of the time at.
func (d *dispatcher) postpone(o *outPart, err error, at time.Time) {
	o.retry = time.Now().Add(d.p.c.cfg.backoff(o.attempts))
	o.attempts++
	if o.unknown.note(err, at); o.unknown.gone(d.p.c.cfg.UnknownTopicTimeout) {
		d.refuseNext(o, err)
	}
	if o.attempts > 1 { // the first look-up of a topic is no trouble
		d.p.mu.Lock()
		d.p.sick[o] = err
		d.p.mu.Unlock()
	}
}

var _ kafka.Producer = (*producer)(nil)
