package sarama

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// maxInFlight is how many requests may be under way on one connection. Only a producer has more than one.
const maxInFlight = 5

// link is one connection to one broker. Owned by one goroutine at a time (invariant 1); cut is safe from any.
type link struct {
	addr string
	b    *sarama.Broker
	conn net.Conn
	tap  *tap            // nil but for fetches
	pen  *pen            // nil but for fetches and produce
	max  map[int16]int16 // newest version of each API that the broker knows
	dead atomic.Bool
}

// handed gives a Broker the connection that was dialed before. A Broker dials while holding its mutex, so whoever opens it would
// wait there without a way to give up (invariant 1).
type handed struct{ conn net.Conn }

// Dial returns the connection.
func (h handed) Dial(string, string) (net.Conn, error) { return h.conn, nil }

// open connects to addr. An answer may take up to read.
func (c *Client) open(ctx context.Context, addr string, read time.Duration) (*link, error) {
	return c.connect(ctx, &link{addr: addr}, read)
}

// openTapped is open for fetches.
func (c *Client) openTapped(ctx context.Context, addr string, read time.Duration) (*link, error) {
	return c.connect(ctx, &link{addr: addr, tap: &tap{limit: read}, pen: &pen{key: apiFetch, empty: emptyFetchRequest}}, read)
}

// openForProduce is open for produce requests.
func (c *Client) openForProduce(ctx context.Context, addr string, read time.Duration) (*link, error) {
	return c.connect(ctx, &link{addr: addr, pen: &pen{key: apiProduce, empty: emptyProduce}}, read)
}

func (c *Client) connect(ctx context.Context, l *link, read time.Duration) (_ *link, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	if l.conn, err = c.dial(ctx, l.addr); err != nil {
		return nil, c.notLetIn(l.addr, err)
	}
	conn := l.conn
	if l.tap != nil {
		l.tap.Conn = conn
		conn = l.tap
	}
	if l.pen != nil {
		l.pen.Conn, l.pen.tap = conn, l.tap
		conn = l.pen
	}
	conf := *c.wire
	conf.Net.Proxy.Dialer = handed{conn}
	conf.Net.ReadTimeout = read
	l.b = sarama.NewBroker(l.addr)
	if err := l.b.Open(&conf); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("kafka: broker %s: %w", l.addr, err)
	}
	if err := l.agree(ctx); err != nil {
		l.close()
		return nil, c.notLetIn(l.addr, err)
	}
	c.letIn.Store(true)
	return l, nil
}

// dial opens a connection and encrypts it. Sarama would do the latter as well, holding the Broker's mutex.
func (c *Client) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := c.cfg.Dialer(ctx, "tcp", addr)
	if err != nil || c.cfg.TLS == nil {
		return conn, err
	}
	conf := c.cfg.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName, _, _ = net.SplitHostPort(addr)
	}
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// agree asks which versions the broker speaks. It is the first request, so it also waits for SASL.
func (l *link) agree(ctx context.Context) error {
	stop := context.AfterFunc(ctx, l.cut)
	defer stop()
	resp, err := l.b.ApiVersions(&sarama.ApiVersionsRequest{Version: 3, ClientSoftwareName: "millstream", ClientSoftwareVersion: "1"})
	if err != nil || resp.ErrorCode != 0 { // a broker before 2.4 knows no version 3
		resp, err = l.b.ApiVersions(&sarama.ApiVersionsRequest{})
	}
	if err != nil {
		return cause(ctx, err)
	}
	l.max = make(map[int16]int16, len(resp.ApiKeys))
	for _, k := range resp.ApiKeys {
		l.max[k.ApiKey] = k.MaxVersion
	}
	return nil
}

// cause prefers the reason for which a connection was cut to what the cutting looked like.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// version returns the newest version of an API that both sides speak.
func (l *link) version(key, ours int16) int16 { return min(ours, l.max[key]) }

// cut closes the connection under whoever uses it, so that a call in progress returns. Safe from any goroutine, any number of
// times; the owner still closes the link.
func (l *link) cut() {
	if l.dead.CompareAndSwap(false, true) {
		_ = l.conn.Close()
	}
}

// close ends the link's goroutines. A call in progress returns first.
func (l *link) close() {
	l.cut()
	_ = l.b.Close()
}

// exchange makes one request on l; the connection is cut when ctx ends or the limit has passed. After an error that is not the
// broker's answer the link is dead (invariant 2).
func exchange[T any](ctx context.Context, l *link, limit time.Duration, f func(*sarama.Broker) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errNoAnswer)
	defer cancel()
	stop := context.AfterFunc(ctx, l.cut)
	defer stop()
	r, err := f(l.b)
	if err == nil {
		return r, nil
	}
	if refused := (*brokerError)(nil); errors.As(err, &refused) {
		return r, err // an answer, though not the one wished for
	}
	if errors.Is(err, sarama.ErrUnsupportedVersion) {
		return r, fmt.Errorf("kafka: broker %s is too old for this request: %w", l.addr, err)
	}
	l.cut()
	return r, &unavailable{l.addr, cause(ctx, err)}
}

var errNoAnswer = errors.New("no answer in time")

// API keys of the requests we send.
const (
	apiProduce         = 0
	apiFetch           = 1
	apiListOffsets     = 2
	apiMetadata        = 3
	apiOffsetCommit    = 8
	apiOffsetFetch     = 9
	apiFindCoordinator = 10
	apiJoinGroup       = 11
	apiHeartbeat       = 12
	apiLeaveGroup      = 13
	apiSyncGroup       = 14
	apiCreateTopics    = 19
	apiDeleteTopics    = 20
	apiDeleteRecords   = 21
	apiInitProducerID  = 22
	apiDescribeConfigs = 32
	apiDeleteGroups    = 42
)
