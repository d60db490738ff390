package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/testdriver/broker"
)

const (
	sessionTimeout = 6 * time.Second // the least that a broker allows by default
	// heartbeatInterval is how long it may take until a member hears that another one has died.
	heartbeatInterval = sessionTimeout / 4
	brokers           = 3
	firstPort         = 9092
	most              = 3 // processes at a time
)

// world is one history: brokers, machines, processes, and what is known of them.
type world struct {
	t      *testing.T
	plan   plan
	r      *rand.Rand
	ctx    context.Context
	cancel context.CancelFunc
	began  time.Time
	root   string
	dirs   int

	mix            mix
	graph          *graph.Graph // of every process
	partitions     int
	every          time.Duration // between two rounds of the feeder
	spread         bool          // over its partitions
	workers        int
	latency        time.Duration
	commitInterval time.Duration
	fileBytes      int64
	factor         int
	maxRuns        int

	b        *broker.Broker
	up       chan struct{} // capacity 1: held while the brokers restart, and by whoever asks them beside the history's goroutine
	feeder   *feeder
	reader   *reader
	late     *lateEnds  // nil: transactions end when the brokers answer
	markers  *markers   // nil with it
	outside  []*network // of those that are no Apps
	ledger   *ledger
	traps    traps
	crash    *crash
	machines []*machine
	live     []*process // those that are to run
	// endRequests ends the failing of requests, if there is any.
	endRequests func()
	fences      atomic.Int32 // transactional ids that somebody else has taken
	strangers   int
	others      sync.WaitGroup // goroutines of those that are no Apps, which end by themselves
	all         []*process

	mu             sync.Mutex // guards what follows
	failures       []finding
	notes          []string  // the schedule as it went
	journal        []string  // what the Apps logged, and the notes
	given          string    // why an epoch was given up; empty: none was
	stale          bool      // outputs may have what a zombie wrote late
	calm           time.Time // from when on, if there are no disturbances
	disturbances   int
	strangersNow   int            // whose transactions are open
	strangersUntil time.Time      // when the last one may still have held up something
	toFail         int            // calls of functions of the topology that are to fail
	counts         map[string]int // faults that took effect
	deaths         map[string]time.Time
}

// finding is one of the oracle.
type finding struct{ check, text string }

func newWorld(t *testing.T, p plan, dir string) *world {
	r := rand.New(rand.NewPCG(p.seed, 1))
	w := &world{
		t: t, plan: p, r: r, began: time.Now(), root: dir, ledger: newLedger(), up: make(chan struct{}, 1), endRequests: func() {}, crash: newCrash(), counts: map[string]int{},
		deaths:     map[string]time.Time{},
		partitions: 2 + r.IntN(3), workers: 1 + r.IntN(2), every: time.Duration(200+r.IntN(200)) * time.Millisecond, spread: r.IntN(2) == 0, latency: time.Duration(200+r.IntN(1500)) * time.Microsecond,
		mix:            mixes[p.seed%uint64(len(mixes))],
		commitInterval: time.Duration(20+r.IntN(130)) * time.Millisecond,
		fileBytes:      []int64{1 << 10, 2 << 10, 8 << 10}[r.IntN(3)], factor: 2 + r.IntN(2), maxRuns: 3 + r.IntN(6),
	}
	w.graph = (*graph.Handle)((&process{w: w}).build()).Graph()
	if slices.ContainsFunc(p.steps, func(s step) bool { return s.point == crashpoint.MergeHalf }) {
		w.fileBytes = 1 << 10 // there has to be a half
	}
	w.ctx, w.cancel = context.WithCancel(t.Context())
	opts := []broker.Option{broker.Virtual(), broker.Brokers(brokers)}
	for _, name := range []string{eventsTopic, profilesTopic, echoesTopic, "copies", "enriched", "tallies", "pairs", "held"} {
		opts = append(opts, broker.Topic(name, w.partitions))
	}
	if p.persistent() {
		opts = append(opts, broker.DataDir(filepath.Join(dir, "brokers")))
	}
	var err error
	w.b, err = broker.New(opts...)
	require.NoError(t, err)
	w.feeder = newFeeder(w)
	if p.guarantee == millstream.ExactlyOnce && p.seed%3 > 0 {
		w.markers = newMarkers(w, p.seed)
		w.late = newLateEnds(w, p.seed)
		w.outside = append(w.outside, w.late.net)
	}
	w.outside = append(w.outside, w.feeder.net)
	if p.guarantee == millstream.ExactlyOnce {
		w.reader = newReader(w)
		w.traps.fence = w.fence
	}
	return w
}

