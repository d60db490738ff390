package sarama

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// reader fetches from one broker, one request at a time, on a connection of its own. It ends when nothing is left to read there.
type reader struct {
	f    *fetcher
	addr string

	// Under fetcher.mu.
	parts map[*fetchPart]bool

	// The reader's goroutine's.
	asked   map[kafka.TopicPartition]*fetchPart
	inflate inflater
	names   names
	request []byte // memory for the next one

	wake   chan struct{}
	ctx    context.Context // ends with the reader
	cancel context.CancelFunc
	l      atomic.Pointer[link]
	polls  atomic.Int64 // odd while a long poll is out, whose connection may be cut to end it
	woken  atomic.Int64 // the poll that was cut
}

// hotWait is how long a poll may wait while some partition is left out for back-pressure: it will be wanted again in a moment,
// and a poll cannot be changed once it is out.
const hotWait = 5 * time.Millisecond

// settle is how long a poll goes on after a partition came: others are likely to come in the same moment, and each new
// connection costs a handshake.
const settle = time.Millisecond

// requestBytes bounds a response over all partitions.
const requestBytes = 50 << 20

func newReader(f *fetcher, addr string) *reader {
	r := &reader{f: f, addr: addr, parts: map[*fetchPart]bool{}, asked: map[kafka.TopicPartition]*fetchPart{}, names: names{}, wake: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// take adds a partition. Under fetcher.mu.
func (r *reader) take(p *fetchPart, l leader) {
	p.at, p.epoch, p.topic = r, l.epoch, l.topic
	r.parts[p] = true
	r.interrupt()
}

// drop removes a partition; a poll in progress goes on without it. Under fetcher.mu.
func (r *reader) drop(p *fetchPart) {
	delete(r.parts, p)
	p.at = nil
	poke(r.wake)
}

// resume says that a partition may be read again.
func (r *reader) resume() { poke(r.wake) }

// interrupt ends a long poll, so that a partition that came need not wait for it.
func (r *reader) interrupt() {
	poke(r.wake)
	n := r.polls.Load()
	if l := r.l.Load(); l != nil && n%2 == 1 && r.woken.Swap(n) != n {
		time.AfterFunc(settle, func() {
			if r.polls.Load() == n {
				l.cut()
			}
		})
	}
}

func (r *reader) stop() { r.cancel() }

func (r *reader) run() {
	defer r.close()
	for {
		wait, asked, idle := r.next()
		if r.ctx.Err() != nil {
			return
		}
		if len(asked) == 0 {
			if !r.rest(idle) && idle && r.retire() {
				return
			}
			continue
		}
		if err := r.poll(wait, asked); err != nil && r.ctx.Err() == nil {
			r.lost(err)
		}
	}
}

// linger is how long a reader without partitions keeps its connection: one that is added again elsewhere, as after a rewind, is
// back in a moment.
const linger = time.Second

// rest waits until there may be something to read; without partitions not for long. It returns whether it was woken.
func (r *reader) rest(idle bool) bool {
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
	if l := r.l.Load(); l != nil {
		l.close()
	}
	r.inflate.close()
}

// retire ends the reader if it still has nothing to read.
func (r *reader) retire() bool {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if len(r.parts) > 0 {
		return false
	}
	if r.f.readers[r.addr] == r {
		delete(r.f.readers, r.addr)
	}
	return true
}

// next chooses what to ask for: every partition that has room, and how long the broker may wait for records. Nothing is asked for when
// none has room; idle says that there is no partition at all.
func (r *reader) next() (wait time.Duration, asked map[kafka.TopicPartition]*fetchPart, idle bool) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	clear(r.asked)
	r.expire(time.Now())
	wait = r.f.cfg.MaxWait
	for p := range r.parts {
		if p.buffered.Load() >= int64(r.f.cfg.BufferBytes) {
			wait = min(wait, hotWait)
			continue
		}
		r.asked[p.TopicPartition] = p
	}
	if len(r.asked) > 0 {
		r.write(wait)
	}
	return wait, r.asked, len(r.parts) == 0
}

// poll makes one request and hands out what came.
func (r *reader) poll(wait time.Duration, asked map[kafka.TopicPartition]*fetchPart) error {
	l := r.l.Load()
	if l == nil || l.dead.Load() {
		var err error
		if l, err = r.connect(l); err != nil {
			return err
		}
	}
	n := r.polls.Load()
	if wait > hotWait {
		n = r.polls.Add(1)
	}
	frame, err := r.fetch(l)
	if n%2 == 1 {
		r.polls.Add(1)
	}
	if err == nil {
		err = parseFetch(frame, func(topic string, f *fetched) {
			if p := asked[kafka.TopicPartition{Topic: topic, Partition: f.index}]; p != nil {
				r.answer(l, p, f)
			}
		})
	}
	if err == nil {
		return nil
	}
	l.cut()
	if r.woken.Load() == n {
		return nil // cut by ourselves: ask again with those that came
	}
	return &unavailable{r.addr, err}
}

// fetch sends the request and returns the answer's bytes; what Sarama sees of both is empty (see pen and tap).
func (r *reader) fetch(l *link) ([]byte, error) {
	stop := context.AfterFunc(r.ctx, l.cut)
	defer stop()
	l.pen.armed = r.request
	if _, err := l.b.Fetch(&sarama.FetchRequest{Version: fetchVersion}); err != nil {
		return nil, err
	}
	return l.tap.frame, nil
}

func (r *reader) connect(old *link) (*link, error) {
	if old != nil {
		old.close()
	}
	l, err := r.f.c.openTapped(r.ctx, r.addr, r.f.cfg.MaxWait+r.f.c.cfg.RequestTimeout)
	if err != nil {
		return nil, err
	}
	if l.version(apiFetch, fetchVersion) < fetchVersion {
		l.close()
		return nil, fmt.Errorf("kafka: broker %s is older than 2.7", r.addr)
	}
	r.l.Store(l)
	return l, nil
}
