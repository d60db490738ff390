package sarama

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/IBM/sarama"
)

// sender writes to one broker: the goroutine that calls it, since opening and writing wait.
type sender struct {
	p        *producer
	addr     string
	reqs     chan *request
	broke    chan struct{} // the connection is of no more use
	ctx      context.Context
	stop     context.CancelFunc
	ended    chan struct{}
	inflight int         // the dispatcher's
	renew    atomic.Bool // the connection is not to be used again

	// Owned by run.
	buf     []byte // of the last request
	deflate deflater
}

// request is the batches sent together, at most one of each partition.
type request struct {
	batches []*batch
	bytes   int
}

// result is what became of a request.
type result struct {
	from *sender
	req  *request
	resp *sarama.ProduceResponse
	err  error // no answer
	sent bool  // with err: the broker may have got the request
	held bool  // with err: Allowed said no

	broken bool // with err: no request can be made of it
}

func newSender(p *producer, addr string) *sender {
	s := &sender{p: p, addr: addr, reqs: make(chan *request, maxInFlight), broke: make(chan struct{}, 1), ended: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	go s.run()
	return s
}

// room says whether another request may be under way. The dispatcher's.
func (s *sender) room() bool { return s.inflight < maxInFlight }

func (s *sender) send(r *request) {
	if len(r.batches) == 0 {
		return
	}
	s.inflight++
	s.reqs <- r // has room: see room
}

func (s *sender) run() {
	defer close(s.ended)
	var l *link
	for {
		select {
		case r := <-s.reqs:
			l = s.produce(l, r)
		case <-s.broke:
			l = s.check(l)
		case <-s.ctx.Done():
			if l != nil {
				l.close()
			}
			return
		}
	}
}

// check drops a connection that is dead or not wanted.
func (s *sender) check(l *link) *link {
	if s.renew.Swap(false) && l != nil || l != nil && l.dead.Load() {
		l.close()
		return nil
	}
	return l
}

// produce sends r, on a new connection if need be, and returns the connection for the next request.
func (s *sender) produce(l *link, r *request) *link {
	if l = s.check(l); l == nil {
		var err error
		if l, err = s.open(); err != nil {
			s.p.report(result{from: s, req: r, err: err})
			return nil
		}
	}
	// Asked again right before writing: opening may have taken long, and a thawed process must not send what it held.
	if s.p.cfg.Allowed != nil {
		if err := s.p.cfg.Allowed(); err != nil {
			s.p.report(result{from: s, req: r, err: err, held: true})
			return l
		}
	}
	body, err := s.message(r)
	if err != nil {
		s.p.report(result{from: s, req: r, err: err, broken: true})
		return l
	}
	l.pen.armed = body
	req := &sarama.ProduceRequest{Version: produceVersion, RequiredAcks: sarama.WaitForAll}
	if err := l.b.AsyncProduce(req, s.callback(l, r)); err != nil {
		l.cut()
		s.p.report(result{from: s, req: r, err: &unavailable{s.addr, err}, sent: true, broken: unencodable(err)})
	}
	return l
}

// unencodable tells a request that will never be sent from a connection that broke.
func unencodable(err error) bool {
	var e sarama.PacketEncodingError
	return errors.As(err, &e) || errors.Is(err, sarama.ErrUnsupportedVersion)
}

func (s *sender) open() (*link, error) {
	l, err := s.p.c.openForProduce(s.ctx, s.addr, s.p.c.cfg.RequestTimeout)
	if err != nil {
		return nil, err
	}
	if l.max[apiProduce] < produceVersion {
		l.close()
		return nil, fmt.Errorf("kafka: broker %s is older than 2.8", s.addr)
	}
	context.AfterFunc(s.ctx, l.cut)
	return l, nil
}

// callback runs on the goroutine that reads the connection; it must not call the Broker, and cut does not.
func (s *sender) callback(l *link, r *request) sarama.ProduceCallback {
	return func(resp *sarama.ProduceResponse, err error) {
		if err != nil {
			l.cut()
			poke(s.broke)
			err = &unavailable{s.addr, err}
		}
		s.p.report(result{from: s, req: r, resp: resp, err: err, sent: true})
	}
}

// report hands a result to the dispatcher.
func (p *producer) report(r result) {
	p.mu.Lock()
	p.results = append(p.results, r)
	p.mu.Unlock()
	poke(p.wake)
}
