package sarama

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// denials is how often in a row a broker may say that it does not lead a partition, against what metadata says, before the
// connection is taken to be to somebody else.
const denials = 4

// judge decides what becomes of the batches of a request.
func (d *dispatcher) judge(r result) {
	r.from.inflight--
	for _, b := range r.req.batches {
		b.part.flying = false
		switch {
		case r.broken:
			d.p.breakDown(r.err)
			return
		case r.held:
			b.part.again = append([]*batch{b}, b.part.again...)
			b.part.retry = time.Now().Add(hold)
		case r.err != nil:
			d.again(b, r.err, r.sent)
		default:
			block := r.resp.GetBlock(b.part.Topic, b.part.Partition)
			d.answer(b, block)
			if block != nil && moved(block.Err) && b.part.attempts >= denials {
				r.from.renew.Store(true)
			}
		}
		d.list(b.part)
	}
}

func (d *dispatcher) answer(b *batch, block *sarama.ProduceResponseBlock) {
	if block == nil {
		d.again(b, sarama.ErrIncompleteResponse, true)
		return
	}
	err := failure(block.Err)
	switch block.Err {
	case sarama.ErrNoError, sarama.ErrDuplicateSequenceNumber:
		d.accept(b, block.Offset)
	case sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge:
		d.tooLarge(b, err)
	case sarama.ErrOutOfOrderSequenceNumber, sarama.ErrUnknownProducerID, sarama.ErrInvalidProducerEpoch, sarama.ErrProducerFenced,
		sarama.ErrInvalidProducerIDMapping:
		d.outOfSequence(b, err)
	case sarama.ErrInvalidRecord, sarama.ErrInvalidTimestamp, sarama.ErrInvalidMessage:
		d.invalid(b, block, err)
	case sarama.ErrRequestTimedOut, sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrNetworkException, sarama.ErrKafkaStorageError,
		sarama.ErrUnknown:
		d.again(b, err, true)
	default:
		if transient(err) || moved(block.Err) {
			d.again(b, err, false)
			return
		}
		d.refuse(b, err)
	}
}

// again sends b once more, first of its partition (keeps 3). maybe says that it may have been appended.
func (d *dispatcher) again(b *batch, err error, maybe bool) {
	o := b.part
	b.maybe = b.maybe || maybe
	o.again = append([]*batch{b}, o.again...)
	d.p.c.meta.refresh(o.Topic)
	d.postpone(o, fmt.Errorf("%s: %w", o.TopicPartition, err), time.Now())
}

// accept settles a batch that is in the log at base; -1 is a duplicate of which the broker does not remember the offset.
func (d *dispatcher) accept(b *batch, base int64) {
	o := b.part
	o.attempts, o.retry, o.unknown, o.resets = 0, time.Time{}, missing{}, 0
	o.seq = after(b.seq, b.count)
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	delete(d.p.sick, o)
	first := b.spans[0]
	if first.from == 0 && first.k.expect >= 0 {
		o.next = first.k.expect
	}
	if o.next >= 0 && base >= 0 && base != o.next {
		c := first.k.cut
		c.foreign = append(c.foreign, kafka.ForeignWrite{TopicPartition: o.TopicPartition, From: o.next, To: base})
	}
	if o.next >= 0 {
		o.next = -1
		if base >= 0 {
			o.next = base + int64(b.count)
		}
	}
	at := base
	for _, s := range b.spans {
		at += int64(s.count())
		if base >= 0 {
			s.k.end = at
		}
		d.p.settle(s.k, s.count())
	}
}

// settle counts n records of k as decided; when all are, k is used again. Under mu.
func (p *producer) settle(k *chunk, n int) {
	if k.left -= n; k.left > 0 {
		return
	}
	c := k.cut
	c.open--
	if k.end >= 0 {
		c.ends[k.part.TopicPartition] = k.end
	}
	p.acked.Add(int64(k.size))
	p.recycle(k)
}

// recycle keeps k's memory for another chunk, up to half of what the producer may hold anyway. Under mu.
func (p *producer) recycle(k *chunk) {
	k.reset()
	if m := cap(k.bytes); p.freeBytes+m <= p.cfg.BufferBytes/2 {
		p.free = append(p.free, k)
		p.freeBytes += m
	}
}

