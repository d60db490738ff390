package group

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app = "app"

// world is a cluster and the processes of an application, in one bubble.
type world struct {
	t       *testing.T
	b       *broker.Broker
	brokers []string
	dial    broker.Dialer
	g       *graph.Graph

	mu      sync.Mutex
	running map[graph.TaskID]map[*process]bool
	doubles []string // tasks that ran at two members that were both allowed to send
	all     []*process
}

// simulate runs f with three brokers and a topic "in" of four partitions, which the application reads.
func simulate(t *testing.T, f func(w *world)) {
	t.Helper()
	simulateGraph(t, plain("in"), f)
}

func simulateGraph(t *testing.T, g *graph.Graph, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.New(broker.Brokers(3), broker.Virtual(), broker.Topic("in", 4))
		require.NoError(t, err)
		defer b.Close()
		w := &world{t: t, b: b, brokers: b.Brokers(), dial: b.Dialer(), g: g, running: map[graph.TaskID]map[*process]bool{}}
		defer w.bury()
		f(w)
		w.mu.Lock()
		defer w.mu.Unlock()
		assert.Empty(t, w.doubles)
	})
}

// bury shows what a failed test left, and ends it.
func (w *world) bury() {
	for _, p := range w.all {
		if w.t.Failed() {
			w.t.Logf("%s: %d tasks, membership %+v, health %v\n%s", p.name, p.count(), p.g.Membership(), p.g.Healthy(), strings.Join(p.log, "\n"))
		}
		if !p.ended {
			p.net.cut()
			p.cancel()
			_ = p.end()
		}
	}
}

// plain is a topology that reads topics in one sub-topology each.
func plain(names ...string) *graph.Graph {
	g := &graph.Graph{}
	for i, name := range names {
		n := &graph.Node{Name: name, Kind: graph.Source, Sub: i, Source: &graph.SourceSpec{Topics: []string{name}}}
		g.Nodes = append(g.Nodes, n)
		g.Subs = append(g.Subs, &graph.Sub{ID: i, Nodes: []*graph.Node{n}})
	}
	return g
}

func matching(pattern string) *graph.Graph {
	g := plain("pattern")
	g.Nodes[0].Source = &graph.SourceSpec{Pattern: pattern}
	return g
}

// process is an App as far as its membership goes: for each task it owns it commits every 50 ms.
type process struct {
	w       *world
	name    string
	net     *wires
	client  kafka.Client
	roles   [2]kafka.Group
	admin   kafka.Admin
	offsets kafka.Offsets
	g       *Group
	cancel  context.CancelFunc
	done    chan error
	ended   bool

	mu       sync.Mutex
	tasks    map[graph.TaskID]*running
	log      []string
	hold     chan struct{} // Revoke waits for it
	revoked  int
	lost     int
	assigned int
	pauses   map[graph.TaskID]time.Duration // longest time between accepted commits
}

type running struct {
	quit, ended chan struct{}
}

func (w *world) start(name string, change ...func(*Config)) *process {
	w.t.Helper()
	p := &process{w: w, name: name, net: newWires(w.dial), tasks: map[graph.TaskID]*running{},
		pauses: map[graph.TaskID]time.Duration{}, done: make(chan error, 1)}
	var err error
	p.client, err = sarama.New(sarama.Config{Brokers: w.brokers, Dialer: p.net.dial, ClientID: name})
	require.NoError(w.t, err)
	for i := range p.roles {
		p.roles[i], err = p.client.Group()
		require.NoError(w.t, err)
	}
	p.admin, err = p.client.Admin()
	require.NoError(w.t, err)
	p.offsets, err = p.client.Offsets()
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	planner := topics.New(w.g, topics.Config{Application: app}, p.admin)
	plan, err := planner.Plan(ctx)
	require.NoError(w.t, err)
	c := Config{Application: app, Group: p.roles[0], Heartbeats: p.roles[1], Planner: planner, Plan: plan, Handler: p}
	for _, f := range change {
		f(&c)
	}
	c.Logger = slog.New(slog.NewTextHandler(p, nil))
	p.g = New(c)
	w.all = append(w.all, p)
	go func() { p.done <- p.g.Run(ctx) }()
	return p
}

// pair starts two members, each of which has half of the four tasks, and counts from there.
func (w *world) pair(change ...func(*Config)) (a, b *process) {
	w.t.Helper()
	a, b = w.start("a", change...), w.start("b", change...)
	a.has(2)
	b.has(2)
	pass(5 * time.Second)
	for _, p := range []*process{a, b} {
		p.longest()
		p.mu.Lock()
		p.revoked, p.lost, p.assigned = 0, 0, 0
		p.mu.Unlock()
	}
	return a, b
}

// end releases everything after Run has returned, and returns what it returned.
func (p *process) end() error {
	var err error
	select {
	case err = <-p.done:
	case <-time.After(5 * time.Minute):
		require.FailNow(p.w.t, "Run does not return", p.name)
	}
	p.ended = true
	p.stopAll()
	for _, r := range p.roles {
		r.Close()
	}
	p.admin.Close()
	p.offsets.Close()
	p.client.Close()
	p.cancel()
	return err
}

