package sarama

import (
	"time"

	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// pendingRecords is what was fetched of a partition and is not decoded yet. A few bytes may
// decompress to very many, so they are decoded as the partition's buffer gets room, in place of the
// next fetch. It is dropped when the partition is to be read at another broker.
type pendingRecords struct {
	batches *recordbatch.Batches
	fetched *fetchedPartition
	body    *sharedBody
	// notBefore is when a large batch is tried again that has to wait for another partition's.
	notBefore time.Time
}

const (
	// largeRetry is after how long a large batch that has to wait for another one is tried again.
	largeRetry = 100 * time.Millisecond
	// largeWait is how long it waits at most. The other one may lie in the buffer of a task that waits
	// for this one, because it takes records of several partitions by their times: without a bound
	// both would wait forever.
	largeWait = time.Second
)

// claimLarge reports whether a record batch of p that takes more than a buffer may be decompressed
// now. Such batches have their turn one at a time in a client, because each may take
// FetchConfig.InflatedBytes.
func (r *reader) claimLarge(p *fetchPartition) bool {
	c := r.fetcher.client
	if c.largeBatch.CompareAndSwap(nil, p) || c.largeBatch.Load() == p {
		p.waitingSince = time.Time{}
		return true
	}
	if p.waitingSince.IsZero() {
		p.waitingSince = time.Now()
	}
	if time.Since(p.waitingSince) < largeWait {
		return false
	}
	p.waitingSince = time.Time{}
	return true
}

// decodePending decodes what is there and has room, and reports whether there was any.
func (r *reader) decodePending() bool {
	r.decodable = r.decodable[:0]
	now := time.Now()
	r.fetcher.mu.Lock()
	for p := range r.partitions {
		if p.pending != nil && !now.Before(p.pending.notBefore) && p.buffered.Load() < int64(r.fetcher.cfg.BufferBytes) {
			r.decodable = append(r.decodable, p)
		}
	}
	r.fetcher.mu.Unlock()
	// Without the lock: it is not held over a call of a Sink, which may take other locks.
	for _, p := range r.decodable {
		r.decode(p, p.pending)
	}
	return len(r.decodable) > 0
}
