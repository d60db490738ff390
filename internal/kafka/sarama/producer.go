package sarama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// producer writes record batches of its own making. Its owner fills chunks, one open for each partition, and hands them over;
// the dispatcher (dispatch.go) makes batches of them and decides what becomes of each; a sender per broker (sender.go) does
// the network.
type producer struct {
	c     *Client
	cfg   kafka.ProduceConfig
	codec sarama.CompressionCodec
	ask   *role // producer ids, limits of topics

	// Owned by the owner.
	parts map[kafka.TopicPartition]*outPart
	last  *outPart
	dirty []*outPart // with an open chunk
	sent  int64      // bytes taken by Send

	acked atomic.Int64 // bytes whose fate is known

	mu        sync.Mutex
	current   *cut     // of records sent now
	cuts      []*cut   // open ones, oldest first; the last is current
	handed    []*chunk // since the dispatcher last looked
	free      []*chunk
	freeBytes int
	results   []result
	id        *identity // a new one that was got
	noID      error     // why there is no new one
	ends      map[kafka.TopicPartition]int64
	sick      map[*outPart]error
	broken    error // the producer cannot go on

	wake  chan struct{} // the dispatcher's
	space chan struct{} // the owner's
	done  chan struct{}
	close sync.Once
	wg    sync.WaitGroup
}

// outPart is a partition being written.
type outPart struct {
	kafka.TopicPartition
	open   *chunk // the owner's
	expect int64  // the owner's: of the next chunk
	limit  *limit // the owner's
	lane          // the dispatcher's
}

// limit is what a topic takes of a record.
type limit struct {
	bytes int
	until time.Time
}

func newProducer(c *Client, cfg kafka.ProduceConfig) (*producer, error) {
	defaultTo(&cfg.BatchBytes, 256<<10)
	defaultTo(&cfg.BufferBytes, 8<<20)
	defaultTo(&cfg.Compression, "none")
	p := &producer{c: c, cfg: cfg, ask: newRole(c), parts: map[kafka.TopicPartition]*outPart{}, current: newCut(),
		ends: map[kafka.TopicPartition]int64{}, sick: map[*outPart]error{},
		wake: make(chan struct{}, 1), space: make(chan struct{}, 1), done: make(chan struct{})}
	p.cuts = []*cut{p.current}
	if err := p.codec.UnmarshalText([]byte(cfg.Compression)); err != nil {
		return nil, fmt.Errorf("kafka: compression %q: %w", cfg.Compression, err)
	}
	p.wg.Go((&dispatcher{p: p, senders: map[string]*sender{}}).run)
	return p, nil
}

// maxTime is the latest time that Sarama can encode; it is in the year 2262.
const maxTime = math.MaxInt64 / int64(time.Millisecond)

var errTime = errors.New("kafka: a record's time must be -1 (none) or between 1970 and 2262")

// Send queues a record.
func (p *producer) Send(ctx context.Context, tp kafka.TopicPartition, r kafka.ProduceRecord) error {
	o := p.last
	if o == nil || o.TopicPartition != tp {
		o = p.part(tp)
	}
	if r.Time < -1 || r.Time > maxTime {
		return fmt.Errorf("%w: %d", errTime, r.Time)
	}
	size := wireSize(&r)
	if size > unchecked {
		if err := p.fits(ctx, o, size); err != nil {
			return err
		}
	}
	if p.sent-p.acked.Load()+int64(size) > int64(p.cfg.BufferBytes) {
		if err := p.makeRoom(ctx, int64(size)); err != nil {
			return err
		}
	}
	if o.open == nil || o.open.size+size > p.cfg.BatchBytes {
		if err := p.begin(o); err != nil {
			return err
		}
	}
	o.open.add(&r, size)
	p.sent += int64(size)
	return nil
}

func (p *producer) part(tp kafka.TopicPartition) *outPart {
	o := p.parts[tp]
	if o == nil {
		o = &outPart{TopicPartition: tp, expect: -1, lane: lane{next: -1, max: p.cfg.BatchBytes}}
		p.parts[tp] = o
	}
	p.last = o
	return o
}