// fresh returns a chunk to be filled. Under mu.
func (p *producer) fresh() *chunk {
	n := len(p.free)
	if n == 0 {
		return &chunk{}
	}
	k := p.free[n-1]
	p.free = p.free[:n-1]
	p.freeBytes -= cap(k.bytes)
	return k
}

// tooLarge sends the halves of a batch that its topic does not take, and remembers to make smaller ones. A single record is
// refused.
func (d *dispatcher) tooLarge(b *batch, err error) {
	o := b.part
	if b.count == 1 {
		d.refuse(b, err)
		return
	}
	if b.maybe {
		d.ambiguous(b, err)
		return
	}
	o.max = max(min(o.max, b.bytes)/2, 1<<10)
	x, y := b.halves()
	o.again = append([]*batch{x, y}, o.again...)
}

// outOfSequence begins anew with a fresh producer id when the batch is known not to be in the log: nothing of this partition is
// under way besides it, so nothing can be lost or come twice. When an attempt may have been appended nobody can tell; then the
// producer ends.
func (d *dispatcher) outOfSequence(b *batch, err error) {
	o := b.part
	if b.maybe || o.resets >= 5 {
		d.ambiguous(b, err)
		return
	}
	o.resets++
	d.p.c.cfg.Logger.Warn("kafka: the broker has forgotten our sequence, beginning anew", "partition", o.TopicPartition.String(), "error", err)
	d.forget(o, b.ident)
	o.again = append([]*batch{b}, o.again...)
}

// forget takes the partition's identity away. Others that use it keep it.
func (d *dispatcher) forget(o *outPart, id *identity) {
	if d.ident == id {
		d.ident = nil
	}
	o.ident = nil
}

// ambiguous ends the producer: the batch may be in the log or not, and no further attempt can tell.
func (d *dispatcher) ambiguous(b *batch, err error) {
	d.p.breakDown(fmt.Errorf("%s: %w: %d of them: %w", b.part.TopicPartition, kafka.ErrUncertain, b.count, err))
}

// invalid refuses the records that the broker named and sends the rest; where it names none it looks for them by halves.
func (d *dispatcher) invalid(b *batch, block *sarama.ProduceResponseBlock, err error) {
	if b.maybe {
		d.ambiguous(b, err)
		return
	}
	if block.ErrorMessage != nil {
		err = fmt.Errorf("%w: %s", err, *block.ErrorMessage)
	}
	bad := map[int32]bool{}
	for _, e := range block.RecordErrors {
		if int(e.BatchIndex) < b.count && e.BatchIndex >= 0 {
			bad[e.BatchIndex] = true
		}
	}
	o := b.part
	switch {
	case b.count == 1:
		d.refuse(b, err)
	case len(bad) == 0:
		x, y := b.halves()
		o.again = append([]*batch{x, y}, o.again...)
	default:
		d.refuseSome(b, bad, err)
	}
}

func (d *dispatcher) refuseSome(b *batch, bad map[int32]bool, err error) {
	good := map[int32]bool{}
	for i := range int32(b.count) {
		good[i] = !bad[i]
	}
	rest := b.without(bad)
	d.refuse(b.without(good), err)
	if rest.count > 0 {
		b.part.again = append([]*batch{rest}, b.part.again...)
	}
}

// refuse gives up the records of b. If an attempt may have been appended its sequence is spent: a new batch under the same
// sequence could be taken for the old one and dropped.
func (d *dispatcher) refuse(b *batch, err error) {
	o := b.part
	if b.maybe {
		d.forget(o, b.ident)
	}
	err = fmt.Errorf("%s: %w", o.TopicPartition, err)
	b.each(func(one span) { d.refuseRecord(one, err) })
}

func (d *dispatcher) refuseRecord(one span, err error) {
	p, k := d.p, one.k
	handled := p.cfg.OnFailure != nil &&
		p.cfg.OnFailure(kafka.ProduceFailure{TopicPartition: k.part.TopicPartition, Record: produced(one.bytes()), Err: err})
	p.mu.Lock()
	defer p.mu.Unlock()
	if !handled {
		k.cut.fail(err)
	}
	p.settle(k, 1)
}

// refuseNext gives up the next batch of a partition whose topic is gone.
func (d *dispatcher) refuseNext(o *outPart, err error) {
	if !o.flying && (len(o.again) > 0 || len(o.queue) > 0) {
		d.refuse(o.takeBatch(), err)
		d.p.mu.Lock()
		d.p.finish()
		d.p.mu.Unlock()
	}
}
