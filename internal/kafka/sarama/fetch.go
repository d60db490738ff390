package sarama

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// fetcher reads partitions. Its router, one goroutine, finds the leader of each partition and
// passes the partition to the reader of that broker (fetch_reader.go). A reader passes a partition
// back when the broker refuses it or cannot be reached.
type fetcher struct {
	client *Client
	cfg    kafka.FetchConfig

	mu         sync.Mutex // for maps and the fields of fetchPartition that say so; never held over a call of a Sink
	partitions map[kafka.TopicPartition]*fetchPartition
	readers    map[string]*reader // by address
	closed     bool

	recycler recycler

	wake chan struct{} // the router's
	done chan struct{}
	wg   sync.WaitGroup
}

// fetchPartition is a partition being read. Adding a partition again makes another one, so that a
// response to a request from before finds the partition that it was meant for removed.
type fetchPartition struct {
	kafka.TopicPartition
	sink kafka.Sink

	// delivery is held during a call of sink; removed is set under it (invariant 5).
	delivery sync.Mutex
	removed  bool

	buffered atomic.Int64 // bytes delivered and not released

	// Owned by the reader while reader is set, by the router otherwise.
	position       int64
	maxBytes       int32 // to ask for
	leaderEpoch    int32
	deliveredOnce  bool // since Add
	corruptFetches int  // in a row
	offsetRetries  int  // times that its offset was said to be out of range and was not
	topicID        kafka.TopicID
	pending        *pendingRecords
	waitingSince   time.Time // since when a large batch of it waits for another partition's
	replica        int32     // where to read instead of at the leader; noReplica
	replicaUntil   time.Time

	// Under fetcher.mu.
	reader   *reader
	failed   bool
	attempts int
	retryAt  time.Time
	unknown  unknownTopic
	lastErr  error     // why it is not read at present
	sameAt   time.Time // when its topic was last known to be the same (reader.mayBeOfAnotherTopic)
	askedAt  time.Time // when its topic was asked for since then; zero: not at all
}

func newFetcher(c *Client, cfg kafka.FetchConfig) *fetcher {
	defaultTo(&cfg.MaxWait, 500*time.Millisecond)
	defaultTo(&cfg.PartitionBytes, 512<<10)
	defaultTo(&cfg.BufferBytes, 1<<20)
	defaultTo(&cfg.InflatedBytes, 128<<20)
	f := &fetcher{client: c, cfg: cfg, partitions: map[kafka.TopicPartition]*fetchPartition{},
		readers: map[string]*reader{},
		wake:    make(chan struct{}, 1), done: make(chan struct{})}
	f.wg.Go(f.route)
	return f
}

// Add starts to read tp at offset.
func (f *fetcher) Add(tp kafka.TopicPartition, offset int64, s kafka.Sink) {
	f.Remove(tp)
	p := &fetchPartition{TopicPartition: tp, sink: s, position: offset, maxBytes: f.cfg.PartitionBytes, replica: noReplica}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.partitions[tp] = p
	signal(f.wake)
}

// Remove stops reading tps.
func (f *fetcher) Remove(tps ...kafka.TopicPartition) {
	for _, tp := range tps {
		f.mu.Lock()
		p := f.partitions[tp]
		delete(f.partitions, tp)
		if p != nil && p.reader != nil {
			p.reader.dropPartition(p)
		}
		f.mu.Unlock()
		if p != nil {
			p.endDelivery(f.client)
		}
	}
	f.mu.Lock()
	idle := len(f.partitions) == 0
	f.mu.Unlock()
	if idle {
		f.recycler.drop()
	}
}

// endDelivery waits for a delivery in progress and lets none follow (keeps 5).
func (p *fetchPartition) endDelivery(c *Client) {
	p.delivery.Lock()
	p.removed = true
	p.delivery.Unlock()
	c.largeBatch.CompareAndSwap(p, nil)
}

// Release returns bytes of delivered batches to the partition's buffer.
func (f *fetcher) Release(tp kafka.TopicPartition, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.partitions[tp]
	if p == nil {
		return
	}
	left := p.buffered.Add(-int64(bytes))
	full := int64(f.cfg.BufferBytes)
	if left < full {
		f.client.largeBatch.CompareAndSwap(p, nil)
	}
	if p.reader != nil && left < full && left+int64(bytes) >= full {
		p.reader.resume()
	}
}

// Healthy returns why some partition is not read at present.
func (f *fetcher) Healthy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.partitions {
		if p.lastErr != nil && !p.failed {
			return p.lastErr
		}
	}
	return nil
}