// bury ends whatever is left.
func (w *world) bury() {
	w.cancel()
	for _, p := range w.all {
		if !p.net.isDead() {
			p.dead.Store(true) // it may end as it likes
			p.net.kill()
			p.cancel()
		}
		p.wait()
	}
	w.others.Wait()
	w.feeder.client.Close()
	if w.reader != nil {
		w.reader.close()
	}
	if w.late != nil {
		w.late.close()
	}
	w.b.Close()
}

// settle waits until all of the bubble wait for something, so that nothing is under way but on the network.
func settle() { synctest.Wait() }

// pass lets time pass.
func pass(d time.Duration) { time.Sleep(d) }

// until waits until f says so, for at most limit.
func until(limit time.Duration, f func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); pass(50 * time.Millisecond) {
		if f() {
			return true
		}
	}
	return f()
}

func (w *world) newMachine() *machine {
	m := &machine{name: fmt.Sprintf("m%d", len(w.machines)+1), dir: w.newDir()}
	w.machines = append(w.machines, m)
	return m
}

func (w *world) forget(p *process) {
	w.live = slices.DeleteFunc(w.live, func(x *process) bool { return x == p })
}

// idle returns a machine on which nothing runs, a new one when there is none.
func (w *world) idle() *machine {
	for _, m := range w.machines {
		if !slices.ContainsFunc(w.live, func(p *process) bool { return p.m == m }) {
			return m
		}
	}
	return w.newMachine()
}

func (w *world) any() *process { return w.live[w.r.IntN(len(w.live))] }

func (w *world) at() string { return fmt.Sprintf("%8.3fs", time.Since(w.began).Seconds()) }

// note adds a line to the history as it went.
func (w *world) note(format string, args ...any) {
	line := w.at() + " " + fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, line)
	w.journal = append(w.journal, line)
}

func (w *world) log(line string) {
	line = w.at() + "     " + line
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = append(w.journal, line)
}

func (w *world) fail(check, format string, args ...any) {
	w.mu.Lock()
	if len(w.failures) < 20 {
		w.failures = append(w.failures, finding{check, fmt.Sprintf(format, args...)})
	}
	w.mu.Unlock()
	w.note("FAILED %s: %s", check, fmt.Sprintf(format, args...))
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failures) > 0
}

// gaveUp notes that an epoch was, or may have been, given up: what was processed in it is processed again.
func (w *world) gaveUp(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.given == "" {
		w.given = why
	}
}

// tookEffect counts a fault.
func (w *world) tookEffect(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// disturb says that not all brokers answer at once, until undisturb and a little longer. The two may be nested.
func (w *world) disturb() { w.disturbance(1) }

func (w *world) undisturb() { w.disturbance(-1) }

func (w *world) disturbance(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disturbances += n
	w.calm = time.Now().Add(5 * time.Second)
}

// disturbed reports whether something has disturbed the brokers since a time.
func (w *world) disturbed(since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.disturbances > 0 || since.Before(w.calm)
}

// run is the history.
func (w *world) run() {
	w.disturb()
	go w.expire()
	w.open()
	w.feeder.start(w.every)
	defer func() {
		w.feeder.stop()
		<-w.feeder.done
	}()
	w.undisturb()
	for _, s := range w.plan.steps {
		if w.failed() {
			return
		}
		pass(s.after)
		w.step(s)
	}
	if !w.failed() && w.rest() {
		w.judge()
	}
}

// died notes when a process ended, or died before.
func (w *world) died(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, before := w.deaths[p.name]; !before {
		w.deaths[p.name] = time.Now()
	}
}

// expire removes dead processes from the group once their session is over, where the brokers of this simulation forget to: a member that
// dies while its join waits for others stays in the group for ever there. Kafka removes it.
func (w *world) expire() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-w.ctx.Done():
			return
		}
		for _, id := range w.expired() {
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Group = application
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID = id
			req.Members = append(req.Members, m)
			_, _ = req.RequestWith(w.ctx, w.feeder.client) // else in a second
		}
	}
}

