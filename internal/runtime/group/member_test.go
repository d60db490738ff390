package group

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// process is an App as far as its membership goes: for each task it owns it commits all the time.
type process struct {
	cluster *cluster
	name    string
	net     *network
	client  kafka.Client
	roles   [2]kafka.Group
	admin   kafka.Admin
	offsets kafka.Offsets
	group   *Group
	cancel  context.CancelFunc
	done    chan error
	ended   bool

	mu            sync.Mutex
	tasks         map[graph.TaskID]*running
	log           []string
	releaseSettle chan struct{} // Revoke waits for it
	revoked       int
	lostTasks     int
	assigned      int
	pauses        map[graph.TaskID]time.Duration // longest time between accepted commits
}

type running struct {
	quit, ended chan struct{}
}

func (w *cluster) start(name string, change ...func(*Config)) *process {
	w.t.Helper()
	p := &process{cluster: w, name: name, net: newNetwork(w.dial), tasks: map[graph.TaskID]*running{},
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
	planner := topics.New(w.graph, topics.Config{Application: app}, p.admin)
	plan, err := planner.Deploy(ctx)
	require.NoError(w.t, err)
	c := Config{Application: app, Group: p.roles[0], Heartbeats: p.roles[1], Deployer: planner, Deployment: plan, Handler: p}
	for _, f := range change {
		f(&c)
	}
	c.Logger = slog.New(slog.NewTextHandler(p, nil))
	p.group = New(c)
	w.all = append(w.all, p)
	go func() { p.done <- p.group.Run(ctx) }()
	return p
}

// pair starts two members, each of which has half of the four tasks, and counts from there.
func (w *cluster) pair(change ...func(*Config)) (a, b *process) {
	w.t.Helper()
	a, b = w.start("a", change...), w.start("b", change...)
	a.has(2)
	b.has(2)
	pass(5 * time.Second)
	for _, p := range []*process{a, b} {
		p.longest()
		p.mu.Lock()
		p.revoked, p.lostTasks, p.assigned = 0, 0, 0
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
		require.FailNow(p.cluster.t, "Run does not return", p.name)
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
	p.cluster.t.Helper()
	p.group.Stop(time.Time{})
	require.NoError(p.cluster.t, p.end())
}

// kill ends the process as a crash would: nothing of it reaches the brokers any more.
func (p *process) kill() {
	p.net.disconnect()
	p.cancel()
	require.ErrorIs(p.cluster.t, p.end(), context.Canceled)
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
		assert.Nil(p.cluster.t, p.tasks[t.ID], "%s: assigned twice", p.name)
		r := &running{make(chan struct{}), make(chan struct{})}
		p.tasks[t.ID] = r
		p.cluster.begins(p, t.ID)
		go p.work(t, r)
	}
}

func (p *process) Revoke(tasks []graph.TaskID) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked += len(tasks)
	p.note("revoke %v", tasks)
	release := p.releaseSettle
	return p.finish(tasks, release)
}

// Standbys implements Handler: it has no stores.
func (p *process) Standbys([]Standby) {}

func (p *process) Lost(tasks []graph.TaskID) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lostTasks += len(tasks)
	p.note("lost %v", tasks)
	return p.finish(tasks, nil)
}

// finish ends tasks, each with a last commit when that is still possible.
func (p *process) finish(tasks []graph.TaskID, release chan struct{}) <-chan struct{} {
	var rs []*running
	for _, t := range tasks {
		if r := p.tasks[t]; r != nil {
			rs = append(rs, r)
			delete(p.tasks, t)
		}
	}
	done := make(chan struct{})
	go func() {
		if release != nil {
			<-release
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

func (w *cluster) begins(p *process, t graph.TaskID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[t] == nil {
		w.running[t] = map[*process]bool{}
	}
	for other := range w.running[t] {
		if other.group.Allowed() == nil && !other.net.disconnected() {
			w.doubles = append(w.doubles, fmt.Sprintf("%s runs at %s and at %s", t, other.name, p.name))
		}
	}
	w.running[t][p] = true
}

// work is a task: it commits until it has to end, as workers do, and once more then.
func (p *process) work(t topics.Task, r *running) {
	defer close(r.ended)
	defer func() {
		p.cluster.mu.Lock()
		defer p.cluster.mu.Unlock()
		delete(p.cluster.running[t.ID], p)
	}()
	last := time.Now()
	for i := int64(1); ; i++ {
		select {
		case <-r.quit:
			p.commit(t, i, r)
			return
		case <-time.After(p.cluster.every):
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
		m := p.group.Membership()
		if !m.Owns(t.ID) || p.group.Allowed() != nil {
			return false
		}
		err := p.offsets.Commit(ctx, app, m.Member, m.Generation, map[kafka.TopicPartition]kafka.OffsetMeta{t.Inputs[0]: {Offset: offset}})
		if err == nil {
			return true
		}
		switch p.group.AfterCommitError(m, err) {
		case Retry:
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
	p.cluster.t.Helper()
	return p.cluster.until(fmt.Sprintf("%s has %d tasks", p.name, n), func() bool { return p.count() == n })
}

// losesTasks waits until the process has lost n tasks since it was set up.
func (p *process) losesTasks(n int) {
	p.cluster.t.Helper()
	p.cluster.until(fmt.Sprintf("%s loses %d tasks", p.name, n), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.lostTasks == n
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
