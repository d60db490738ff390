package sarama

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// reader fetches from one broker, one request at a time, on a connection of its own. It is one
// goroutine, which ends when nothing is left to read at the broker.
type reader struct {
	fetcher *fetcher
	addr    string

	// Under fetcher.mu.
	partitions map[*fetchPartition]bool

	// The reader's goroutine's.
	requested map[kafka.TopicPartition]*fetchPartition
	decoder   *recordbatch.Decoder
	request   []byte // memory for the next one
	session   fetchSession
	idlePolls int  // long polls in a row that brought nothing
	answered  bool // the last request was
	decodable []*fetchPartition
	body      *sharedBody // of the response that is parsed

	wake        chan struct{}
	ctx         context.Context // ends with the reader
	cancel      context.CancelFunc
	conn        atomic.Pointer[conn]
	longPolls   atomic.Int64 // counts up when a long poll begins and when it ends: odd while one is under way
	interrupted atomic.Int64 // the number of the poll whose connection was closed to end it
}

const (
	// backPressureWait is how long a poll may wait while some partition is left out because its buffer
	// is full: it will be wanted again in a moment, and a poll cannot be changed once it is under way.
	backPressureWait = 5 * time.Millisecond
	// interruptDelay is how long a poll goes on after a partition was added: others are likely to come
	// in the same moment, and each interruption costs a new connection.
	interruptDelay = time.Millisecond
	// linger is how long a reader without partitions stays connected: one that is added again, as
	// after a rewind, comes in a moment.
	linger = time.Second
	// idleWaits is how many times MaxWait a poll may wait when those before it brought nothing.
	idleWaits = 10
	// maxFetchBytes bounds a response over all partitions.
	maxFetchBytes = 50 << 20
)

