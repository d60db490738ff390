package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/internal/storage"
)

// machine is where a process runs and comes back: the owner of a state directory.
type machine struct {
	name string
	dir  string   // the present directory
	old  []string // copies of earlier ones, as of their last sync
	runs int
}

// process is one life of an App. Its own methods are for the goroutine that runs the history, unless they say otherwise.
type process struct {
	*millstream.App
	w      *world
	m      *machine
	name   string
	net    *network
	cancel context.CancelFunc
	dead   atomic.Bool   // passes no crash point any more
	died   chan struct{} // closed when a crash point has killed it
	done   chan struct{} // closed when Run has returned err
	err    error

	mu    sync.Mutex
	since map[string]time.Time // tasks, and since when they have been running
}

// start starts an App on a machine, on whatever is in its directory.
func (w *world) start(m *machine) *process {
	m.runs++
	p := &process{
		w: w, m: m, name: fmt.Sprintf("%s.%d", m.name, m.runs), net: newNetwork(w, w.latency),
		died: make(chan struct{}), done: make(chan struct{}), since: map[string]time.Time{},
	}
	standbys, acceptableLag := w.plan.standbys()
	instance := ""
	if w.plan.static() {
		instance = m.name
	}
	app, err := millstream.New(p.build(), millstream.Config{
		Standbys: standbys, AcceptableLag: acceptableLag, InstanceID: instance,
		OnTaskError:   failure.RestartTask(100, time.Minute).Backoff(100*time.Millisecond, time.Second),
		ApplicationID: application, Brokers: w.b.Brokers(), Dialer: p.net.dial, StateDir: m.dir, ClientID: p.name,
		Workers: w.workers, Guarantee: w.plan.guarantee, CommitInterval: w.commitInterval, SessionTimeout: sessionTimeout, HeartbeatInterval: heartbeatInterval,
		RebalanceTimeout: 15 * time.Second, MemoryBudget: 2 << 20, Logger: slog.New(&journal{p: p}),
	})
	require.NoError(w.t, err)
	p.App = app
	ctx, cancel := context.WithCancel(crashpoint.With(w.ctx, p.point))
	ctx = statedir.With(ctx, statedir.Options{NoSync: true, PageSize: 1024, FileBytes: w.fileBytes, Factor: w.factor, MaxRuns: w.maxRuns,
		ReplayBytes: 4 << 10, Merges: 1})
	p.cancel = cancel
	w.live = append(w.live, p)
	w.all = append(w.all, p)
	w.note("start %s", p.name)
	go func() {
		defer close(p.done)
		p.err = app.Run(ctx)
		p.ended()
	}()
	go p.sample()
	return p
}

// ended judges how Run has ended. A process that was killed may end as it likes.
func (p *process) ended() {
	p.w.died(p)
	if p.err != nil && !p.dead.Load() {
		p.w.fail("run", "%s ended with: %v", p.name, p.err)
	}
	if p.err == nil && p.State() != millstream.Stopped {
		p.w.fail("run", "%s returned in state %v", p.name, p.State())
	}
}

// point is the hook at crash points, on any goroutine of the App.
func (p *process) point(at crashpoint.Point) {
	if p.dead.Load() {
		panic(crashpoint.Dead)
	}
	if p.w.crash.meet(at) {
		p.die()
		p.w.note("%s dies at %v", p.name, at)
		p.w.crash.victim <- p
		close(p.died)
		panic(crashpoint.Dead)
	}
}

// die cuts the process off. It passes no crash point any more.
func (p *process) die() {
	p.net.kill()
	p.dead.Store(true)
	p.w.died(p)
}

// queryTicks is how often the tallies are queried, in ticks of sample.
const queryTicks = 10

// query notes the tallies that the process shows.
func (p *process) query() {
	h, err := p.OpenStore("tally")
	if err != nil {
		p.w.fail("query", "%s: %v", p.name, err)
		return
	}
	for e, err := range h.Bytes.Scan(storage.Range{}) {
		if err != nil { // the partition has left
			return
		}
		p.w.ledger.show(string(e.Key), string(e.Value))
	}
}