// begin opens a chunk of o; a full one is handed over.
func (p *producer) begin(o *outPart) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	if o.open != nil {
		p.hand(o)
		poke(p.wake)
	} else {
		p.dirty = append(p.dirty, o)
	}
	k := p.fresh()
	k.part, k.cut, k.expect, k.end = o, p.current, o.expect, -1
	o.open, o.expect = k, -1
	return nil
}

// hand gives o's open chunk to the dispatcher. Under mu.
func (p *producer) hand(o *outPart) {
	o.open.cut.open++
	p.handed = append(p.handed, o.open)
	o.open = nil
}

// handAll hands over every open chunk. Under mu.
func (p *producer) handAll() {
	for _, o := range p.dirty {
		if o.open != nil {
			p.hand(o)
		}
	}
	clear(p.dirty)
	p.dirty = p.dirty[:0]
}

// Flush starts to send what is queued.
func (p *producer) Flush() {
	if len(p.dirty) == 0 {
		return
	}
	p.mu.Lock()
	p.handAll()
	p.mu.Unlock()
	poke(p.wake)
}

// makeRoom waits until n more bytes may be queued. A record larger than the buffer is let through alone.
func (p *producer) makeRoom(ctx context.Context, n int64) error {
	p.Flush()
	for {
		queued := p.sent - p.acked.Load()
		if queued == 0 || queued+n <= int64(p.cfg.BufferBytes) {
			return nil
		}
		select {
		case <-p.space:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return kafka.ErrClosed
		}
		if err := p.failed(); err != nil {
			return err
		}
	}
}

func (p *producer) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// Expect says which offset the next record of tp should get.
func (p *producer) Expect(tp kafka.TopicPartition, offset int64) {
	o := p.part(tp)
	if o.open != nil {
		p.Flush()
	}
	o.expect = offset
}

// Healthy returns why something cannot be written at present.
func (p *producer) Healthy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	for _, err := range p.sick {
		return err
	}
	return p.noID
}

// Close abandons what is not acknowledged.
func (p *producer) Close() {
	p.close.Do(func() {
		close(p.done)
		p.ask.close()
		p.wg.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.broken == nil {
			p.broken = kafka.ErrClosed
		}
		p.abandon(kafka.ErrClosed)
	})
}

// unchecked is the size up to which a record is sent without knowing its topic's limit; nobody sets a limit so low, and if
// somebody does, the broker says so.
const unchecked = 1 << 10

// learnTime bounds looking a topic's limit up.
const learnTime = 5 * time.Second

// mostRecord is what fits a request whatever the topic takes: Sarama ends requests at 100 MB.
const mostRecord = 64 << 20

// fits looks the topic's limit up, once per topic and some minutes.
func (p *producer) fits(ctx context.Context, o *outPart, size int) error {
	if size > mostRecord {
		return fmt.Errorf("%s: %w: %d bytes, a request takes %d", o.TopicPartition, kafka.ErrTooLarge, size, mostRecord)
	}
	if p.codec != sarama.CompressionNone {
		return nil // the limit is on the compressed batch: only the broker can tell
	}
	if o.limit == nil || size+batchOverhead > o.limit.bytes && time.Now().After(o.limit.until) {
		if err := p.learn(ctx, o); err != nil {
			return err
		}
	}
	if size+batchOverhead > o.limit.bytes {
		return fmt.Errorf("%s: %w: %d bytes, the topic takes %d", o.TopicPartition, kafka.ErrTooLarge, size+batchOverhead, o.limit.bytes)
	}
	return nil
}

func (p *producer) learn(ctx context.Context, o *outPart) error {
	l := &limit{bytes: p.c.cfg.MaxMessageBytes, until: time.Now().Add(time.Minute)}
	short, cancel := context.WithTimeout(ctx, learnTime) // while no broker answers, the configured limit has to do
	defer cancel()
	err := p.ask.with(short, func(ctx context.Context) error {
		conf, err := askAny(ctx, p.ask, topicConfig(o.Topic))
		if n, e := strconv.Atoi(conf["max.message.bytes"]); err == nil && e == nil {
			l.bytes = n
		}
		return err
	})
	if ctx.Err() != nil || errors.Is(err, kafka.ErrClosed) {
		return err
	}
	for _, other := range p.parts {
		if other.Topic == o.Topic {
			other.limit = l
		}
	}
	return nil
}
