package sarama

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// fetcher reads partitions. Its router finds the leader of each partition and hands it to that broker's reader; a reader hands
// a partition back when the broker refuses it or goes away.
type fetcher struct {
	c   *Client
	cfg kafka.FetchConfig

	mu      sync.Mutex // for maps and the fields of fetchPart that say so; never held over a call of a Sink
	parts   map[kafka.TopicPartition]*fetchPart
	readers map[string]*reader // by address
	closed  bool

	wake chan struct{} // the router's
	done chan struct{}
	wg   sync.WaitGroup
}

// fetchPart is a partition being read. Adding a partition again makes a new one, so a late answer finds its part gone.
type fetchPart struct {
	kafka.TopicPartition
	sink kafka.Sink

	// Under deliver, which excludes a delivery from the end of the part (invariant 5).
	deliver sync.Mutex
	gone    bool

	buffered atomic.Int64 // delivered and not released

	// Owned by the reader while at is set, by the router otherwise.
	pos     int64
	max     int32 // bytes to ask for
	epoch   int32
	greeted bool // something was delivered since Add
	corrupt int  // fetches of this part alone that could not be decoded
	probes  int  // times that its offset was said to be out of range and was not
	topic   kafka.TopicID
	replica int32     // where to read instead of at the leader; nobody
	until   time.Time // how long

	// Under fetcher.mu.
	at       *reader
	failed   bool
	attempts int
	retry    time.Time
	unknown  missing
	err      error // why it is not read at present
}

func newFetcher(c *Client, cfg kafka.FetchConfig) *fetcher {
	defaultTo(&cfg.MaxWait, 500*time.Millisecond)
	defaultTo(&cfg.PartitionBytes, 512<<10)
	defaultTo(&cfg.BufferBytes, 1<<20)
	f := &fetcher{c: c, cfg: cfg, parts: map[kafka.TopicPartition]*fetchPart{}, readers: map[string]*reader{},
		wake: make(chan struct{}, 1), done: make(chan struct{})}
	f.wg.Go(f.route)
	return f
}

// Add starts to read tp at offset.
func (f *fetcher) Add(tp kafka.TopicPartition, offset int64, s kafka.Sink) {
	f.Remove(tp)
	p := &fetchPart{TopicPartition: tp, sink: s, pos: offset, max: f.cfg.PartitionBytes, replica: nobody}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.parts[tp] = p
	poke(f.wake)
}

// Remove ends reading tps.
func (f *fetcher) Remove(tps ...kafka.TopicPartition) {
	for _, tp := range tps {
		f.mu.Lock()
		p := f.parts[tp]
		delete(f.parts, tp)
		if p != nil && p.at != nil {
			p.at.drop(p)
		}
		f.mu.Unlock()
		if p != nil {
			p.end()
		}
	}
}

// end waits for a delivery in progress and lets none follow.
func (p *fetchPart) end() {
	p.deliver.Lock()
	p.gone = true
	p.deliver.Unlock()
}

// Release gives bytes back.
func (f *fetcher) Release(tp kafka.TopicPartition, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parts[tp]
	if p == nil {
		return
	}
	left := p.buffered.Add(-int64(bytes))
	full := int64(f.cfg.BufferBytes)
	if p.at != nil && left < full && left+int64(bytes) >= full {
		p.at.resume()
	}
}

// Healthy returns why some partition is not read at present.
func (f *fetcher) Healthy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.parts {
		if p.err != nil && !p.failed {
			return p.err
		}
	}
	return nil
}

// Close ends everything.
func (f *fetcher) Close() {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return
	}
	f.closed = true
	close(f.done)
	parts := f.parts
	f.parts = map[kafka.TopicPartition]*fetchPart{}
	for _, r := range f.readers {
		r.stop()
	}
	f.mu.Unlock()
	for _, p := range parts {
		p.end()
	}
	f.wg.Wait()
}

// route gives each partition without a reader to the reader of its leader, as soon as there is one.
func (f *fetcher) route() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		updated := f.c.meta.updated()
		next, lost, unknown := f.assign(time.Now())
		for _, p := range lost {
			f.give(p, unknown[p])
		}
		timer.Reset(next)
		select {
		case <-f.wake:
		case <-updated:
		case <-timer.C:
		case <-f.done:
			return
		}
	}
}

// assign hands out what can be; it returns when to look again, and the partitions whose topic is gone.
func (f *fetcher) assign(now time.Time) (time.Duration, []*fetchPart, map[*fetchPart]error) {
	next := time.Hour
	var ask []string
	var lost []*fetchPart
	why := map[*fetchPart]error{}
	f.mu.Lock()
	for _, p := range f.parts {
		if p.at != nil || p.failed {
			continue
		}
		if d := p.retry.Sub(now); d > 0 {
			next = min(next, d)
			continue
		}
		l, err := f.c.meta.leader(p.TopicPartition)
		if err == nil && p.topic != (kafka.TopicID{}) && p.topic != l.topic {
			err = fmt.Errorf("%s was deleted and created again: %w", p.TopicPartition, kafka.ErrUnknownTopic)
			why[p], lost = err, append(lost, p)
			continue
		}
		if err != nil {
			ask = append(ask, p.Topic)
			f.postpone(p, err, f.c.meta.learned(p.Topic))
			next = min(next, p.retry.Sub(now))
			if f.expired(p) {
				why[p], lost = err, append(lost, p)
			}
			continue
		}
		f.reader(f.from(p, l)).take(p, l)
	}
	f.mu.Unlock()
	if len(ask) > 0 {
		f.c.meta.refresh(ask...)
	}
	return next, lost, why
}

// postpone sets the next try. The error is an answer of the time at. Under mu.
func (f *fetcher) postpone(p *fetchPart, err error, at time.Time) {
	p.retry = time.Now().Add(f.c.cfg.backoff(p.attempts))
	p.attempts++
	if p.attempts > 1 { // the first look-up of a topic is no trouble
		p.err = err
	}
	p.unknown.note(err, at)
}

// expired says that a topic is gone, or will never be ours to read. Under mu.
func (f *fetcher) expired(p *fetchPart) bool {
	return isNotAuthorized(p.err) || p.unknown.gone(f.c.cfg.UnknownTopicTimeout)
}

// give tells the sink that p failed for good.
func (f *fetcher) give(p *fetchPart, err error) {
	f.mu.Lock()
	p.failed, p.err, p.at = true, err, nil
	f.mu.Unlock()
	p.deliver.Lock()
	defer p.deliver.Unlock()
	if !p.gone {
		p.sink.FetchFailed(p.TopicPartition, err)
	}
}

// back takes a partition from a reader that cannot read it for now. Under mu.
func (f *fetcher) back(p *fetchPart, err error) {
	p.at, p.replica = nil, nobody
	f.postpone(p, err, time.Now())
	p.err = err
	poke(f.wake)
}

// reader returns the reader of addr, starting it if there is none. Under mu.
func (f *fetcher) reader(addr string) *reader {
	r := f.readers[addr]
	if r == nil {
		r = newReader(f, addr)
		f.readers[addr] = r
		f.wg.Go(r.run)
	}
	return r
}
