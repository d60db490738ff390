package sarama

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// producer writes records in batches, each record once. Its owner, the goroutine that calls it,
// fills chunks (produce_chunk.go), one for each partition, and hands them over. The dispatcher
// makes batches of them (produce_dispatch.go) and decides by the broker's response what becomes of
// each (produce_response.go). A sender for each broker does the network (produce_sender.go).
type producer struct {
	client      *Client
	cfg         kafka.ProduceConfig
	compression recordbatch.Compression
	pool        *connPool // producer ids, limits of topics
	// transactions is what a transactor has beside; nil: records are in no transactions.
	transactions *transactions

	// The owner's.
	partitions     map[kafka.TopicPartition]*producePartition
	lastPartition  *producePartition
	openPartitions []*producePartition // with an open chunk
	sentBytes      int64               // of all records that Send has queued

	resolvedBytes atomic.Int64 // of those whose fate is known

	mu         sync.Mutex
	current    *ticketState   // of records queued now
	tickets    []*ticketState // open ones, oldest first; the last is current
	handedOver []*chunk       // not collected by the dispatcher yet
	free       []*chunk
	freeBytes  int
	results    []result
	newID      *identity // not collected by the dispatcher yet
	idErr      error     // why there is no new one
	ends       map[kafka.TopicPartition]int64
	unhealthy  map[*producePartition]error
	broken     error // why the producer cannot go on

	wake      chan struct{} // the dispatcher's
	space     chan struct{} // the owner's
	done      chan struct{}
	closeOnce sync.Once
	wg        sync.WaitGroup
}

// producePartition is a partition being written.
type producePartition struct {
	kafka.TopicPartition

	// The owner's.
	openChunk              *chunk
	expectedOffset         int64 // of the first record of the next chunk
	limits                 *topicLimits
	checkedFrom, checkedTo int64 // times of records that need not be checked

	sendState // the dispatcher's
}

func newProducer(c *Client, cfg kafka.ProduceConfig, t *transactions) (*producer, error) {
	defaultTo(&cfg.BatchBytes, 256<<10)
	defaultTo(&cfg.BufferBytes, 8<<20)
	defaultTo(&cfg.Compression, "none")
	p := &producer{client: c, cfg: cfg, pool: newConnPool(c), partitions: map[kafka.TopicPartition]*producePartition{},
		current: newTicketState(), ends: map[kafka.TopicPartition]int64{}, unhealthy: map[*producePartition]error{},
		wake: make(chan struct{}, 1), space: make(chan struct{}, 1), done: make(chan struct{})}
	p.tickets = []*ticketState{p.current}
	if p.transactions = t; t != nil {
		t.begin(p, nil)
	}
	var err error
	if p.compression, err = recordbatch.ParseCompression(cfg.Compression); err != nil {
		return nil, fmt.Errorf("kafka: compression: %w", err)
	}
	p.wg.Go((&dispatcher{producer: p, senders: map[string]*sender{}}).run)
	return p, nil
}

// Send queues a record. It is called for each record that an application writes, so it locks
// nothing and asks no broker unless the record is out of the ordinary.
func (p *producer) Send(ctx context.Context, tp kafka.TopicPartition, record kafka.ProduceRecord) error {
	// Records come in runs of one partition: comparing costs less than the map.
	part := p.lastPartition
	if part == nil || part.TopicPartition != tp {
		part = p.partition(tp)
	}
	if record.Time < -1 {
		return fmt.Errorf("kafka: a record's time is %d; it must be -1 (none) or a time since 1970", record.Time)
	}
	if record.Time < part.checkedFrom || record.Time > part.checkedTo {
		if err := p.checkTime(ctx, part, record.Time); err != nil {
			return err
		}
	}
	size := recordbatch.MaxRecordSize(&record)
	if size > uncheckedSize {
		if err := p.checkSize(ctx, part, size); err != nil {
			return err
		}
	}
	// The buffer is full: the owner waits, so that it reads no faster than the brokers accept.
	if p.sentBytes-p.resolvedBytes.Load()+int64(size) > int64(p.cfg.BufferBytes) {
		if err := p.waitForRoom(ctx, int64(size)); err != nil {
			return err
		}
	}
	// A chunk becomes part of one batch, so it must not outgrow one.
	if part.openChunk == nil || part.openChunk.maxSize+size > p.cfg.BatchBytes {
		if err := p.openChunk(part); err != nil {
			return err
		}
	}
	part.openChunk.reserve(size, p.cfg.BatchBytes)
	part.openChunk.add(&record, size)
	p.sentBytes += int64(size)
	return nil
}