func newReader(f *fetcher, addr string) *reader {
	r := &reader{fetcher: f, addr: addr, decoder: recordbatch.NewDecoder(f.cfg.BufferBytes, f.cfg.InflatedBytes),
		partitions: map[*fetchPartition]bool{}, requested: map[kafka.TopicPartition]*fetchPartition{},
		wake:    make(chan struct{}, 1),
		session: fetchSession{named: map[kafka.TopicPartition]namedPartition{}}}
	r.decoder.Room = f.recycler.room
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// addPartition makes p one of the reader's. Under fetcher.mu.
func (r *reader) addPartition(p *fetchPartition, lead leader) {
	if p.sameAt.IsZero() {
		p.sameAt = time.Now() // before that it was of no topic
	}
	p.reader, p.leaderEpoch, p.topicID = r, lead.epoch, lead.topicID
	r.partitions[p] = true
	r.interrupt()
}

// dropPartition removes p. A poll under way goes on, and what it brings of p is passed over. Under
// fetcher.mu.
func (r *reader) dropPartition(p *fetchPartition) {
	delete(r.partitions, p)
	p.reader = nil
	signal(r.wake)
}

// resume wakes the reader, since a partition has room again.
func (r *reader) resume() { signal(r.wake) }

// interrupt ends a long poll, so that a partition that was added need not wait for it. A request
// that is under way cannot be taken back but by closing its connection.
func (r *reader) interrupt() {
	signal(r.wake)
	n := r.longPolls.Load()
	if cn := r.conn.Load(); cn != nil && n%2 == 1 && r.interrupted.Swap(n) != n {
		time.AfterFunc(interruptDelay, func() {
			if r.longPolls.Load() == n {
				cn.kill()
			}
		})
	}
}

func (r *reader) stop() { r.cancel() }

func (r *reader) run() {
	defer r.close()
	for {
		// What was fetched before is delivered before more is fetched.
		for r.ctx.Err() == nil && r.decodePending() {
		}
		wait, requested, idle := r.nextRequest()
		if r.ctx.Err() != nil {
			return
		}
		if len(requested) == 0 {
			if !r.waitForWork(idle) && idle && r.retire() {
				return
			}
			continue
		}
		if err := r.poll(wait, requested); err != nil && r.ctx.Err() == nil {
			r.returnAll(err)
		}
	}
}

// waitForWork waits until there may be something to read, without partitions no longer than linger.
// It reports whether it was woken.
func (r *reader) waitForWork(idle bool) bool {
	var end <-chan time.Time
	if idle {
		t := time.NewTimer(linger)
		defer t.Stop()
		end = t.C
	}
	select {
	case <-r.wake:
		return true
	case <-end:
	case <-r.ctx.Done():
	}
	return false
}

func (r *reader) close() {
	r.cancel()
	if cn := r.conn.Load(); cn != nil {
		cn.close()
	}
	r.decoder.Close()
}

// retire removes the reader from the fetcher and reports true, if it still has no partition. From
// then on a partition at this broker gets another reader.
func (r *reader) retire() bool {
	r.fetcher.mu.Lock()
	defer r.fetcher.mu.Unlock()
	if len(r.partitions) > 0 {
		return false
	}
	if r.fetcher.readers[r.addr] == r {
		delete(r.fetcher.readers, r.addr)
	}
	return true
}

// nextRequest encodes a request for every partition that has room. It returns how long the broker
// may wait for records, the partitions, none when none has room, and idle when the reader has no
// partition at all.
func (r *reader) nextRequest() (wait time.Duration, requested map[kafka.TopicPartition]*fetchPartition, idle bool) {
	r.fetcher.mu.Lock()
	defer r.fetcher.mu.Unlock()
	now := time.Now()
	if r.answered {
		for _, p := range r.requested {
			p.sameAt = now
		}
	}
	r.answered = false
	clear(r.requested)
	r.expireReplicas(now)
	wait = min(r.fetcher.cfg.MaxWait<<min(r.idlePolls, 10), r.fetcher.longestWait())
	for p := range r.partitions {
		if p.pending != nil || p.buffered.Load() >= int64(r.fetcher.cfg.BufferBytes) {
			wait = min(wait, backPressureWait)
			continue
		}
		if r.mayBeOfAnotherTopic(p, now) {
			wait = min(wait, backPressureWait)
			continue
		}
		r.requested[p.TopicPartition] = p
	}
	if len(r.requested) > 0 {
		r.session.begin(r.requested)
		// What is named may have no records, and then the end of the wait alone tells where its log ends,
		// and that the broker serves it.
		if len(r.session.changed) > 0 {
			wait = min(wait, r.fetcher.cfg.MaxWait)
		}
		r.encodeRequest(wait)
	}
	return wait, r.requested, len(r.partitions) == 0
}

// topicTrust is how long a partition is believed to be of the same topic without being asked for.
const topicTrust = time.Second

// mayBeOfAnotherTopic reports whether p may be of another topic now. Then it asks for the topic, unless
// that was done before, and the router compares the ids. A broker answers a request that is under way when
// a topic of it is deleted. But a partition may be left out of requests for long, as while its buffer is
// full. When a topic of the same name is created meanwhile, the broker would go on at the position of the
// old one. Under fetcher.mu.
func (r *reader) mayBeOfAnotherTopic(p *fetchPartition, now time.Time) bool {
	if p.topicID == (kafka.TopicID{}) || now.Sub(p.sameAt) < topicTrust {
		return false
	}
	t := r.fetcher.client.metadata.topic(p.Topic)
	switch {
	case t == nil || now.Sub(t.lookedUp) >= topicTrust:
		if p.askedAt.IsZero() || now.Sub(p.askedAt) >= topicTrust {
			p.askedAt = now
			r.fetcher.client.metadata.refresh(p.Topic)
		}
		return true
	case t.err != nil:
		delete(r.partitions, p)
		r.fetcher.returnPartition(p, t.err)
		return true
	case t.id != p.topicID:
		return true // the router takes it
	}
	p.sameAt, p.askedAt = t.lookedUp, time.Time{}
	return false
}

// poll makes one request and delivers what came.
func (r *reader) poll(wait time.Duration, requested map[kafka.TopicPartition]*fetchPartition) error {
	cn := r.conn.Load()
	if cn == nil || cn.dead.Load() {
		var err error
		if cn, err = r.connect(cn); err != nil {
			return err
		}
	}
	// Only a long poll may be interrupted. interrupt compares the number again when its delay is over:
	// the connection that it closes must not carry the next poll already.
	n := r.longPolls.Load()
	if wait > backPressureWait {
		n = r.longPolls.Add(1)
	}
	body, err := r.fetch(cn)
	if n%2 == 1 {
		r.longPolls.Add(1)
	}
	session, news := int32(0), false
	if err == nil {
		r.body = &sharedBody{bytes: body, to: &r.fetcher.recycler}
		r.body.use()
		session, err = parseFetchResponse(body, func(topic string, fp *fetchedPartition) {
			if p := requested[kafka.TopicPartition{Topic: topic, Partition: fp.index}]; p != nil {
				news = true
				r.handlePartition(cn, p, fp)
			}
		})
	}
	if r.body != nil {
		r.body.done()
		r.body = nil
	}
	switch {
	case err == nil:
		r.answered = true
		r.session.answered(session)
		r.countIdle(wait, news)
		return nil
	// The next request names everything, which no broker refuses for this reason.
	case isSessionLost(err) && r.session.epoch != 0:
		return nil
	}
	cn.kill()
	// Closed by interrupt, the broker is not to blame: the next request has the partition that was added.
	if r.interrupted.Load() == n {
		return nil
	}
	return &unavailableError{r.addr, err}
}

// countIdle counts long polls that bring nothing: each of the following may wait twice as long. A
// poll ends as soon as there is a record, and interrupt ends it for a partition that is added, so a
// longer wait delays neither.
func (r *reader) countIdle(wait time.Duration, news bool) {
	switch {
	case news:
		r.idlePolls = 0
	case wait > backPressureWait:
		r.idlePolls++
	}
}

// longestWait is how long the broker may delay a response at most.
func (f *fetcher) longestWait() time.Duration { return idleWaits * f.cfg.MaxWait }

// fetch sends the request and returns the response's bytes. What Sarama sees of both is empty
// (conn_intercept.go).
func (r *reader) fetch(cn *conn) ([]byte, error) {
	stop := context.AfterFunc(r.ctx, cn.kill)
	defer stop()
	cn.requests.replacement = r.request
	if _, err := cn.broker.Fetch(&ibm.FetchRequest{Version: fetchVersion}); err != nil {
		return nil, err
	}
	cn.answered()
	return cn.responses.body, nil
}

// connect opens a connection in place of old.
func (r *reader) connect(old *conn) (*conn, error) {
	if old != nil {
		old.close()
	}
	cn, err := r.fetcher.client.openForFetch(r.ctx, r.addr, r.fetcher.longestWait()+r.fetcher.client.cfg.RequestTimeout)
	if err != nil {
		return nil, err
	}
	if cn.version(apiFetch, fetchVersion) < fetchVersion {
		cn.close()
		return nil, fmt.Errorf("kafka: broker %s is too old: Kafka 2.8 or later is needed", r.addr)
	}
	cn.responses.room = r.fetcher.recycler.body
	r.conn.Store(cn)
	return cn, nil
}
