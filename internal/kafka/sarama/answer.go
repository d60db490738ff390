package sarama

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// fail ends a partition for good.
func (r *reader) fail(p *fetchPart, err error) {
	r.f.mu.Lock()
	delete(r.parts, p)
	r.f.mu.Unlock()
	r.f.give(p, err)
}

// lost gives all partitions back to the router: the broker cannot be reached.
func (r *reader) lost(err error) {
	var topics []string
	r.f.mu.Lock()
	for p := range r.parts {
		r.f.back(p, err)
		topics = append(topics, p.Topic)
	}
	clear(r.parts)
	r.f.mu.Unlock()
	r.f.c.meta.refresh(topics...)
}

// refused gives one partition back.
func (r *reader) refused(p *fetchPart, err error) {
	r.f.mu.Lock()
	if p.at == r {
		delete(r.parts, p)
		r.f.back(p, err)
	}
	denied := p.attempts >= denials
	r.f.mu.Unlock()
	if l := r.l.Load(); denied && l != nil {
		l.cut() // metadata says that it leads: perhaps this is not who we think
	}
	r.f.c.meta.refresh(p.Topic)
}

// answer handles what a response holds of p.
func (r *reader) answer(l *link, p *fetchPart, f *fetched) {
	err := failure(f.code)
	switch {
	case err == nil && f.replica >= 0:
		r.near(p, f.replica)
	case err == nil:
		r.data(p, f)
	case f.code == sarama.ErrOffsetOutOfRange && p.replica == nobody: // the leader's word counts
		r.outOfRange(l, p)
	case f.code == sarama.ErrOffsetOutOfRange:
		r.refused(p, failure(sarama.ErrOffsetNotAvailable))
	case moved(f.code), transient(err), f.code == sarama.ErrUnknown:
		r.refused(p, err)
	default:
		r.fail(p, fmt.Errorf("%s: %w", p.TopicPartition, err))
	}
}

func (r *reader) data(p *fetchPart, f *fetched) {
	d := decoder{committed: r.f.cfg.Isolation == kafka.ReadCommitted, pos: p.pos, inflate: &r.inflate, names: r.names}
	batch, err := d.decode(f)
	r.cured(p)
	if batch.Next == p.pos && (err != nil || p.pos < d.limit(f)) {
		r.stuck(p, &d, err)
	} else {
		p.max, p.corrupt = r.f.cfg.PartitionBytes, 0
	}
	if batch.Next == p.pos && p.greeted {
		return
	}
	batch.TopicPartition = p.TopicPartition
	r.deliver(p, batch)
}

// stuck handles an answer that brought nothing although there is something: a corrupt batch, which is asked for again in case
// only the answer was, or one that is larger than what was asked for. Brokers send a batch of any size where it comes first in
// a response, but that may not be soon.
func (r *reader) stuck(p *fetchPart, d *decoder, err error) {
	if err == nil && (!d.partial || p.max < most) {
		p.max = min(p.max, most/2) * 2
		return
	}
	if err == nil {
		err = fmt.Errorf("%w: larger than %d bytes", errCorrupt, most)
	}
	if p.corrupt++; p.corrupt >= 3 || errors.Is(err, errFormat) {
		r.fail(p, fmt.Errorf("%s, offset %d: %w", p.TopicPartition, p.pos, err))
	}
}

// most is the largest batch that is fetched.
const most = 1 << 30

// cured forgets a partition's troubles.
func (r *reader) cured(p *fetchPart) {
	r.f.mu.Lock()
	if p.at == r {
		p.err, p.attempts, p.unknown = nil, 0, missing{}
	}
	r.f.mu.Unlock()
}

// deliver hands a batch over, unless the partition was removed in the meantime (keeps 5).
func (r *reader) deliver(p *fetchPart, b *kafka.Batch) {
	p.deliver.Lock()
	defer p.deliver.Unlock()
	if p.gone {
		return
	}
	p.greeted, p.probes = true, 0
	p.pos = b.Next
	p.buffered.Add(int64(b.Bytes))
	p.sink.Deliver(b)
}

// outOfRange asks what the log holds. An offset that is in the log after all (a new leader may answer before it knows its end)
// is asked for again, and so is one beyond the end: a broker that stops or starts may answer without its log.
func (r *reader) outOfRange(l *link, p *fetchPart) {
	start, err := r.end(l, p, kafka.Earliest)
	if err != nil {
		r.refused(p, err)
		return
	}
	end, err := r.end(l, p, kafka.Latest)
	if err != nil {
		r.refused(p, err)
		return
	}
	if p.pos >= start && p.pos <= end && p.probes < 5 || p.pos > end && p.probes < 3 {
		p.probes++
		r.refused(p, failure(sarama.ErrOffsetNotAvailable))
		return
	}
	r.fail(p, &kafka.OffsetOutOfRange{TopicPartition: p.TopicPartition, Wanted: p.pos, Start: start, End: end})
}

func (r *reader) end(l *link, p *fetchPart, at int64) (int64, error) {
	return exchange(r.ctx, l, r.f.c.cfg.RequestTimeout, func(b *sarama.Broker) (int64, error) {
		req := &sarama.OffsetRequest{Version: l.version(apiListOffsets, 6)}
		req.AddBlock(p.Topic, p.Partition, at, 1)
		resp, err := b.GetAvailableOffsets(req)
		if err != nil {
			return 0, err
		}
		block := resp.GetBlock(p.Topic, p.Partition)
		if block == nil {
			return 0, sarama.ErrIncompleteResponse
		}
		if block.Err != sarama.ErrNoError {
			return 0, failure(block.Err)
		}
		return block.Offset, nil
	})
}