// stop ends the process gracefully.
func (p *process) stop() {
	p.w.t.Helper()
	p.g.Stop()
	require.NoError(p.w.t, p.end())
}

// kill ends the process as a crash would: nothing of it reaches the brokers any more.
func (p *process) kill() {
	p.net.cut()
	p.cancel()
	require.ErrorIs(p.w.t, p.end(), context.Canceled)
}

// Write takes what is logged.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, strings.TrimSpace(string(b)))
	return len(b), nil
}

func (p *process) note(format string, args ...any) {
	p.log = append(p.log, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

func (p *process) Assigned(tasks []topics.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.assigned += len(tasks)
	for _, t := range tasks {
		p.note("assigned %s", t.ID)
		assert.Nil(p.w.t, p.tasks[t.ID], "%s: assigned twice", p.name)
		r := &running{make(chan struct{}), make(chan struct{})}
		p.tasks[t.ID] = r
		p.w.begins(p, t.ID)
		go p.work(t, r)
	}
}

func (p *process) Revoke(tasks []graph.TaskID) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked += len(tasks)
	p.note("revoke %v", tasks)
	hold := p.hold
	return p.finish(tasks, hold)
}

func (p *process) Lost(tasks []graph.TaskID) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost += len(tasks)
	p.note("lost %v", tasks)
	return p.finish(tasks, nil)
}

// finish ends tasks, each with a last commit when that is still possible.
func (p *process) finish(tasks []graph.TaskID, hold chan struct{}) <-chan struct{} {
	var rs []*running
	for _, t := range tasks {
		if r := p.tasks[t]; r != nil {
			rs = append(rs, r)
			delete(p.tasks, t)
		}
	}
	done := make(chan struct{})
	go func() {
		if hold != nil {
			<-hold
		}
		for _, r := range rs {
			close(r.quit)
			<-r.ended
		}
		close(done)
	}()
	return done
}

func (p *process) stopAll() {
	p.mu.Lock()
	var ids []graph.TaskID
	for id := range p.tasks {
		ids = append(ids, id)
	}
	done := p.finish(ids, nil)
	p.mu.Unlock()
	<-done
}

func (w *world) begins(p *process, t graph.TaskID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[t] == nil {
		w.running[t] = map[*process]bool{}
	}
	for other := range w.running[t] {
		if other.g.Allowed() == nil && !other.net.isCut() {
			w.doubles = append(w.doubles, fmt.Sprintf("%s runs at %s and at %s", t, other.name, p.name))
		}
	}
	w.running[t][p] = true
}

// work is a task: it commits until it has to end, as workers do, and once more then.
func (p *process) work(t topics.Task, r *running) {
	defer close(r.ended)
	defer func() {
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		delete(p.w.running[t.ID], p)
	}()
	last := time.Now()
	for i := int64(1); ; i++ {
		select {
		case <-r.quit:
			p.commit(t, i, r)
			return
		case <-time.After(50 * time.Millisecond):
		}
		if p.commit(t, i, r) {
			p.mu.Lock()
			p.pauses[t.ID] = max(p.pauses[t.ID], time.Since(last))
			p.mu.Unlock()
			last = time.Now()
		}
	}
}

func (p *process) commit(t topics.Task, offset int64, r *running) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for {
		m := p.g.Membership()
		if !m.Owns(t.ID) || p.g.Allowed() != nil {
			return false
		}
		err := p.offsets.Commit(ctx, app, m.Member, m.Generation, map[kafka.TopicPartition]kafka.OffsetMeta{t.Inputs[0]: {Offset: offset}})
		if err == nil {
			return true
		}
		switch p.g.Refused(m, err) {
		case Again:
		case Wait:
			select {
			case <-m.Superseded():
			case <-time.After(100 * time.Millisecond):
			}
		default:
			return false
		}
		if ctx.Err() != nil {
			return false
		}
	}
}

// has waits until the process runs n tasks, and says how long that took.
func (p *process) has(n int) time.Duration {
	p.w.t.Helper()
	return p.w.until(fmt.Sprintf("%s has %d tasks", p.name, n), func() bool { return p.count() == n })
}

// loses waits until the process has lost n tasks since it was set up.
func (p *process) loses(n int) {
	p.w.t.Helper()
	p.w.until(fmt.Sprintf("%s loses %d tasks", p.name, n), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.lost == n
	})
}

func (p *process) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.tasks)
}

// longest returns the longest pause of any task since the last call.
func (p *process) longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out time.Duration
	for id, d := range p.pauses {
		out = max(out, d)
		p.pauses[id] = 0
	}
	return out
}

func (w *world) until(what string, f func() bool) time.Duration {
	w.t.Helper()
	begin := time.Now()
	for !f() {
		if time.Since(begin) > 3*time.Minute {
			require.FailNow(w.t, "not in time: "+what)
		}
		time.Sleep(5 * time.Millisecond) // virtual: what else goes on decides how long that is
	}
	return time.Since(begin)
}

// pass lets virtual time go by.
func pass(d time.Duration) { time.Sleep(d) }

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

// fault has the brokers answer one or more requests with an error.
func (w *world) fault(f kfake.Fault) *kfake.FaultHandle { return w.b.Cluster().Fault(f) }
