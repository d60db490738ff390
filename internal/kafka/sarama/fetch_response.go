package sarama

import (
	"errors"
	"fmt"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// handlePartition handles what a response holds of p.
func (r *reader) handlePartition(cn *conn, p *fetchPartition, fp *fetchedPartition) {
	err := codeError(fp.code)
	switch {
	case err == nil && fp.preferredReplica >= 0:
		// The response holds no records, and none will come from here (KIP-392).
		r.readFromReplica(p, fp.preferredReplica)
	case err == nil:
		r.handleRecords(p, fp)
	case fp.code == ibm.ErrOffsetOutOfRange && p.replica == noReplica:
		r.checkOutOfRange(cn, p)
	case fp.code == ibm.ErrOffsetOutOfRange:
		// A replica may be behind its leader, whose word alone counts.
		r.returnPartition(p, codeError(ibm.ErrOffsetNotAvailable))
	case isStaleMetadata(fp.code), isTransient(err), fp.code == ibm.ErrUnknown:
		r.returnPartition(p, err)
	default:
		r.failPartition(p, fmt.Errorf("%s: %w", p.TopicPartition, err))
	}
}

func (r *reader) handleRecords(p *fetchPartition, fp *fetchedPartition) {
	batches := recordbatch.NewBatches(fp.records, p.position, r.fetcher.cfg.Isolation, fp.aborted)
	r.body.use()
	r.decode(p, &pendingRecords{batches: batches, fetched: fp, body: r.body})
}

// decode delivers a piece of what was fetched of partition, and leaves the rest for decodePending.
func (r *reader) decode(partition *fetchPartition, pending *pendingRecords) {
	partition.pending = nil
	batch, err := r.decoder.Decode(pending.batches, func() bool { return r.claimLarge(partition) })
	r.clearTrouble(partition)
	defer func() {
		if partition.pending != pending {
			pending.body.done()
		}
	}()
	switch {
	case err == recordbatch.ErrLargeBatchWaits:
		// Nobody tells when the other large batch is done with, so it is tried again after a while.
		partition.pending, pending.notBefore = pending, time.Now().Add(largeRetry)
		time.AfterFunc(largeRetry, r.resume)
	case err == nil && pending.batches.More():
		partition.pending = pending
	case batch.Next == partition.position && (err != nil || partition.position < r.visibleEnd(pending.fetched)):
		r.noProgress(partition, pending.batches.Partial(), err)
	}
	// What comes before a batch that cannot be decoded is delivered all the same, and then the count
	// of failures begins again.
	if batch.Next > partition.position {
		partition.maxBytes, partition.corruptFetches = r.fetcher.cfg.PartitionBytes, 0
	}
	// An empty batch is delivered once, so that the sink learns where the log ends; after that it
	// would say nothing new.
	if batch.Next == partition.position && partition.deliveredOnce {
		return
	}
	r.fetcher.recycler.recyclable(batch, pending.body)
	batch.TopicPartition = partition.TopicPartition
	if batch.Unreadable != nil {
		batch.Unreadable.TopicPartition = partition.TopicPartition
	}
	fp := pending.fetched
	batch.HighWatermark, batch.LastStable, batch.LogStart = fp.highWatermark, fp.lastStable, fp.logStart
	r.deliver(partition, batch)
}

// visibleEnd is the end of what may be read: a reader of committed records sees nothing behind an
// open transaction.
func (r *reader) visibleEnd(fp *fetchedPartition) int64 {
	if r.fetcher.cfg.Isolation == kafka.ReadCommitted {
		return fp.lastStable
	}
	return fp.highWatermark
}

// maxPartitionBytes is the largest batch that is fetched.
const maxPartitionBytes = 1 << 30

// noProgress handles a response that brought nothing although there is something.
func (r *reader) noProgress(p *fetchPartition, partial bool, err error) {
	// The batch is larger than what was asked for. A broker sends a batch of any size where it comes
	// first in a response, but with other partitions in front of it that may not be soon, so more is
	// asked for.
	if err == nil && (!partial || p.maxBytes < maxPartitionBytes) {
		p.maxBytes = min(p.maxBytes, maxPartitionBytes/2) * 2
		return
	}
	if err == nil {
		err = fmt.Errorf("%w: larger than %d bytes", recordbatch.ErrCorrupt, maxPartitionBytes)
	}
	// A corrupt batch is asked for again: perhaps only the response was damaged.
	if p.corruptFetches++; p.corruptFetches >= 3 || errors.Is(err, recordbatch.ErrOldFormat) {
		r.failPartition(p, fmt.Errorf("%s, offset %d: %w", p.TopicPartition, p.position, err))
	}
}

// clearTrouble notes that the broker serves p: what went wrong before does not count any more.
func (r *reader) clearTrouble(p *fetchPartition) {
	r.fetcher.mu.Lock()
	if p.reader == r {
		p.lastErr, p.attempts, p.unknown = nil, 0, unknownTopic{}
	}
	r.fetcher.mu.Unlock()
}

// deliver passes a batch to the sink, unless the partition was removed in the meantime (keeps 5).
func (r *reader) deliver(p *fetchPartition, b *kafka.Batch) {
	p.delivery.Lock()
	defer p.delivery.Unlock()
	if p.removed {
		return
	}
	p.deliveredOnce, p.offsetRetries = true, 0
	p.position = b.Next
	p.buffered.Add(int64(b.Bytes))
	p.sink.Deliver(b)
}

// checkOutOfRange fails p if its position is not in the log, after the broker has said so: a false
// alarm would make the runtime begin elsewhere in the log.
func (r *reader) checkOutOfRange(cn *conn, p *fetchPartition) {
	start, err := r.listOffset(cn, p, kafka.Earliest)
	if err != nil {
		r.returnPartition(p, err)
		return
	}
	end, err := r.listOffset(cn, p, kafka.Latest)
	if err != nil {
		r.returnPartition(p, err)
		return
	}
	// A new leader may answer before it knows its end, so a position within the log is asked for
	// again. So is one beyond the end: a broker that stops or starts may answer without its log.
	if p.position >= start && p.position <= end && p.offsetRetries < 5 || p.position > end && p.offsetRetries < 3 {
		p.offsetRetries++
		r.returnPartition(p, codeError(ibm.ErrOffsetNotAvailable))
		return
	}
	r.failPartition(p, &kafka.OffsetOutOfRange{TopicPartition: p.TopicPartition, Wanted: p.position, Start: start,
		End: end})
}

// listOffset asks the broker where the log of p begins or ends.
func (r *reader) listOffset(cn *conn, p *fetchPartition, at int64) (offset int64, err error) {
	err = cn.roundTrip(r.ctx, r.fetcher.client.cfg.RequestTimeout, func(b *ibm.Broker) error {
		req := &ibm.OffsetRequest{Version: cn.version(apiListOffsets, 6)}
		req.AddBlock(p.Topic, p.Partition, at, 1)
		resp, err := b.GetAvailableOffsets(req)
		if err != nil {
			return err
		}
		offset, err = listedOffset(resp, p.TopicPartition)
		return err
	})
	return offset, err
}

// failPartition ends a partition: its sink learns of err.
func (r *reader) failPartition(p *fetchPartition, err error) {
	r.fetcher.mu.Lock()
	delete(r.partitions, p)
	r.fetcher.mu.Unlock()
	r.fetcher.failPartition(p, err)
}

// returnAll passes all partitions back to the router: the broker cannot be reached.
func (r *reader) returnAll(err error) {
	var topics []string
	r.fetcher.mu.Lock()
	for p := range r.partitions {
		r.fetcher.returnPartition(p, err)
		topics = append(topics, p.Topic)
	}
	clear(r.partitions)
	r.fetcher.mu.Unlock()
	r.fetcher.client.metadata.refresh(topics...)
}

// returnPartition passes one partition back to the router.
func (r *reader) returnPartition(p *fetchPartition, err error) {
	r.fetcher.mu.Lock()
	if p.reader == r {
		delete(r.partitions, p)
		r.fetcher.returnPartition(p, err)
	}
	denied := p.attempts >= maxNotLeader
	r.fetcher.mu.Unlock()
	// Metadata goes on to name this broker as the leader: perhaps another broker answers at this address.
	if cn := r.conn.Load(); denied && cn != nil {
		cn.kill()
	}
	r.fetcher.client.metadata.refresh(p.Topic)
}
