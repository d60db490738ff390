//go:build kafka

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// reader gives an oracle what is committed in the topics that it reads.
type reader struct {
	client *kgo.Client
	mu     sync.Mutex // guards what follows
	oracle *oracle
	at     map[partition]int64 // the next offset of each
}

func newReader(addr string, o *oracle) (*reader, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(followed...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return &reader{client: c, oracle: o, at: map[partition]int64{}}, nil
}

// read reads until ctx ends.
func (r *reader) read(ctx context.Context) {
	for ctx.Err() == nil {
		f := r.client.PollFetches(ctx) // a broker that is away is waited for
		r.mu.Lock()
		f.EachRecord(func(x *kgo.Record) {
			if !x.Attrs.IsControl() {
				r.oracle.add(row{place{partition{x.Topic, x.Partition}, x.Offset}, x.Key, x.Value, x.Timestamp})
			}
			r.at[partition{x.Topic, x.Partition}] = x.Offset + 1
		})
		r.mu.Unlock()
	}
}

// reached reports whether everything before these offsets was read. What a transaction has aborted is not shown, so an end is reached by the
// record before it only where that is a marker or a record; the broker's log ends in one of them, since all that is open has to end.
func (r *reader) reached(ends map[partition]int64) (missing string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, end := range ends {
		if r.at[p] < end {
			return fmt.Sprintf("%s-%d was read to %d of %d", p.topic, p.n, r.at[p], end)
		}
	}
	return ""
}

// cluster asks the broker about offsets, and writes.
type cluster struct {
	ask, produce *kgo.Client
}

func newCluster(addr string) (*cluster, error) {
	// Offsets by the names of topics, which later versions of the request do not have.
	ask, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.MaxVersions(kversion.V3_0_0()), kgo.RetryTimeout(time.Second), kgo.RequestTimeoutOverhead(2*time.Second))
	if err != nil {
		return nil, err
	}
	produce, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ProducerLinger(0))
	return &cluster{ask, produce}, err
}

func (c *cluster) close() {
	c.ask.Close()
	c.produce.Close()
}

// create creates the topics that are not internal.
func (c *cluster) create(ctx context.Context) error {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis = 60_000
	for _, name := range []string{"accounts", "transfers", "journal", "balances", "activity"} {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, parts, 1
		r.Topics = append(r.Topics, topic)
	}
	answer, err := r.RequestWith(ctx, c.produce)
	if err != nil {
		return err
	}
	for _, t := range answer.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("create %s: %w", t.Topic, err)
		}
	}
	return nil
}

// committed returns the offsets that the group has committed. stable: those of transactions that are being committed are waited for.
func (c *cluster) committed(ctx context.Context, stable bool) (map[partition]int64, error) {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.RequireStable = stable
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = application
	r.Groups = append(r.Groups, g)
	answer, err := r.RequestWith(ctx, c.ask)
	if err != nil {
		return nil, err
	}
	offsets := map[partition]int64{}
	for _, g := range answer.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, err
				}
				offsets[partition{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return offsets, nil
}

// ends returns where the partitions of topics end, open transactions included.
func (c *cluster) ends(ctx context.Context, topics ...string) (map[partition]int64, error) {
	r := kmsg.NewPtrListOffsetsRequest()
	r.ReplicaID = -1
	for _, name := range topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for n := range int32(parts) {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = n, -1
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	answer, err := r.RequestWith(ctx, c.ask)
	if err != nil {
		return nil, err
	}
	ends := map[partition]int64{}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, err)
			}
			ends[partition{t.Topic, p.Partition}] = p.Offset
		}
	}
	return ends, nil
}

// write writes records and waits until they are acknowledged.
func (c *cluster) write(ctx context.Context, accounts []accountRecord, transfers []transferRecord) error {
	var all []*kgo.Record
	add := func(topic, key string, at time.Time, v any) error {
		b, err := json.Marshal(v)
		all = append(all, &kgo.Record{Topic: topic, Key: []byte(key), Value: b, Timestamp: at})
		return err
	}
	for _, a := range accounts {
		if err := add("accounts", a.name, a.time, a.account); err != nil {
			return err
		}
	}
	for _, t := range transfers {
		if err := add("transfers", t.From, t.time, t.transfer); err != nil {
			return err
		}
	}
	return c.produce.ProduceSync(ctx, all...).FirstErr()
}
