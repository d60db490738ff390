package sim

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// network is what one process reaches the brokers through: it can be slow, frozen, interrupted or closed permanently.
type network struct {
	under   broker.Dialer
	traps   *traps
	markers *markers // nil: those of a transaction come all at once

	mu      sync.Mutex // never held while waiting
	wires   map[*wire]bool
	latency time.Duration
	gate    chan struct{} // closed: what is sent passes
	thaw    func()        // closes it
	dead    bool
}

func newNetwork(w *world, latency time.Duration) *network {
	open := make(chan struct{})
	close(open)
	return &network{under: w.b.Dialer(), traps: &w.traps, markers: w.markers, wires: map[*wire]bool{}, latency: latency, gate: open, thaw: func() {}}
}

// dial has the type of Config.Dialer.
func (n *network) dial(ctx context.Context, proto, address string) (net.Conn, error) {
	if n.isDead() {
		return nil, net.ErrClosed
	}
	under, err := n.under(ctx, proto, address)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	near, app := net.Pipe()
	x := &wire{n: n, near: newBuffered(near), far: newBuffered(under), up: newPipe(), down: newPipe()}
	x.port, _ = strconv.Atoi(port)
	n.mu.Lock()
	dead := n.dead
	n.wires[x] = true
	n.mu.Unlock()
	if dead {
		x.cut()
		return nil, net.ErrClosed
	}
	go x.listen()
	go x.send()
	go x.hear()
	go x.deliver()
	return newBuffered(app), nil
}

// buffered reads from a connection what there is. On a pipe in memory whoever writes waits for whoever reads, and frames are read in
// two parts, of which each would be such a meeting.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func newBuffered(c net.Conn) *buffered { return &buffered{c, bufio.NewReaderSize(c, 2<<10)} }

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

func (n *network) isDead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

// kill closes all connections permanently. What is in flight is lost.
func (n *network) kill() {
	n.mu.Lock()
	n.dead = true
	thaw := n.thaw
	n.mu.Unlock()
	n.interrupt(0)
	thaw() // answers on a wire whose App has closed it wait, too
}

// interrupt breaks the connections to a port; to all when it is 0. What is on its way is lost.
func (n *network) interrupt(port int) {
	n.mu.Lock()
	var cut []*wire
	for x := range n.wires {
		if port == 0 || x.port == port {
			cut = append(cut, x)
			delete(n.wires, x)
		}
	}
	n.mu.Unlock()
	for _, x := range cut {
		x.cut()
	}
}

// freeze lets nothing pass, in either direction, until thaw is called. What is written meanwhile is on its way, as in the buffers of
// a network.
func (n *network) freeze() (thaw func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	gate := make(chan struct{})
	n.gate, n.thaw = gate, sync.OnceFunc(func() { close(gate) })
	return n.thaw
}

func (n *network) slow(latency time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency = latency
}

// passes waits until what was sent at a time may arrive. It returns false when the wire is cut before.
func (n *network) passes(sent time.Time, cut <-chan struct{}) bool {
	n.mu.Lock()
	latency := n.latency
	n.mu.Unlock()
	if d := latency - time.Since(sent); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-cut:
			return false
		}
	}
	n.mu.Lock()
	gate := n.gate // of now: a freeze holds what is on its way, too
	n.mu.Unlock()
	select {
	case <-gate:
	case <-cut:
		return false
	}
	return true
}

// wire is one connection: four goroutines, two in each direction, so that writing to it never waits, as with the buffers of a real one.
// They see the frames of Kafka's protocol, so that a trap can lose a request, or the answer to it.
type wire struct {
	n         *network
	port      int
	near, far net.Conn // towards the App and towards the broker
	up, down  *pipe

	mu   sync.Mutex
	lose map[uint32]bool    // correlation ids of requests whose answers are to be lost
	asks map[uint32]inquiry // and of those whose answers depend on markers
	end  map[uint32][]byte  // and requests that end a transaction, and whose answers may be lost
}

// cut breaks the wire at once.
func (x *wire) cut() {
	x.up.cut()
	x.down.cut()
	_ = x.near.Close()
	_ = x.far.Close()
}

// forget is called when nothing comes to the App any more.
func (x *wire) forget() {
	x.n.mu.Lock()
	defer x.n.mu.Unlock()
	delete(x.n.wires, x)
}

// listen takes requests from the App.
func (x *wire) listen() {
	defer x.up.end()
	for {
		f, err := frame(x.near)
		if err != nil {
			return
		}
		what := x.n.traps.spring(f)
		switch what {
		case loseRequest, loseRequestAndFence:
			if what == loseRequestAndFence {
				x.n.traps.fence(f)
			}
			x.forget()
			x.cut()
			return
		case loseAnswer, loseAnswerAndFence:
			if what == loseAnswerAndFence {
				x.ends(f)
			}
			x.mu.Lock()
			if x.lose == nil {
				x.lose = map[uint32]bool{}
			}
			x.lose[binary.BigEndian.Uint32(f[8:])] = true
			x.mu.Unlock()
		}
		if x.n.markers != nil {
			x.inquire(f)
		}
		x.up.put(f)
	}
}

