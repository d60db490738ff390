package sarama

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// sender writes to one broker. It is a goroutine of its own, because opening a connection and
// writing to it wait.
type sender struct {
	producer  *producer
	addr      string
	requests  chan *produceRequest
	connBroke chan struct{} // the connection may be dead
	ctx       context.Context
	stop      context.CancelFunc
	ended     chan struct{}
	inFlight  int         // the dispatcher's
	renewConn atomic.Bool // the connection is not to be used for another request

	// Owned by run.
	buf     []byte                // of the last request
	records []recordbatch.Records // of the last batch in it
	encoder recordbatch.Encoder
}

// produceRequest is the batches sent together, at most one of each partition.
type produceRequest struct {
	batches []*batch
	bytes   int
}

// result is what became of a request.
type result struct {
	sender        *sender
	request       *produceRequest
	response      *ibm.ProduceResponse
	err           error // there is no response
	maybeReceived bool  // with err: the broker may have got the request
	notAllowed    bool  // with err: it is Allowed's
	unencodable   bool  // with err: no request can be made of the batches
}

func newSender(p *producer, addr string) *sender {
	s := &sender{producer: p, addr: addr, encoder: recordbatch.Encoder{Compression: p.compression},
		requests: make(chan *produceRequest, maxInFlight), connBroke: make(chan struct{}, 1), ended: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	go s.run()
	return s
}

// hasRoom reports whether another request may be under way. The dispatcher's.
func (s *sender) hasRoom() bool { return s.inFlight < maxInFlight }

// enqueue passes r to the sender's goroutine. The dispatcher's.
func (s *sender) enqueue(r *produceRequest) {
	if len(r.batches) == 0 {
		return
	}
	s.inFlight++
	s.requests <- r // does not wait: see hasRoom
}

func (s *sender) run() {
	defer close(s.ended)
	var cn *conn
	for {
		select {
		case r := <-s.requests:
			cn = s.produce(cn, r)
		case <-s.connBroke:
			cn = s.checkConn(cn)
		case <-s.ctx.Done():
			if cn != nil {
				cn.close()
			}
			return
		}
	}
}

// checkConn returns cn unless it is dead or not to be used again; then it is closed.
func (s *sender) checkConn(cn *conn) *conn {
	if s.renewConn.Swap(false) && cn != nil || cn != nil && cn.dead.Load() {
		cn.close()
		return nil
	}
	return cn
}

// produce writes request, on a new connection if need be, and returns the connection for the next
// request. Each request has one result.
func (s *sender) produce(cn *conn, request *produceRequest) *conn {
	if cn = s.checkConn(cn); cn == nil {
		var err error
		if cn, err = s.open(); err != nil {
			s.producer.report(result{sender: s, request: request, err: err})
			return nil
		}
	}
	// The dispatcher has asked as well. But opening may have taken long, or the process was stopped
	// since and its group session has run out: a zombie must not append.
	if s.producer.cfg.Allowed != nil {
		if err := s.producer.cfg.Allowed(); err != nil {
			s.producer.report(result{sender: s, request: request, err: err, notAllowed: true})
			return cn
		}
	}
	body, err := s.encodeRequest(request)
	if err != nil {
		s.producer.report(result{sender: s, request: request, err: err, unencodable: true})
		return cn
	}
	// The Broker encodes an empty request; requestInterceptor writes body in its place.
	cn.requests.replacement = body
	req := &ibm.ProduceRequest{Version: produceVersion, RequiredAcks: ibm.WaitForAll}
	if err := cn.broker.AsyncProduce(req, s.callback(cn, request)); err != nil {
		cn.kill()
		s.producer.report(result{sender: s, request: request, err: &unavailableError{s.addr, err},
			maybeReceived: true, unencodable: unencodable(err)})
	}
	return cn
}

// unencodable reports whether err says that the request can never be written, rather than that the
// connection broke.
func unencodable(err error) bool {
	var e ibm.PacketEncodingError
	return errors.As(err, &e) || errors.Is(err, ibm.ErrUnsupportedVersion)
}

func (s *sender) open() (*conn, error) {
	cn, err := s.producer.client.openForProduce(s.ctx, s.addr, s.producer.client.cfg.RequestTimeout)
	if err != nil {
		return nil, err
	}
	if cn.maxVersions[apiProduce] < produceVersion {
		cn.close()
		return nil, fmt.Errorf("kafka: broker %s is older than 2.8", s.addr)
	}
	context.AfterFunc(s.ctx, cn.kill)
	return cn, nil
}

// callback returns what the Broker calls with the response, on the goroutine that reads the
// connection. That must not call the Broker, and kill does not.
func (s *sender) callback(cn *conn, r *produceRequest) ibm.ProduceCallback {
	return func(resp *ibm.ProduceResponse, err error) {
		if err != nil {
			cn.kill()
			signal(s.connBroke)
			err = &unavailableError{s.addr, err}
		} else {
			cn.answered()
		}
		s.producer.report(result{sender: s, request: r, response: resp, err: err, maybeReceived: true})
	}
}

// report passes a result to the dispatcher.
func (p *producer) report(r result) {
	p.mu.Lock()
	p.results = append(p.results, r)
	p.mu.Unlock()
	signal(p.wake)
}
