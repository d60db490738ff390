package sarama

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	ibm "github.com/IBM/sarama"
)

// maxInFlight is how many requests may be under way on one connection. Only a producer has more
// than one.
const maxInFlight = 5

// conn is one connection to one broker. It belongs to one goroutine at a time (invariant 1); kill
// is safe from any.
type conn struct {
	addr        string
	broker      *ibm.Broker
	socket      net.Conn
	endpoint    *endpoint
	firstBytes  *firstBytesConn
	served      atomic.Bool          // the broker has answered a request for which it would want a login
	responses   *responseInterceptor // nil but for fetches
	requests    *requestInterceptor  // nil but for fetches and produce
	maxVersions map[int16]int16      // newest version of each API that the broker knows
	dead        atomic.Bool
}

// dialedConn is a dialer that returns a connection that was dialed before. A Broker dials while
// holding its mutex, so whoever opens it would wait there without a way out (invariant 1).
type dialedConn struct{ conn net.Conn }

// Dial returns the connection.
func (d dialedConn) Dial(string, string) (net.Conn, error) { return d.conn, nil }

// open connects to addr. A response may take up to readTimeout.
func (c *Client) open(ctx context.Context, addr string, readTimeout time.Duration) (*conn, error) {
	return c.connect(ctx, &conn{addr: addr}, readTimeout)
}

// openForFetch is open for fetches.
func (c *Client) openForFetch(ctx context.Context, addr string, readTimeout time.Duration) (*conn, error) {
	return c.connect(ctx, &conn{addr: addr, responses: &responseInterceptor{timeout: readTimeout},
		requests: &requestInterceptor{apiKey: apiFetch, emptySize: emptyFetchSize}}, readTimeout)
}

// openForProduce is open for produce requests.
func (c *Client) openForProduce(ctx context.Context, addr string, readTimeout time.Duration) (*conn, error) {
	return c.connect(ctx, &conn{addr: addr,
		requests: &requestInterceptor{apiKey: apiProduce, emptySize: emptyProduceSize}}, readTimeout)
}

// connect opens cn, up to the login and the first response.
func (c *Client) connect(caller context.Context, cn *conn, readTimeout time.Duration) (_ *conn, err error) {
	ctx, cancel := context.WithTimeout(caller, c.cfg.DialTimeout)
	defer cancel()
	// The endpoint learns how far the attempt has come while it lasts: an attempt that hangs is
	// reported before it ends.
	cn.endpoint = c.reachability.endpoint(cn.addr)
	cn.endpoint.beginAttempt()
	s := connecting
	defer func() {
		// When the caller has had enough, the broker is not to blame.
		if err != nil && caller.Err() == nil {
			err = c.connectError(cn.addr, c.explain(cn, s, err), isAuthError(err))
			cn.endpoint.endAttempt(errors.Unwrap(err))
		} else {
			cn.endpoint.endAttempt(nil)
		}
	}()
	if cn.socket, err = c.cfg.Dialer(ctx, "tcp", cn.addr); err != nil {
		return nil, err
	}
	if c.cfg.TLS != nil {
		s = handshaking
		cn.endpoint.enterStage(s)
		if cn.socket, err = c.secure(ctx, cn.addr, cn.socket); err != nil {
			return nil, err
		}
	}
	s = firstRequest
	cn.endpoint.enterStage(s)
	// From the broker to Sarama: the socket, the first bytes of what comes, the interceptors.
	cn.firstBytes = &firstBytesConn{Conn: cn.socket}
	outermost := net.Conn(cn.firstBytes)
	if cn.responses != nil {
		cn.responses.Conn = outermost
		outermost = cn.responses
	}
	if cn.requests != nil {
		cn.requests.Conn, cn.requests.responses = outermost, cn.responses
		outermost = cn.requests
	}
	conf := *c.ibmConfig
	conf.Net.Proxy.Dialer = dialedConn{outermost}
	conf.Net.ReadTimeout = readTimeout
	cn.broker = ibm.NewBroker(cn.addr)
	if err := cn.broker.Open(&conf); err != nil {
		_ = outermost.Close()
		return nil, err
	}
	// Open returns before the login; the first request waits for it and fails with its error.
	if err := cn.negotiateVersions(ctx); err != nil {
		cn.close()
		return nil, err
	}
	c.loginAccepted.Store(true)
	return cn, nil
}

