package sarama

import "time"

// A client that says in which rack it is may be told by a leader to read from a replica near it (KIP-392). That answer holds no
// records, and none will come from this leader until the replica is gone.

// lease is how long a replica is read before the leader is asked again which one is best: Java's metadata.max.age.ms.
const lease = 5 * time.Minute

// nobody is no broker's number.
const nobody = -1

// near sends a partition to the replica that its leader named.
func (r *reader) near(p *fetchPart, replica int32) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if p.at != r {
		return
	}
	delete(r.parts, p)
	p.at, p.replica, p.until = nil, replica, time.Now().Add(lease)
	poke(r.f.wake)
}

// expire gives partitions back that have been read from a replica for long enough. Under fetcher.mu.
func (r *reader) expire(now time.Time) {
	for p := range r.parts {
		if p.replica != nobody && now.After(p.until) {
			delete(r.parts, p)
			p.at, p.replica = nil, nobody
			poke(r.f.wake)
		}
	}
}

// from returns where p is to be read: l, unless its leader named a replica that is there. Under fetcher.mu.
func (f *fetcher) from(p *fetchPart, l leader) string {
	if p.replica != nobody {
		if addr, ok := f.c.meta.cluster().brokers[p.replica]; ok {
			return addr
		}
		p.replica = nobody
	}
	return l.addr
}
