package sarama

import (
	"errors"
	"fmt"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// maxNotLeader is how often in a row a broker may say that it does not lead a partition, against
// what metadata says, before the connection is assumed to be to another broker.
const maxNotLeader = 4

// handleResult decides what becomes of the batches of a request.
func (d *dispatcher) handleResult(r result) {
	r.sender.inFlight--
	for _, sent := range r.request.batches {
		// An abort came meanwhile, and the partition has begun again.
		if d.producer.transactions != nil && d.producer.isDropped(sent) {
			continue
		}
		sent.partition.inFlight = false
		switch {
		case r.unencodable:
			// It would be as impossible at the next attempt.
			d.producer.fail(r.err)
			return
		case r.notAllowed:
			// Nothing was written, and nobody is at fault: neither an attempt nor an error.
			sent.partition.retries = append([]*batch{sent}, sent.partition.retries...)
			sent.partition.retryAt = time.Now().Add(notAllowedRetry)
		case r.err != nil:
			d.retry(sent, r.err, r.maybeReceived)
		default:
			block := r.response.GetBlock(sent.partition.Topic, sent.partition.Partition)
			d.handlePartition(sent, block)
			// Metadata goes on to name this broker as the leader: perhaps another broker answers at this
			// address.
			if block != nil && isStaleMetadata(block.Err) && sent.partition.attempts >= maxNotLeader {
				r.sender.renewConn.Store(true)
			}
		}
		d.enqueue(sent.partition)
	}
}

// handlePartition decides what becomes of a batch. An error matters by whether the batch can
// be in the log, and whether the same batch can ever be accepted.
func (d *dispatcher) handlePartition(sent *batch, block *ibm.ProduceResponseBlock) {
	if block == nil { // the response does not mention it
		d.retry(sent, ibm.ErrIncompleteResponse, true)
		return
	}
	err := codeError(block.Err)
	switch block.Err {
	case ibm.ErrNoError, ibm.ErrDuplicateSequenceNumber:
		// A duplicate is a batch whose response did not arrive: it is in the log.
		d.accept(sent, block.Offset)
	case ibm.ErrMessageSizeTooLarge, ibm.ErrMessageSetSizeTooLarge:
		// Smaller batches of the same records may be accepted.
		d.tooLarge(sent, err)
	case ibm.ErrOutOfOrderSequenceNumber, ibm.ErrUnknownProducerID, ibm.ErrInvalidProducerEpoch, ibm.ErrProducerFenced,
		ibm.ErrInvalidProducerIDMapping, ibm.ErrInvalidTxnState:
		// The broker has no memory of our producer id or of the batch before, as after retention has
		// removed it.
		d.outOfSequence(sent, err)
	case ibm.ErrInvalidRecord, ibm.ErrInvalidTimestamp, ibm.ErrInvalidMessage:
		// Some of the records can never be accepted, the others can.
		d.invalid(sent, block, err)
	case ibm.ErrRequestTimedOut, ibm.ErrNotEnoughReplicasAfterAppend, ibm.ErrNetworkException, ibm.ErrKafkaStorageError,
		ibm.ErrUnknown:
		// The leader may have appended the batch before it failed.
		d.retry(sent, err, true)
	default:
		// Refused before it was appended: later, or at another broker, the same batch may be accepted.
		if isTransient(err) || isStaleMetadata(block.Err) {
			d.retry(sent, err, false)
			return
		}
		d.refuse(sent, err)
	}
}

// retry has b written once more, before anything else of its partition (keeps 3). maybeAppended
// says that this attempt may be in the log.
func (d *dispatcher) retry(b *batch, err error, maybeAppended bool) {
	part := b.partition
	b.maybeAppended = b.maybeAppended || maybeAppended
	part.retries = append([]*batch{b}, part.retries...)
	d.producer.client.metadata.refresh(part.Topic)
	d.postpone(part, fmt.Errorf("%s: %w", part.TopicPartition, err), time.Now())
}

// accept resolves the records of a batch that is in the log at base; -1 is a duplicate whose offset
// the broker does not remember.
func (d *dispatcher) accept(sent *batch, base int64) {
	part := sent.partition
	part.attempts, part.retryAt, part.unknown, part.resets = 0, time.Time{}, unknownTopic{}, 0
	part.sequence = addSequence(sent.sequence, sent.count)
	d.producer.mu.Lock()
	defer d.producer.mu.Unlock()
	delete(d.producer.unhealthy, part)
	// Who wrote between our batches shows in the offsets: without another writer each batch begins
	// where the one before ended.
	first := sent.spans[0]
	if first.from == 0 && first.chunk.expectedOffset >= 0 {
		part.nextOffset = first.chunk.expectedOffset
	}
	if part.nextOffset >= 0 && base >= 0 && base != part.nextOffset {
		ts := first.chunk.ticket
		ts.foreign = append(ts.foreign,
			kafka.ForeignWrite{TopicPartition: part.TopicPartition, From: part.nextOffset, To: base})
	}
	// After a duplicate without an offset nothing is known until the next expected offset.
	if part.nextOffset >= 0 {
		part.nextOffset = -1
		if base >= 0 {
			part.nextOffset = base + int64(sent.count)
		}
	}
	// Once a chunk is resolved its memory may be another chunk's, so its end comes first.
	at := base
	for _, s := range sent.spans {
		at += int64(s.count())
		if base >= 0 {
			s.chunk.endOffset = at
		}
		d.producer.resolve(s.chunk, s.count())
	}
}

// tooLarge has the halves of a batch written that its topic does not accept, and later batches made
// smaller. A single record is refused.
func (d *dispatcher) tooLarge(b *batch, err error) {
	part := b.partition
	if b.count == 1 {
		d.refuse(b, d.tooLargeError(b, err))
		return
	}
	// Halves would be other batches under the same sequence (keeps 4).
	if b.maybeAppended {
		d.failUncertain(b, err)
		return
	}
	part.maxBytes = max(min(part.maxBytes, b.maxSize)/2, 1<<10)
	first, second := b.halves()
	part.retries = append([]*batch{first, second}, part.retries...)
}

// tooLargeError names the setting of the brokers that a record exceeds.
func (d *dispatcher) tooLargeError(b *batch, err error) error {
	setting := "max.message.bytes, or where it has none of its own, message.max.bytes of the brokers"
	if k, _ := codeOf(err); k == ibm.ErrMessageSetSizeTooLarge {
		setting = "segment.bytes"
	}
	size := fmt.Sprintf("%d bytes", b.maxSize)
	if d.producer.compression != recordbatch.None {
		size += fmt.Sprintf(" before compression by %s", d.producer.compression)
	}
	return fmt.Errorf("the broker refused a record of %s, which exceeds the topic's %s: "+
		"raise it, or write smaller records: %w", size, setting, err)
}

// maxResets is how many identities in a row a partition gets before the producer ends.
const maxResets = 5

// outOfSequence handles a broker that does not know our sequence. A batch that is known not to be
// in the log goes on under another producer id: nothing else of the partition is under way, so no
// record is missing or written twice. Where an attempt may have been appended nobody can tell, and
// the producer ends.
func (d *dispatcher) outOfSequence(b *batch, err error) {
	part := b.partition
	// A transaction is under one identity, which others may have taken: only its abort helps.
	if d.open != nil {
		if errors.Is(err, kafka.ErrFenced) {
			d.producer.failTransaction(b, fmt.Errorf("%s: %w", part.TopicPartition, err))
			return
		}
		d.failUncertain(b, err)
		return
	}
	if b.maybeAppended || part.resets >= maxResets {
		d.failUncertain(b, err)
		return
	}
	part.resets++
	d.producer.client.cfg.Logger.Warn("millstream: the broker no longer has this producer's sequence; the partition "+
		"gets a new producer id",
		"topic", part.Topic, "partition", part.Partition, "error", err)
	d.dropIdentity(part, b.identity)
	part.retries = append([]*batch{b}, part.retries...)
}

// dropIdentity has the partition get another identity. Partitions that use the same one go on with it.
func (d *dispatcher) dropIdentity(part *producePartition, id *identity) {
	if d.identity == id {
		d.identity = nil
	}
	part.identity = nil
}

// failUncertain ends the producer: the batch may be in the log or not, and no further attempt can tell.
func (d *dispatcher) failUncertain(b *batch, err error) {
	err = fmt.Errorf("%s: %w: %d of them: %w", b.partition.TopicPartition, kafka.ErrUncertain, b.count, err)
	if d.open != nil {
		d.producer.failTransaction(b, err)
		return
	}
	d.producer.fail(err)
}

// invalid refuses the records that the broker names and has the others written. Where it names
// none, they are found by halves.
func (d *dispatcher) invalid(sent *batch, block *ibm.ProduceResponseBlock, err error) {
	if sent.maybeAppended {
		d.failUncertain(sent, err)
		return
	}
	if block.ErrorMessage != nil {
		err = fmt.Errorf("%w: %s", err, *block.ErrorMessage)
	}
	// The broker's word is not trusted to name records of the batch.
	bad := map[int32]bool{}
	for _, e := range block.RecordErrors {
		if int(e.BatchIndex) < sent.count && e.BatchIndex >= 0 {
			bad[e.BatchIndex] = true
		}
	}
	part := sent.partition
	switch {
	case sent.count == 1:
		d.refuse(sent, err)
	case len(bad) == 0:
		first, second := sent.halves()
		part.retries = append([]*batch{first, second}, part.retries...)
	default:
		d.refuseSome(sent, bad, err)
	}
}

// refuseSome refuses the records whose indexes are in bad, and has the others written.
func (d *dispatcher) refuseSome(b *batch, bad map[int32]bool, err error) {
	good := map[int32]bool{}
	for i := range int32(b.count) {
		good[i] = !bad[i]
	}
	rest := b.without(bad)
	d.refuse(b.without(good), err)
	if rest.count > 0 {
		b.partition.retries = append([]*batch{rest}, b.partition.retries...)
	}
}

// refuse resolves the records of b as failed. If an attempt may have been appended its sequence is
// used up: another batch under the same sequence would look like it to the broker, and be dropped.
func (d *dispatcher) refuse(b *batch, err error) {
	part := b.partition
	if b.maybeAppended {
		// A transaction has no other identity to go on with.
		if d.open != nil {
			d.failUncertain(b, err)
			return
		}
		d.dropIdentity(part, b.identity)
	}
	err = fmt.Errorf("%s: %w", part.TopicPartition, err)
	b.eachRecord(func(one span) { d.refuseRecord(one, err) })
	// With nothing left to be written, nothing is in the way of it.
	if len(part.retries) == 0 && len(part.queue) == 0 {
		d.producer.mu.Lock()
		delete(d.producer.unhealthy, part)
		d.producer.mu.Unlock()
	}
}

// refuseRecord reports a record to OnFailure. Unless that handles it, its ticket fails.
func (d *dispatcher) refuseRecord(one span, err error) {
	p, ck := d.producer, one.chunk
	handled := p.cfg.OnFailure != nil &&
		p.cfg.OnFailure(kafka.ProduceFailure{TopicPartition: ck.partition.TopicPartition, Record: one.records().First(),
			Err: err})
	p.mu.Lock()
	defer p.mu.Unlock()
	if !handled {
		ck.ticket.fail(err)
	}
	p.resolve(ck, 1)
}

// refuseQueued refuses all that may be sent to a partition which can never be written, as one whose topic does not
// exist any more. It does so outside of a result, so it completes tickets, and wakes an owner that waits for room.
func (d *dispatcher) refuseQueued(part *producePartition, err error) {
	for !part.inFlight && d.sendable(part) {
		d.refuse(part.nextBatch(), err)
	}
	d.producer.mu.Lock()
	d.producer.completeTickets()
	d.producer.mu.Unlock()
	signal(d.producer.space)
}
