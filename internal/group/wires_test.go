package group

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// wires are the connections of one process, which can be cut for good or frozen for a while.
type wires struct {
	under broker.Dialer
	dead  atomic.Bool
	mu    sync.Mutex
	conns []net.Conn
	gate  chan struct{} // closed: open
}

func newWires(under broker.Dialer) *wires {
	open := make(chan struct{})
	close(open)
	return &wires{under: under, gate: open}
}

func (w *wires) isCut() bool { return w.dead.Load() }

func (w *wires) cut() {
	w.dead.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
}

// interrupt breaks the connections that there are.
func (w *wires) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// freeze lets nothing pass until thaw is called.
func (w *wires) freeze() (thaw func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gate := make(chan struct{})
	w.gate = gate
	return func() { close(gate) }
}

func (w *wires) open() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gate
}

func (w *wires) dial(ctx context.Context, network, address string) (net.Conn, error) {
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
	return &wire{Conn: c, w: w, closed: make(chan struct{})}, nil
}

// wire is a connection. While it is frozen, what is written is on its way, as in the buffers of a network, and nothing arrives.
type wire struct {
	net.Conn
	w          *wires
	mu         sync.Mutex
	queued     [][]byte
	delivering bool
	once       sync.Once
	closed     chan struct{}
}

func (c *wire) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.w.open():
		return n, err
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *wire) Write(b []byte) (int, error) {
	if c.w.isCut() {
		return 0, net.ErrClosed
	}
	gate := c.w.open()
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

func (c *wire) deliver(gate chan struct{}) {
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

func (c *wire) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