func (p *producer) partition(tp kafka.TopicPartition) *producePartition {
	part := p.partitions[tp]
	if part == nil {
		part = &producePartition{TopicPartition: tp, expectedOffset: -1,
			sendState: sendState{nextOffset: -1, maxBytes: p.cfg.BatchBytes}}
		p.partitions[tp] = part
	}
	p.lastPartition = part
	return part
}

// openChunk opens another chunk of the partition, whose full one is handed over.
func (p *producer) openChunk(part *producePartition) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	if part.openChunk != nil {
		p.handOver(part)
		signal(p.wake)
	} else {
		p.openPartitions = append(p.openPartitions, part)
	}
	ck := p.newChunk()
	ck.partition, ck.ticket, ck.expectedOffset, ck.endOffset = part, p.current, part.expectedOffset, -1
	part.openChunk, part.expectedOffset = ck, -1
	return nil
}

// handOver passes the partition's open chunk to the dispatcher. Under mu.
func (p *producer) handOver(part *producePartition) {
	part.openChunk.ticket.unresolved++
	p.handedOver = append(p.handedOver, part.openChunk)
	part.openChunk = nil
}

// handOverAll hands over every open chunk. Under mu.
func (p *producer) handOverAll() {
	for _, part := range p.openPartitions {
		if part.openChunk != nil {
			p.handOver(part)
		}
	}
	clear(p.openPartitions)
	p.openPartitions = p.openPartitions[:0]
}

// Flush starts to write what is queued.
func (p *producer) Flush() {
	if len(p.openPartitions) == 0 {
		return
	}
	// What waits for a transaction to end cannot be sent. Handed over at each Flush, it would lie in many chunks that are
	// nearly empty: ten times its memory. The next Cut hands it over, or a Flush after that end.
	if p.transactions != nil && p.transactions.isCut() {
		return
	}
	p.mu.Lock()
	p.handOverAll()
	p.mu.Unlock()
	signal(p.wake)
}

// waitForRoom waits until n more bytes may be queued.
func (p *producer) waitForRoom(ctx context.Context, n int64) error {
	// What is in open chunks would never make room by itself.
	p.Flush()
	for waits := false; ; {
		// A record larger than the buffer goes alone: it would wait forever.
		queued := p.sentBytes - p.resolvedBytes.Load()
		if p.transactions != nil {
			// What waits for an earlier transaction does not count: the caller may be who ends that.
			queued -= p.transactions.waiting(p.sentBytes)
		}
		if queued == 0 || queued+n <= int64(p.cfg.BufferBytes) {
			return nil
		}
		if p.cfg.OnNoRoom != nil && !waits {
			waits = true
			p.cfg.OnNoRoom(true)
			defer p.cfg.OnNoRoom(false)
		}
		select {
		case <-p.space:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return kafka.ErrClosed
		}
		if err := p.brokenErr(); err != nil {
			return err
		}
	}
}

func (p *producer) brokenErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// Expect notes which offset the next record of tp should get.
func (p *producer) Expect(tp kafka.TopicPartition, offset int64) {
	part := p.partition(tp)
	if part.openChunk != nil {
		p.Flush() // the offset is of the first record of a chunk
	}
	part.expectedOffset = offset
}

// Healthy returns why something cannot be written at present.
func (p *producer) Healthy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	for _, err := range p.unhealthy {
		return err
	}
	return p.idErr
}

// Close fails what is not acknowledged.
func (p *producer) Close() {
	p.closeOnce.Do(func() {
		close(p.done)
		p.pool.close()
		p.wg.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.broken == nil {
			p.broken = kafka.ErrClosed
		}
		p.failTickets(kafka.ErrClosed)
	})
}

// drop drops all records whose fate is not known, with err for their tickets, and has the producer begin again. The
// owner's, under mu.
func (p *producer) drop(err error) {
	p.failTickets(err)
	p.current = newTicketState()
	p.tickets = []*ticketState{p.current}
	for _, part := range p.openPartitions {
		part.openChunk = nil
	}
	clear(p.openPartitions)
	p.openPartitions, p.handedOver = p.openPartitions[:0], nil
	if !errors.Is(p.broken, kafka.ErrClosed) {
		p.broken = nil
	}
	clear(p.unhealthy)
	p.idErr = nil
	p.resolvedBytes.Store(p.sentBytes)
}
