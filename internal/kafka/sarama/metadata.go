package sarama

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// metadata is what all roles know of the cluster, and the goroutine that refreshes it on connections of its own. Roles read
// snapshots and ask for a refresh when a broker says that it is not (any more) the one to ask.
type metadata struct {
	r    *role
	snap atomic.Pointer[cluster]

	mu      sync.Mutex
	want    map[string]bool // topics to be looked up
	changed chan struct{}   // closed when a look-up has ended, and replaced

	wake chan struct{}
	done chan struct{}
	wg   sync.WaitGroup
}

// cluster is a snapshot; never changed once published.
type cluster struct {
	brokers    map[int32]string // addresses
	controller int32
	topics     map[string]*topic
}

type topic struct {
	name       string
	id         kafka.TopicID
	internal   bool
	err        error     // why there are no partitions
	at         time.Time // when it was looked up
	partitions []partition
}

type partition struct {
	leader, epoch int32 // leader is -1 when there is none
}

// leader is where a partition is to be asked for.
type leader struct {
	node, epoch int32
	addr        string
	topic       kafka.TopicID
}

func newMetadata(c *Client) *metadata {
	m := &metadata{r: newRole(c), want: map[string]bool{}, changed: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
	m.snap.Store(&cluster{controller: -1})
	m.wg.Go(m.run)
	return m
}

func (m *metadata) cluster() *cluster { return m.snap.Load() }

func (m *metadata) close() {
	close(m.done)
	m.r.close()
	m.wg.Wait()
}

// refresh asks for topics to be looked up and does not wait.
func (m *metadata) refresh(topics ...string) {
	m.mu.Lock()
	for _, t := range topics {
		m.want[t] = true
	}
	m.mu.Unlock()
	poke(m.wake)
}

// updated returns a channel that is closed when the next look-up has ended.
func (m *metadata) updated() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (m *metadata) run() {
	for n := 0; ; {
		select {
		case <-m.wake:
		case <-m.done:
			return
		}
		topics := m.take()
		if len(topics) == 0 {
			continue
		}
		if err := m.look(context.Background(), topics); err != nil {
			m.r.c.cfg.Logger.Debug("kafka: metadata", "error", err)
			if !wait(m.r.c.cfg.backoff(n), m.done) {
				return
			}
			n++
			m.refresh(topics...)
			continue
		}
		n = 0
	}
}

func (m *metadata) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	topics := make([]string, 0, len(m.want))
	for t := range m.want {
		topics = append(topics, t)
	}
	clear(m.want)
	return topics
}

// look asks some broker for topics and publishes the answer.
func (m *metadata) look(ctx context.Context, topics []string) error {
	return m.r.with(ctx, func(ctx context.Context) error {
		resp, err := askAny(ctx, m.r, describe(topics))
		if err != nil {
			return err
		}
		m.publish(resp)
		return nil
	})
}

// describe asks for topics, or for all of them when none is named.
func describe(topics []string) func(*link, *sarama.Broker) (*sarama.MetadataResponse, error) {
	return func(l *link, b *sarama.Broker) (*sarama.MetadataResponse, error) {
		return b.GetMetadata(&sarama.MetadataRequest{Version: l.version(apiMetadata, 11), Topics: topics})
	}
}

// publish merges an answer into the snapshot.
func (m *metadata) publish(resp *sarama.MetadataResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.snap.Load()
	next := &cluster{brokers: map[int32]string{}, controller: resp.ControllerID, topics: maps.Clone(old.topics)}
	if next.topics == nil {
		next.topics = map[string]*topic{}
	}
	for _, b := range resp.Brokers {
		next.brokers[b.ID()] = b.Addr()
	}
	for _, t := range resp.Topics {
		next.topics[t.Name] = newTopic(t, old.topics[t.Name])
	}
	m.snap.Store(next)
	close(m.changed)
	m.changed = make(chan struct{})
}

// newTopic converts an answer. Leaders of an older epoch than known are not taken: brokers learn of a move at different times,
// and the one asked may be the last to know.
func newTopic(t *sarama.TopicMetadata, old *topic) *topic {
	n := &topic{at: time.Now(), name: t.Name, id: kafka.TopicID(t.Uuid), internal: t.IsInternal, err: failure(t.Err)}
	count := 0
	for _, p := range t.Partitions {
		count = max(count, int(p.ID)+1)
	}
	n.partitions = make([]partition, count)
	for i := range n.partitions {
		n.partitions[i] = partition{leader: -1, epoch: -1}
	}
	for _, p := range t.Partitions {
		n.partitions[p.ID] = partition{leader: p.Leader, epoch: p.LeaderEpoch}
	}
	if old == nil || old.id != n.id {
		return n
	}
	for i := range min(len(n.partitions), len(old.partitions)) {
		if n.partitions[i].epoch < old.partitions[i].epoch {
			n.partitions[i] = old.partitions[i]
		}
	}
	return n
}

// leader returns who leads tp, or why nobody is known to.
func (m *metadata) leader(tp kafka.TopicPartition) (leader, error) {
	s := m.snap.Load()
	t := s.topics[tp.Topic]
	if t == nil {
		return leader{}, &unavailable{"-", fmt.Errorf("%s was not looked up yet", tp)}
	}
	if t.err != nil {
		return leader{}, fmt.Errorf("%s: %w", tp, t.err)
	}
	if int(tp.Partition) >= len(t.partitions) || tp.Partition < 0 {
		return leader{}, fmt.Errorf("%s: %w (the topic has %d partitions)", tp, failure(sarama.ErrUnknownTopicOrPartition), len(t.partitions))
	}
	p := t.partitions[tp.Partition]
	addr, ok := s.brokers[p.leader]
	if !ok {
		return leader{}, fmt.Errorf("%s: %w", tp, failure(sarama.ErrLeaderNotAvailable))
	}
	return leader{node: p.leader, epoch: p.epoch, addr: addr, topic: t.id}, nil
}

// learned returns when a topic was last looked up.
func (m *metadata) learned(name string) time.Time {
	if t := m.snap.Load().topics[name]; t != nil {
		return t.at
	}
	return time.Time{}
}

// missing gathers the answers that a topic does not exist. A topic that was just made is unknown to some brokers for a while, and
// an answer that was true once says nothing while no broker can be asked: only further answers count, not the time that passes.
type missing struct {
	since, last time.Time
	answers     int
}

// leastAnswers is how many answers it takes to believe that a topic is gone.
const leastAnswers = 5

// note counts err, an answer of the time at; another error than "unknown" ends the row.
func (m *missing) note(err error, at time.Time) {
	if !isUnknownTopic(err) {
		*m = missing{}
		return
	}
	if at == m.last {
		return
	}
	m.answers++
	m.last = at
	if m.since.IsZero() {
		m.since = at
	}
}

func (m *missing) gone(after time.Duration) bool {
	return m.answers >= leastAnswers && m.last.Sub(m.since) >= after
}