// expired returns the members whose process died longer ago than a session lasts.
func (w *world) expired() []string {
	w.up <- struct{}{}
	info := w.b.Cluster().GroupInfo(application)
	if w.reader != nil {
		w.reader.follow(info)
	}
	<-w.up
	if info == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for _, m := range info.Members {
		if at, dead := w.deaths[m.ClientID]; dead && time.Since(at) > sessionTimeout+time.Second {
			ids = append(ids, m.MemberID)
		}
	}
	return ids
}

// rest heals everything, lets the Apps come to rest, writes once more to every partition, and stops them.
func (w *world) rest() bool {
	w.endRequests()
	w.others.Wait()
	if len(w.live) == 0 {
		w.start(w.idle())
	}
	pass(2 * time.Second)
	w.feeder.halt()
	if !w.quiet("after the faults") {
		return false
	}
	for range w.partitions { // whoever wrote into a changelog of another is found out at the owner's next write
		w.feeder.round()
	}
	return w.quiet("at the end")
}

// quiet waits until everything is processed and committed, and each task runs once.
func (w *world) quiet(when string) bool {
	if until(3*time.Minute, func() bool { return w.behind() == "" && w.misplaced() == "" }) {
		w.note("at rest %s", when)
		return true
	}
	w.fail("rest", "the Apps do not come to rest %s: %s", when, strings.TrimSpace(w.behind()+" "+w.misplaced()))
	return false
}

// behind says which inputs are not processed and committed.
func (w *world) behind() string {
	info := w.b.Cluster().GroupInfo(application)
	if info == nil {
		return "there is no group"
	}
	var out []string
	read := []string{eventsTopic, profilesTopic, repartitioned}
	if w.mix == joinedMix {
		read = append(read, echoesTopic)
	}
	for _, topic := range read {
		for _, p := range w.b.Cluster().PartitionInfos(topic) {
			if at := info.Commits[topic][p.Partition].Offset; at < p.HighWatermark {
				out = append(out, fmt.Sprintf("%s[%d] is committed up to %d of %d", topic, p.Partition, at, p.HighWatermark))
			}
		}
	}
	return strings.Join(out, ", ")
}

// misplaced says which tasks do not run once.
func (w *world) misplaced() string {
	n := map[string]int{}
	for _, p := range w.live {
		if p.State() != millstream.Running {
			return fmt.Sprintf("%s is %v", p.name, p.State())
		}
		for _, t := range p.Tasks() {
			n[t.ID]++
		}
	}
	var out []string
	for sub := range 2 {
		for p := range w.partitions {
			if id := fmt.Sprintf("%d_%d", sub, p); n[id] != 1 {
				out = append(out, fmt.Sprintf("task %s runs %d times", id, n[id]))
			}
		}
	}
	return strings.Join(out, ", ")
}

// crash is the crash point that is armed: the first process that passes it for the nth time dies there.
type crash struct {
	victim chan *process // capacity 1

	mu   sync.Mutex
	at   crashpoint.Point // 0: none
	left int
}

func newCrash() *crash { return &crash{victim: make(chan *process, 1)} }

func (c *crash) arm(at crashpoint.Point, nth int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.left = at, nth
}

// disarm reports whether the point was still armed.
func (c *crash) disarm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	armed := c.at != 0
	c.at = 0
	return armed
}

func (c *crash) meet(at crashpoint.Point) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at != c.at {
		return false
	}
	if c.left--; c.left > 0 {
		return false
	}
	c.at = 0
	return true
}
