package sarama

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// role is a set of connections, at most one to each broker, used by one call at a time.
type role struct {
	c    *Client
	turn chan struct{} // holds a token while nobody calls: a mutex would stop a simulated clock (invariant 1)

	mu     sync.Mutex // for map operations only
	links  map[string]*link
	ctx    context.Context // ends with abort
	cancel context.CancelCauseFunc
	closed bool
}

var errAborted = errors.New("aborted")

func newRole(c *Client) *role {
	r := &role{c: c, turn: make(chan struct{}, 1), links: map[string]*link{}}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.turn <- struct{}{}
	return r
}

// life returns the context that ends with the next abort.
func (r *role) life() (context.Context, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, kafka.ErrClosed
	}
	return r.ctx, nil
}

// abort makes calls in progress return; the role goes on.
func (r *role) abort() { r.end(errAborted, false) }

func (r *role) close() { r.end(kafka.ErrClosed, true) }

func (r *role) end(why error, last bool) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = last
	r.cancel(why)
	if !last {
		r.ctx, r.cancel = context.WithCancelCause(context.Background())
	}
	links := r.links
	r.links = map[string]*link{}
	r.mu.Unlock()
	for _, l := range links {
		l.close()
	}
}

// with runs f in the caller's turn, under a context that ends with ctx and with abort.
func (r *role) with(ctx context.Context, f func(context.Context) error) error {
	life, err := r.life()
	if err != nil {
		return err
	}
	select {
	case <-r.turn:
		defer func() { r.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	case <-life.Done():
		return &unavailable{"-", context.Cause(life)}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(life, func() { cancel(context.Cause(life)) })
	defer stop()
	return f(ctx)
}

// link returns the connection to addr, opening it if need be. Only in the caller's turn.
func (r *role) link(ctx context.Context, addr string) (*link, error) {
	r.mu.Lock()
	l := r.links[addr]
	r.mu.Unlock()
	if l != nil && !l.dead.Load() {
		return l, nil
	}
	if l != nil {
		l.close()
	}
	// The connection outlives the call: only the caller's context ends opening, and the calls set their own limits.
	l, err := r.c.open(ctx, addr, forever)
	if err != nil {
		return nil, err
	}
	if !r.keep(ctx, l) {
		l.close()
		return nil, &unavailable{addr, cause(ctx, kafka.ErrClosed)}
	}
	return l, nil
}

// keep records a connection, unless the role was aborted while it was opened.
func (r *role) keep(ctx context.Context, l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || ctx.Err() != nil {
		return false
	}
	r.links[l.addr] = l
	return true
}

// forever is the read time-out of connections whose calls are bounded one by one.
const forever = 24 * time.Hour

// ask makes one request to addr.
func ask[T any](ctx context.Context, r *role, addr string, f func(*link, *sarama.Broker) (T, error)) (T, error) {
	return askFor(ctx, r, addr, r.c.cfg.RequestTimeout, f)
}

func askFor[T any](ctx context.Context, r *role, addr string, limit time.Duration, f func(*link, *sarama.Broker) (T, error)) (T, error) {
	var zero T
	l, err := r.link(ctx, addr)
	if err != nil {
		return zero, err
	}
	return exchange(ctx, l, limit, func(b *sarama.Broker) (T, error) { return f(l, b) })
}

// any makes one request to some broker: those known first, then the bootstrap addresses.
func askAny[T any](ctx context.Context, r *role, f func(*link, *sarama.Broker) (T, error)) (T, error) {
	var err error
	var t T
	for _, addr := range r.c.addresses(r) {
		// A broker that does not let us in says nothing about the others.
		if t, err = ask(ctx, r, addr, f); err == nil || ctx.Err() != nil || !transient(err) && !errors.Is(err, kafka.ErrCredentials) {
			return t, err
		}
	}
	return t, err
}

// addresses lists every broker worth a try: connected ones, then the others in random order.
func (c *Client) addresses(r *role) []string {
	seen := map[string]bool{}
	var list []string
	add := func(a string) {
		if !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	r.mu.Lock()
	for a, l := range r.links {
		if !l.dead.Load() {
			add(a)
		}
	}
	r.mu.Unlock()
	connected := len(list)
	for _, a := range c.meta.cluster().brokers {
		add(a)
	}
	for _, a := range c.cfg.Brokers {
		add(a)
	}
	rest := list[connected:]
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
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

// retry repeats f while its error is transient and the request time-out has not passed. Each try is a turn of its own, so that a
// call that waits for something does not keep others out.
func (r *role) retry(ctx context.Context, what string, f func(context.Context) error) error {
	return r.retryIf(ctx, what, transient, f)
}

// retryIf is retry for errors of the caller's choice.
func (r *role) retryIf(ctx context.Context, what string, again func(error) bool, f func(context.Context) error) error {
	life, err := r.life()
	if err != nil {
		return err
	}
	giveUp := time.Now().Add(r.c.cfg.RequestTimeout)
	for n := 0; ; n++ {
		err := r.with(ctx, f)
		if err == nil {
			return nil
		}
		if !again(err) || life.Err() != nil || !unstable(err) && !time.Now().Before(giveUp) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !pause(ctx, life, r.c.cfg.backoff(n)) {
			return fmt.Errorf("%s: %w", what, errors.Join(err, ctx.Err()))
		}
	}
}

// unstable says that an open transaction is in the way: that ends with the transaction, however long it takes.
func unstable(err error) bool {
	k, ok := code(err)
	return ok && k == sarama.ErrUnstableOffsetCommit
}

func pause(ctx, life context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-life.Done():
	}
	return false
}
