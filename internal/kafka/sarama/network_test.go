package sarama

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// network is what a process sees of the cluster: its connections can be cut, frozen and refused.
type network struct {
	virtual *kfake.VirtualNetwork

	mu      sync.Mutex
	conns   map[*frozenConn]bool
	thawed  chan struct{} // closed while nothing is frozen
	refuse  bool
	away    string // the address that is refused alone
	dialled int
}

func newNetwork(virtual *kfake.VirtualNetwork) *network {
	n := &network{virtual: virtual, conns: map[*frozenConn]bool{}, thawed: make(chan struct{})}
	close(n.thawed)
	return n
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	refuse := n.refuse || n.away == addr
	n.dialled++
	n.mu.Unlock()
	if refuse {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	c, err := n.virtual.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	f := &frozenConn{Conn: c, n: n, addr: addr, closed: make(chan struct{})}
	n.mu.Lock()
	n.conns[f] = true
	n.mu.Unlock()
	return f, nil
}

// cut breaks the connections for which which says so.
func (n *network) cut(which func() bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if which() {
			go c.Close()
		}
	}
}

func (n *network) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.thawed = make(chan struct{})
}

func (n *network) thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.thawed:
	default:
		close(n.thawed)
	}
}

// refuseOnly breaks the connections to an address and refuses new ones; no address is refused when
// it is empty.
func (n *network) refuseOnly(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = addr
	for c := range n.conns {
		if c.addr == addr {
			go c.Close()
		}
	}
}

func (n *network) setRefuse(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = on
}

func (n *network) gate() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.thawed
}

// frozenConn holds what goes through it while its network is frozen, as a connection to a process
// that was stopped does.
type frozenConn struct {
	net.Conn
	n      *network
	addr   string
	closed chan struct{}
	once   sync.Once

	mu          sync.Mutex
	read, write time.Time
}

func (c *frozenConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.read = t
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

func (c *frozenConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.write = t
	c.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

// pass waits until the network is not frozen.
func (c *frozenConn) pass(deadline *time.Time) error {
	c.mu.Lock()
	d := time.Until(*deadline)
	c.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.n.gate():
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-t.C:
		return os.ErrDeadlineExceeded
	}
}

func (c *frozenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, err
	}
	return n, c.pass(&c.read)
}

func (c *frozenConn) Write(b []byte) (int, error) {
	if err := c.pass(&c.write); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *frozenConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.n.mu.Lock()
		delete(c.n.conns, c)
		c.n.mu.Unlock()
	})
	return c.Conn.Close()
}