// Close ends all goroutines. Nothing is delivered once it has returned.
func (f *fetcher) Close() {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return
	}
	f.closed = true
	close(f.done)
	partitions := f.partitions
	f.partitions = map[kafka.TopicPartition]*fetchPartition{}
	for _, r := range f.readers {
		r.stop()
	}
	f.mu.Unlock()
	for _, p := range partitions {
		p.endDelivery(f.client)
	}
	f.wg.Wait()
}

// route passes each partition without a reader to the reader of its leader, as soon as there is one.
func (f *fetcher) route() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		// Before assign reads the metadata: an update that comes in between wakes the router at once.
		updated := f.client.metadata.updated()
		next, failed := f.assign(time.Now())
		for p, err := range failed {
			f.failPartition(p, err)
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

// assign passes to readers what can be read. It returns when to try again, and the partitions that
// will never be readable, with the reason: their sinks are called without the lock.
func (f *fetcher) assign(now time.Time) (next time.Duration, failed map[*fetchPartition]error) {
	next, failed = time.Hour, map[*fetchPartition]error{}
	var refresh []string
	f.mu.Lock()
	for _, partition := range f.partitions {
		if partition.failed {
			continue
		}
		if partition.reader != nil {
			if err := f.checkTopic(partition); err != nil {
				failed[partition] = err
			}
			continue
		}
		if d := partition.retryAt.Sub(now); d > 0 {
			next = min(next, d)
			continue
		}
		lead, err := f.client.metadata.leader(partition.TopicPartition)
		if err == nil {
			if err := partition.checkTopicID(lead.topicID); err != nil {
				failed[partition] = err
				continue
			}
		}
		if err != nil {
			refresh = append(refresh, partition.Topic)
			f.postpone(partition, err, f.client.metadata.lookupTime(partition.Topic))
			next = min(next, partition.retryAt.Sub(now))
			if f.isPermanent(partition) {
				failed[partition] = err
			}
			continue
		}
		f.reader(f.readAddress(partition, lead)).addPartition(partition, lead)
	}
	f.mu.Unlock()
	if len(refresh) > 0 {
		f.client.metadata.refresh(refresh...)
	}
	return next, failed
}

// checkTopicID returns an error when the topic has another id. A topic that was deleted and created
// again is another topic: its offsets count other records, so that to go on at the position would skip
// the beginning of the new log without a word.
func (p *fetchPartition) checkTopicID(id kafka.TopicID) error {
	if p.topicID == (kafka.TopicID{}) || p.topicID == id {
		return nil
	}
	return fmt.Errorf("%s was deleted and created again: %w", p.TopicPartition, kafka.ErrUnknownTopic)
}

// checkTopic takes a partition from its reader when its topic is another one, which it returns as an
// error, and wakes a reader that waits to know (reader.mayBeOfAnotherTopic). Under mu.
func (f *fetcher) checkTopic(p *fetchPartition) error {
	t := f.client.metadata.topic(p.Topic)
	if t == nil || t.err != nil {
		return nil
	}
	err := p.checkTopicID(t.id)
	if err != nil {
		p.reader.dropPartition(p)
	} else if !p.askedAt.IsZero() {
		p.reader.resume()
	}
	return err
}

// postpone sets the next try. at is when the broker said what err says. Under mu.
func (f *fetcher) postpone(p *fetchPartition, err error, at time.Time) {
	p.retryAt = time.Now().Add(f.client.cfg.backoff(p.attempts))
	p.attempts++
	if p.attempts > 1 { // no topic is known before it is first looked up
		p.lastErr = err
	}
	p.unknown.note(err, at)
}

// isPermanent reports whether a topic is believed not to exist any more, or may not be read. Under mu.
func (f *fetcher) isPermanent(p *fetchPartition) bool {
	return isNotAuthorized(p.lastErr) || p.unknown.confirmed(f.client.cfg.UnknownTopicTimeout)
}

// failPartition reports to the sink that p cannot be read until it is added again.
func (f *fetcher) failPartition(p *fetchPartition, err error) {
	f.mu.Lock()
	p.failed, p.lastErr, p.reader = true, err, nil
	f.mu.Unlock()
	p.delivery.Lock()
	defer p.delivery.Unlock()
	if !p.removed {
		p.sink.FetchFailed(p.TopicPartition, err)
	}
}

// returnPartition passes a partition back to the router, from a reader that cannot read it for now.
// Under mu.
func (f *fetcher) returnPartition(p *fetchPartition, err error) {
	p.reader, p.replica, p.pending = nil, noReplica, nil
	f.postpone(p, err, time.Now())
	p.lastErr = err
	signal(f.wake)
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
