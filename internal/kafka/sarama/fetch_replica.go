package sarama

import "time"

// A leader may tell a client that says in which rack it is to read from a replica in that rack
// (KIP-392). That response holds no records, and none will come from this leader until the replica
// is away.

// replicaTTL is how long a replica is read before the leader is asked again which one is best:
// Java's metadata.max.age.ms.
const replicaTTL = 5 * time.Minute

// noReplica is no broker's number.
const noReplica = -1

// readFromReplica sends a partition to the replica that its leader named.
func (r *reader) readFromReplica(p *fetchPartition, replica int32) {
	r.fetcher.mu.Lock()
	defer r.fetcher.mu.Unlock()
	if p.reader != r {
		return
	}
	delete(r.partitions, p)
	p.reader, p.replica, p.pending, p.replicaUntil = nil, replica, nil, time.Now().Add(replicaTTL)
	signal(r.fetcher.wake)
}

// expireReplicas passes partitions back to the router that have been read from a replica for
// replicaTTL. Under fetcher.mu.
func (r *reader) expireReplicas(now time.Time) {
	for p := range r.partitions {
		if p.replica != noReplica && now.After(p.replicaUntil) {
			delete(r.partitions, p)
			p.reader, p.replica, p.pending = nil, noReplica, nil
			signal(r.fetcher.wake)
		}
	}
}

// readAddress returns where p is to be read: at its leader, unless that named a replica that the
// cluster has. Under fetcher.mu.
func (f *fetcher) readAddress(p *fetchPartition, lead leader) string {
	if p.replica != noReplica {
		if addr, ok := f.client.metadata.cluster().brokers[p.replica]; ok {
			return addr
		}
		p.replica = noReplica
	}
	return lead.addr
}
