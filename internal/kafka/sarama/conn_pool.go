package sarama

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// connPool is the connections of a role, at most one to each broker. One call at a time uses them.
type connPool struct {
	client *Client
	// token has an element while no call uses the connections. Why not a mutex: a goroutine that waits
	// for one stops a simulated clock, and cannot stop waiting when its context ends (invariant 1).
	token chan struct{}

	mu     sync.Mutex // for map operations only
	conns  map[string]*conn
	ctx    context.Context // ends with abort
	cancel context.CancelCauseFunc
	closed bool
}

var errAborted = errors.New("aborted")

func newConnPool(c *Client) *connPool {
	p := &connPool{client: c, token: make(chan struct{}, 1), conns: map[string]*conn{}}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.token <- struct{}{}
	return p
}

// lifetime returns the context that ends with the next abort or with close.
func (p *connPool) lifetime() (context.Context, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, kafka.ErrClosed
	}
	return p.ctx, nil
}

// abort makes calls in progress return. Further calls are possible.
func (p *connPool) abort() { p.end(errAborted, false) }

// close makes calls in progress return, and fails further ones.
func (p *connPool) close() { p.end(kafka.ErrClosed, true) }

// end ends calls in progress with why: their context, and the connections under them, since a call
// may wait for the network.
func (p *connPool) end(why error, final bool) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = final
	p.cancel(why)
	if !final {
		p.ctx, p.cancel = context.WithCancelCause(context.Background())
	}
	conns := p.conns
	p.conns = map[string]*conn{}
	p.mu.Unlock()
	for _, cn := range conns {
		cn.close()
	}
}

// withToken runs f while no other call uses the connections, under a context that ends with ctx and
// with abort.
func (p *connPool) withToken(ctx context.Context, f func(context.Context) error) error {
	life, err := p.lifetime()
	if err != nil {
		return err
	}
	select {
	case <-p.token:
		defer func() { p.token <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	case <-life.Done():
		return &unavailableError{"-", context.Cause(life)}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(life, func() { cancel(context.Cause(life)) })
	defer stop()
	return f(ctx)
}

// conn returns the connection to addr, opening it if need be. Only under the token.
func (p *connPool) conn(ctx context.Context, addr string) (*conn, error) {
	p.mu.Lock()
	cn := p.conns[addr]
	p.mu.Unlock()
	if cn != nil && !cn.dead.Load() {
		return cn, nil
	}
	if cn != nil {
		cn.close()
	}
	// The connection outlives the call: only the caller's context ends opening, and the calls set
	// their own limits.
	cn, err := p.client.open(ctx, addr, forever)
	if err != nil {
		return nil, err
	}
	if !p.register(ctx, cn) {
		cn.close()
		return nil, &unavailableError{addr, causeOf(ctx, kafka.ErrClosed)}
	}
	return cn, nil
}

// register adds a connection, unless the role was aborted while it was opened: abort has not closed
// it then.
func (p *connPool) register(ctx context.Context, cn *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || ctx.Err() != nil {
		return false
	}
	p.conns[cn.addr] = cn
	return true
}

// forever is the read timeout of connections whose calls are bounded one by one.
const forever = 24 * time.Hour

// request makes one request to addr.
func (p *connPool) request(ctx context.Context, addr string, f func(*conn, *ibm.Broker) error) error {
	return p.requestWithin(ctx, addr, p.client.cfg.RequestTimeout, f)
}

// requestWithin makes one request to addr, whose response may take up to limit.
func (p *connPool) requestWithin(ctx context.Context, addr string, limit time.Duration,
	f func(*conn, *ibm.Broker) error) error {
	cn, err := p.conn(ctx, addr)
	if err != nil {
		return err
	}
	return cn.roundTrip(ctx, limit, func(b *ibm.Broker) error { return f(cn, b) })
}

// requestAny makes one request to some broker: to the first that answers.
func (p *connPool) requestAny(ctx context.Context, f func(*conn, *ibm.Broker) error) error {
	var err, denied error
	for _, addr := range p.addresses() {
		// A broker that does not accept the login says nothing about the others.
		err = p.request(ctx, addr, f)
		if err == nil || ctx.Err() != nil || !isTransient(err) && !errors.Is(err, kafka.ErrCredentials) {
			return err
		}
		if errors.Is(err, kafka.ErrCredentials) {
			denied = err
		}
	}
	// None has answered. One that refused the login is the error to report: those that are away now
	// would refuse it too.
	if denied != nil {
		return denied
	}
	return err
}

// addresses lists every broker worth a try: connected ones first, then the others in random order.
func (p *connPool) addresses() []string {
	seen := map[string]bool{}
	var list []string
	add := func(addr string) {
		if !seen[addr] {
			seen[addr] = true
			list = append(list, addr)
		}
	}
	p.mu.Lock()
	for addr, cn := range p.conns {
		if !cn.dead.Load() {
			add(addr)
		}
	}
	p.mu.Unlock()
	connected := len(list)
	for _, addr := range p.client.metadata.cluster().brokers {
		add(addr)
	}
	// Those of the configuration too: the cluster's may all be out of date.
	for _, addr := range p.client.cfg.Brokers {
		add(addr)
	}
	others := list[connected:]
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	return list
}

// backoff returns the wait before try n (from 0), with jitter so that clients do not come in step.
func (c *Config) backoff(n int) time.Duration {
	d := c.RetryBackoff << min(n, 16)
	if d > c.RetryMax || d <= 0 {
		d = c.RetryMax
	}
	return d/2 + rand.N(d/2+1)
}

// retry repeats f while its error is transient, until RequestTimeout has passed.
func (p *connPool) retry(ctx context.Context, what string, f func(context.Context) error) error {
	return p.retryIf(ctx, what, isTransient, f)
}

// retryIf is retry for errors of the caller's choice.
func (p *connPool) retryIf(ctx context.Context, what string, retriable func(error) bool,
	f func(context.Context) error) error {
	life, err := p.lifetime()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(p.client.cfg.RequestTimeout)
	for n := 0; ; n++ {
		// The token is held for one try at a time: a call that waits for a transaction to end must not
		// keep others waiting.
		err := p.withToken(ctx, f)
		if err == nil {
			return nil
		}
		if !retriable(err) || life.Err() != nil || !isUnstableOffset(err) && !time.Now().Before(deadline) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !sleep(p.client.cfg.backoff(n), ctx.Done(), life.Done()) {
			return fmt.Errorf("%s: %w", what, errors.Join(err, ctx.Err()))
		}
	}
}

// isUnstableOffset reports whether an open transaction is in the way. That ends with the
// transaction, however long it takes.
func isUnstableOffset(err error) bool {
	k, ok := codeOf(err)
	return ok && k == ibm.ErrUnstableOffsetCommit
}

// sleep waits for d, and reports false when it ended sooner because one of the channels was closed.
// nil is a channel that is not.
func sleep(d time.Duration, done, aborted <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
	case <-aborted:
	}
	return false
}