// secure encrypts a connection. Sarama would do that as well, holding the Broker's mutex.
func (c *Client) secure(ctx context.Context, addr string, socket net.Conn) (net.Conn, error) {
	conf := c.cfg.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName, _, _ = net.SplitHostPort(addr)
	}
	secure := tls.Client(socket, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = socket.Close()
		return nil, err
	}
	return secure, nil
}

// negotiateVersions asks which versions of each API the broker knows.
func (cn *conn) negotiateVersions(ctx context.Context) error {
	stop := context.AfterFunc(ctx, cn.kill)
	defer stop()
	resp, err := cn.broker.ApiVersions(&ibm.ApiVersionsRequest{Version: 3,
		ClientSoftwareName: "millstream", ClientSoftwareVersion: "1"})
	// A broker before 2.4 knows no version 3. What is not Kafka at all is not asked again.
	if err != nil && !isClosed(err) && cn.foreignProtocol() == "" || err == nil && resp.ErrorCode != 0 {
		resp, err = cn.broker.ApiVersions(&ibm.ApiVersionsRequest{})
	}
	if err != nil {
		return causeOf(ctx, err)
	}
	cn.maxVersions = make(map[int16]int16, len(resp.ApiKeys))
	for _, k := range resp.ApiKeys {
		cn.maxVersions[k.ApiKey] = k.MaxVersion
	}
	return nil
}

// causeOf returns the reason for which ctx ended, where it did: a connection that kill closed
// reports no more than that it is closed.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// version returns the newest version of an API that both sides know.
func (cn *conn) version(key, ours int16) int16 { return min(ours, cn.maxVersions[key]) }

// kill closes the connection under whoever uses it, so that a call in progress returns. Safe from
// any goroutine, any number of times; the owner still calls close.
func (cn *conn) kill() {
	if cn.dead.CompareAndSwap(false, true) {
		_ = cn.socket.Close()
	}
}

// close ends the connection's goroutines. A call in progress returns first.
func (cn *conn) close() {
	cn.kill()
	_ = cn.broker.Close()
}

// roundTrip makes one request on cn, whose response may take up to limit. After an error that is
// not the broker's answer the connection is dead (keeps 2).
func (cn *conn) roundTrip(ctx context.Context, limit time.Duration, f func(*ibm.Broker) error) error {
	// Not a context with a time-out: that costs six allocations more, of each request of each transaction.
	var late atomic.Bool
	timer := time.AfterFunc(limit, func() {
		late.Store(true)
		cn.kill()
	})
	defer timer.Stop()
	stop := context.AfterFunc(ctx, cn.kill)
	defer stop()
	err := f(cn.broker)
	if err == nil {
		cn.answered()
		return nil
	}
	// A code is an answer: the connection is good, and so is the broker's reachability.
	if refused := (*brokerError)(nil); errors.As(err, &refused) {
		cn.answered()
		return err
	}
	// Nothing was written.
	if errors.Is(err, ibm.ErrUnsupportedVersion) {
		return fmt.Errorf("kafka: broker %s is too old for this request, Kafka 2.8 or later is needed: %w", cn.addr, err)
	}
	cn.kill()
	if err = causeOf(ctx, err); late.Load() && ctx.Err() == nil {
		err = errNoAnswer
	}
	return &unavailableError{cn.addr, cn.transportError(err)}
}

// answered notes that the broker has answered a request on cn. It is called for each response.
func (cn *conn) answered() {
	if !cn.served.Load() { // reading is cheaper than writing
		cn.served.Store(true)
	}
	cn.endpoint.noteAnswer()
}

// transportError returns what err means, by which a request on cn failed in transport. A broker
// that demands a login may close the connection at the first request that needs one: that a
// connection could be opened proves nothing.
func (cn *conn) transportError(err error) error {
	if cn.served.Load() || !isClosed(err) {
		return err
	}
	err = cn.endpoint.reachability.client.explain(cn, requesting, err)
	cn.endpoint.noteFailure(err)
	return err
}

var errNoAnswer = errors.New("no answer in time")

// API keys of the requests that the client makes.
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
	apiDescribeGroups  = 15
	apiCreateTopics    = 19
	apiDeleteTopics    = 20
	apiDeleteRecords   = 21
	apiInitProducerID  = 22
	apiAddPartitions   = 24 // to a transaction
	apiAddOffsets      = 25 // to a transaction
	apiEndTransaction  = 26
	apiTxnOffsetCommit = 28
	apiDescribeConfigs = 32
	apiDeleteGroups    = 42
	apiAlterConfigs    = 44 // incremental

	apiDescribeTransactions = 65
	apiListTransactions     = 66
)
