package sarama

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// metadata is what all roles know of the cluster, and the goroutine that refreshes it on
// connections of its own. Roles read snapshots, and ask for a refresh when a broker says that it is
// not, or not any more, the one to ask.
type metadata struct {
	pool     *connPool
	snapshot atomic.Pointer[cluster]

	mu          sync.Mutex
	wanted      map[string]bool // topics to be looked up
	lookupEnded chan struct{}   // closed when a look-up has ended, and replaced by another one

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
	lookedUp   time.Time // when it was looked up
	partitions []partition
}

type partition struct {
	leader, epoch int32 // leader is -1 when there is none
}

// leader is where a partition is to be asked for.
type leader struct {
	node, epoch int32
	addr        string
	topicID     kafka.TopicID
}

func newMetadata(c *Client) *metadata {
	m := &metadata{pool: newConnPool(c), wanted: map[string]bool{},
		lookupEnded: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
	m.snapshot.Store(&cluster{controller: -1})
	m.wg.Go(m.run)
	return m
}

func (m *metadata) cluster() *cluster { return m.snapshot.Load() }

func (m *metadata) close() {
	close(m.done)
	m.pool.close()
	m.wg.Wait()
}

// refresh asks for topics to be looked up and does not wait.
func (m *metadata) refresh(topics ...string) {
	m.mu.Lock()
	for _, t := range topics {
		m.wanted[t] = true
	}
	m.mu.Unlock()
	signal(m.wake)
}

// updated returns a channel that is closed when the next look-up has ended.
func (m *metadata) updated() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lookupEnded
}

// signal wakes the goroutine that waits for c, a channel of one element: now, or as soon as it waits.
func signal(c chan struct{}) {
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
		topics := m.takeWanted()
		if len(topics) == 0 {
			continue
		}
		err := m.pool.withToken(context.Background(), func(ctx context.Context) error {
			_, err := m.pool.describeTopics(ctx, topics)
			return err
		})
		if err != nil {
			m.pool.client.cfg.Logger.Debug("millstream: refreshing the metadata failed", "error", err)
			if !sleep(m.pool.client.cfg.backoff(n), m.done, nil) {
				return
			}
			n++
			m.refresh(topics...) // with those that were asked for in the meantime
			continue
		}
		n = 0
	}
}

// takeWanted returns the topics to be looked up, which then are wanted no more.
func (m *metadata) takeWanted() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	topics := make([]string, 0, len(m.wanted))
	for t := range m.wanted {
		topics = append(topics, t)
	}
	clear(m.wanted)
	return topics
}

// offsetsTopic is asked for where only brokers are of interest. A request has to name some topic: the
// one without any is answered with all topics of the cluster, which may be tens of thousands.
const offsetsTopic = "__consumer_offsets"

// getMetadata makes one request for topics, or for all of them when none is named.
func getMetadata(cn *conn, b *ibm.Broker, topics []string) (*ibm.MetadataResponse, error) {
	return b.GetMetadata(&ibm.MetadataRequest{Version: cn.version(apiMetadata, 11), Topics: topics})
}

// describeTopics asks some broker for topics, or for all of them when none is named. It publishes
// the response, and returns it.
func (p *connPool) describeTopics(ctx context.Context, topics []string) (resp *ibm.MetadataResponse, err error) {
	err = p.requestAny(ctx, func(cn *conn, b *ibm.Broker) (err error) {
		resp, err = getMetadata(cn, b, topics)
		return err
	})
	if err == nil {
		p.client.metadata.publish(resp)
	}
	return resp, err
}

// publish merges a response into the snapshot.
func (m *metadata) publish(resp *ibm.MetadataResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.snapshot.Load()
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
	m.snapshot.Store(next)
	close(m.lookupEnded)
	m.lookupEnded = make(chan struct{})
}

// newTopic converts a response. old is what was known of the topic; nil: nothing.
func newTopic(t *ibm.TopicMetadata, old *topic) *topic {
	found := &topic{lookedUp: time.Now(), name: t.Name, id: kafka.TopicID(t.Uuid), internal: t.IsInternal,
		err: codeError(t.Err)}
	// Partitions come in any order, and some may be missing.
	count := 0
	for _, p := range t.Partitions {
		count = max(count, int(p.ID)+1)
	}
	found.partitions = make([]partition, count)
	for i := range found.partitions {
		found.partitions[i] = partition{leader: -1, epoch: -1}
	}
	for _, p := range t.Partitions {
		found.partitions[p.ID] = partition{leader: p.Leader, epoch: p.LeaderEpoch}
	}
	if old == nil || old.id != found.id {
		return found
	}
	// A leader of an older epoch is passed over: brokers learn of a move at different times, and the
	// one asked may be the last to know.
	for i := range min(len(found.partitions), len(old.partitions)) {
		if found.partitions[i].epoch < old.partitions[i].epoch {
			found.partitions[i] = old.partitions[i]
		}
	}
	return found
}

// topic returns what is known of a topic, nil: nothing.
func (m *metadata) topic(name string) *topic { return m.snapshot.Load().topics[name] }

// leader returns the leader of tp, or why none is known.
func (m *metadata) leader(tp kafka.TopicPartition) (leader, error) {
	s := m.snapshot.Load()
	t := s.topics[tp.Topic]
	if t == nil {
		return leader{}, &unavailableError{"-", fmt.Errorf("the metadata of %s are not known yet", tp)}
	}
	if t.err != nil {
		return leader{}, fmt.Errorf("%s: %w", tp, t.err)
	}
	if int(tp.Partition) >= len(t.partitions) || tp.Partition < 0 {
		return leader{}, fmt.Errorf("%s: %w (the topic has %d partitions)",
			tp, codeError(ibm.ErrUnknownTopicOrPartition), len(t.partitions))
	}
	p := t.partitions[tp.Partition]
	addr, ok := s.brokers[p.leader]
	if !ok {
		return leader{}, fmt.Errorf("%s: %w", tp, codeError(ibm.ErrLeaderNotAvailable))
	}
	return leader{node: p.leader, epoch: p.epoch, addr: addr, topicID: t.id}, nil
}

// lookupTime returns when a topic was last looked up.
func (m *metadata) lookupTime(name string) time.Time {
	if t := m.topic(name); t != nil {
		return t.lookedUp
	}
	return time.Time{}
}

// unknownTopic counts the responses that a topic does not exist. A topic that was just created is
// unknown to some brokers for a while. And a response that was true once says nothing while no
// broker can be asked: only further ones count, not the time that passes.
type unknownTopic struct {
	since, last time.Time
	responses   int
}

// minUnknownResponses is how many responses it takes to believe that a topic does not exist any more.
const minUnknownResponses = 5

// note counts err, which a broker said at that time. Another error than "unknown" ends the row.
func (u *unknownTopic) note(err error, at time.Time) {
	if !isUnknownTopic(err) {
		*u = unknownTopic{}
		return
	}
	if at == u.last { // the same response as before, seen again
		return
	}
	u.responses++
	u.last = at
	if u.since.IsZero() {
		u.since = at
	}
}

// confirmed reports whether the topic has been unknown for that long.
func (u *unknownTopic) confirmed(after time.Duration) bool {
	return u.responses >= minUnknownResponses && u.last.Sub(u.since) >= after
}