// sample follows which tasks run, for as long as the process does.
func (p *process) sample() {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for ticks := 0; ; {
		select {
		case <-t.C:
			p.look()
			if ticks++; ticks%queryTicks == 0 {
				p.query()
			}
		case <-p.done:
			return
		}
	}
}

func (p *process) look() {
	running := map[string]bool{}
	for _, t := range p.Tasks() {
		running[t.ID] = t.Running
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.since {
		if !running[id] {
			delete(p.since, id)
		}
	}
	for id, is := range running {
		if _, known := p.since[id]; is && !known {
			p.since[id] = time.Now()
		}
	}
}

// punctual checks that a task that was kept has not let a record wait. Called by workers.
func (p *process) punctual(sub int, part int32, since time.Time, ok bool) {
	waited := time.Since(since)
	if !ok || waited < time.Second {
		return
	}
	id := fmt.Sprintf("%d_%d", sub, part)
	p.mu.Lock()
	running, is := p.since[id]
	p.mu.Unlock()
	// The transaction of a process that has died holds up what reads what it wrote, until its session has ended and others hear of it.
	if p.w.plan.guarantee == millstream.ExactlyOnce && sub > 0 && waited < sessionTimeout+heartbeatInterval+2*time.Second {
		return
	}
	if sub == 0 && p.w.strangerSince(since) {
		return
	}
	if is && running.Before(since) && !p.net.isDead() && !p.w.disturbed(since) {
		p.w.fail("pause", "%s kept task %s, and let a record wait for %v", p.name, id, waited)
	}
}

// mayFail panics where a function of the topology is to fail. Called by workers.
func (p *process) mayFail() {
	w := p.w
	w.mu.Lock()
	fails := w.toFail > 0 && !p.dead.Load()
	if fails {
		w.toFail--
	}
	w.mu.Unlock()
	if fails {
		w.tookEffect(string(failures))
		w.note("a function of %s fails", p.name)
		panic("a function of the history fails")
	}
}

// stop ends the process gracefully.
func (p *process) stop() {
	p.w.note("stop %s", p.name)
	p.cancel()
	p.wait()
	p.w.forget(p)
}

// wait waits until Run has returned.
func (p *process) wait() {
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		p.w.fail("stop", "Run of %s does not return", p.name)
		<-p.done
	}
}

// kill ends the process as kill -9 would, and leaves its machine with the directory as it was at that moment. What is still
// running of it dies at the next crash point, without a connection and with files that nobody looks at any more.
func (p *process) kill() {
	settle()
	p.die()
	p.m.dir = p.w.copyOf(p.m.dir)
	p.w.note("kill %s", p.name)
	p.w.gaveUp("a process was killed")
	p.cancel()
	p.w.forget(p)
}

// journal takes what an App logs. It knows the messages that say that an epoch was given up.
type journal struct{ p *process }

func (j *journal) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", j.p.name, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %v", a)
		return true
	})
	j.p.w.log(b.String())
	if strings.Contains(r.Message, "aborted the transaction of a process that has died") {
		j.p.w.tookEffect(endedForDead)
	}
	for _, s := range []string{"the group no longer has this member", "dropped from the group", "a commit was refused"} {
		if strings.Contains(r.Message, s) {
			j.p.w.gaveUp(s)
		}
	}
	return nil
}

func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j } // the application, which all lines have
func (j *journal) WithGroup(string) slog.Handler      { return j }

// copyOf copies a state directory. The machine must be at rest.
func (w *world) copyOf(dir string) string {
	to := w.newDir()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(filepath.Join(to, rel), 0o700))
		}
		return copyFile(path, filepath.Join(to, rel))
	})
	require.NoError(w.t, err)
	return to
}

// copyFile leaves holes where there is nothing.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	size := int64(0)
	b, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(in, b)
		if n > 0 && !bytes.Equal(b[:n], zero[:n]) {
			if _, err := out.WriteAt(b[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return out.Truncate(size)
		default:
			return err
		}
	}
}

func (w *world) newDir() string {
	w.dirs++
	dir := filepath.Join(w.root, fmt.Sprint(w.dirs))
	require.NoError(w.t, os.MkdirAll(dir, 0o700))
	return dir
}