// ends notes a request that ends a transaction.
func (x *wire) ends(f []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.end == nil {
		x.end = map[uint32][]byte{}
	}
	x.end[binary.BigEndian.Uint32(f[8:])] = f
}

// endsWithoutError reports whether an answer to the end of a transaction, of the version that the Apps use, has no error.
func endsWithoutError(f []byte) bool {
	resp := kmsg.NewPtrEndTxnResponse()
	return decode(resp, 3, f) && resp.ErrorCode == 0
}

// inquire notes a request whose answer depends on markers.
func (x *wire) inquire(f []byte) {
	asks, is := inquiryOf(f)
	if !is {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.asks == nil {
		x.asks = map[uint32]inquiry{}
	}
	x.asks[binary.BigEndian.Uint32(f[8:])] = asks
}

// send takes them to the broker. What was written before the App closed its end still arrives.
func (x *wire) send() {
	defer x.far.Close()
	for p, ok := x.up.next(); ok; p, ok = x.up.next() {
		if !x.n.passes(p.sent, x.up.over) {
			return
		}
		if _, err := x.far.Write(p.frame); err != nil {
			return
		}
	}
}

// hear takes answers from the broker.
func (x *wire) hear() {
	defer x.down.end()
	for {
		f, err := frame(x.far)
		if err != nil {
			return
		}
		x.mu.Lock()
		id := binary.BigEndian.Uint32(f[4:])
		lost := x.lose[id]
		end := x.end[id]
		delete(x.end, id)
		asks, is := x.asks[id]
		delete(x.asks, id)
		x.mu.Unlock()
		if lost && end != nil {
			// Only an end that is being carried out is of interest. The next one is tried, where the coordinator said to try again.
			if lost = endsWithoutError(f); lost {
				x.n.traps.fence(end)
			} else {
				x.n.traps.again()
			}
		}
		if lost {
			x.forget()
			x.cut()
			return
		}
		if is {
			f = x.n.markers.answer(asks, f, x.down.over)
		}
		x.down.put(f)
	}
}

// deliver takes them to the App.
func (x *wire) deliver() {
	defer x.forget() // the other direction has ended before, or ends now
	defer x.near.Close()
	for p, ok := x.down.next(); ok; p, ok = x.down.next() {
		if !x.n.passes(p.sent, x.down.over) {
			return
		}
		if _, err := x.near.Write(p.frame); err != nil {
			return
		}
	}
}

// frame reads one request or answer, its length included.
func frame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	f := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(f, size[:])
	_, err := io.ReadFull(r, f[4:])
	return f, err
}

// pipe is what is on its way in one direction.
type pipe struct {
	wake chan struct{} // capacity 1
	over chan struct{} // closed by cut

	mu     sync.Mutex
	queue  []packet
	ended  bool // nothing more comes
	broken bool
}

type packet struct {
	frame []byte
	sent  time.Time
}

func newPipe() *pipe { return &pipe{wake: make(chan struct{}, 1), over: make(chan struct{})} }

func (p *pipe) put(f []byte) {
	p.mu.Lock()
	p.queue = append(p.queue, packet{f, time.Now()})
	p.mu.Unlock()
	p.poke()
}

func (p *pipe) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// end says that nothing more comes; what is there still passes.
func (p *pipe) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.poke()
}

// cut loses what is there.
func (p *pipe) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.broken {
		p.broken = true
		close(p.over)
	}
}

// next waits for a packet; false when none comes any more.
func (p *pipe) next() (packet, bool) {
	for {
		p.mu.Lock()
		if p.broken || p.ended && len(p.queue) == 0 {
			p.mu.Unlock()
			return packet{}, false
		}
		if len(p.queue) > 0 {
			x := p.queue[0]
			p.queue = p.queue[1:]
			p.mu.Unlock()
			return x, true
		}
		p.mu.Unlock()
		select {
		case <-p.wake:
		case <-p.over:
		}
	}
}

// traps lose the next requests of a kind, or the answers to them, whoever sends them.
type traps struct {
	fence func(request []byte)

	mu   sync.Mutex
	key  int16
	what loss
	left int
	hits int

	armed bool // from set to clear
}

type loss int

const (
	loseNothing loss = iota
	loseRequest      // the connection breaks before the broker sees it
	loseAnswer       // the broker does it, and the connection breaks
	// The same for requests that end a transaction. Somebody else takes its transactional id then, before the request can be repeated.
	loseRequestAndFence
	loseAnswerAndFence
)

func (t *traps) set(key int16, what loss, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.key, t.what, t.left, t.hits, t.armed = key, what, n, 0, true
}

// clear removes the trap and returns how often it sprang.
func (t *traps) clear() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left, t.armed = 0, false
	return t.hits
}

// again has the trap spring once more, in place of a time that had no effect.
func (t *traps) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed {
		t.hits--
		t.left++
	}
}

func (t *traps) hit() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hits
}

func (t *traps) spring(f []byte) loss {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 || len(f) < 12 || int16(binary.BigEndian.Uint16(f[4:])) != t.key {
		return loseNothing
	}
	t.left--
	t.hits++
	return t.what
}
