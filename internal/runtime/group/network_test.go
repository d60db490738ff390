package group

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// network has the connections of one process. They can be closed permanently, or frozen for a while.
type network struct {
	under broker.Dialer
	dead  atomic.Bool
	mu    sync.Mutex
	conns []net.Conn
	open  chan struct{} // closed: open
}

func newNetwork(under broker.Dialer) *network {
	open := make(chan struct{})
	close(open)
	return &network{under: under, open: open}
}

func (w *network) disconnected() bool { return w.dead.Load() }

func (w *network) disconnect() {
	w.dead.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
}

// interrupt breaks the connections that there are.
func (w *network) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// freeze lets nothing pass until thaw is called.
func (w *network) freeze() (thaw func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gate := make(chan struct{})
	w.open = gate
	return func() { close(gate) }
}

func (w *network) gate() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open
}

func (w *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if w.dead.Load() {
		return nil, net.ErrClosed
	}
	c, err := w.under(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
	return &connection{Conn: c, network: w, closed: make(chan struct{})}, nil
}

// connection is a connection. While it is frozen, what is written is on its way, as in the buffers
// of a network, and nothing arrives.
type connection struct {
	net.Conn
	network    *network
	mu         sync.Mutex
	queued     [][]byte
	delivering bool
	once       sync.Once
	closed     chan struct{}
}

func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.network.gate():
		return n, err
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *connection) Write(b []byte) (int, error) {
	if c.network.disconnected() {
		return 0, net.ErrClosed
	}
	gate := c.network.gate()
	c.mu.Lock()
	select {
	case <-gate:
		if !c.delivering {
			c.mu.Unlock()
			return c.Conn.Write(b)
		}
	default:
	}
	defer c.mu.Unlock()
	c.queued = append(c.queued, append([]byte(nil), b...))
	if len(c.queued) == 1 && !c.delivering {
		c.delivering = true
		go c.deliver(gate)
	}
	return len(b), nil
}

func (c *connection) deliver(gate chan struct{}) {
	select {
	case <-gate:
	case <-c.closed:
	}
	for {
		c.mu.Lock()
		if len(c.queued) == 0 {
			c.queued, c.delivering = nil, false
			c.mu.Unlock()
			return
		}
		b := c.queued[0]
		c.queued = c.queued[1:]
		c.mu.Unlock()
		_, _ = c.Conn.Write(b)
	}
}

func (c *connection) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
