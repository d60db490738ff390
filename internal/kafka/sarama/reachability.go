package sarama

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// reachability knows which broker addresses answer. Every connection of every role reports to it. A
// role cannot tell a broker that restarts from a cluster that is away, because it talks to one
// broker at a time; so only reachability logs that brokers cannot be reached, and Client.Healthy is
// its answer.
//
// While nothing is asked of the cluster, nothing would be noticed. So it asks a broker for metadata
// when no broker has answered for a while, first one that answered before, then all.
type reachability struct {
	client     *Client
	clockStart time.Time    // what times below count from
	lastAnswer atomic.Int64 // when a broker answered last, or when the first connection was begun
	down       atomic.Bool  // no broker answers

	mu        sync.Mutex
	endpoints map[string]*endpoint // by address
	downSince time.Time

	firstOpened chan struct{} // closed when the first connection is opened
	firstOpen   sync.Once
	wake        chan struct{}
	ctx         context.Context
	stop        context.CancelFunc
	wg          sync.WaitGroup
}

// endpoint is what is known of one address.
type endpoint struct {
	reachability *reachability
	addr         string
	lastAnswer   atomic.Int64 // when it answered last; 0: never

	// Under reachability.mu.
	lastError    error     // of the last attempt since the last answer
	failingSince time.Time // when the first of these attempts failed
	lastFailure  time.Time // when the last of them failed
	stage        stage     // of the attempt that was begun last
	attempts     int       // under way
	warned       bool      // it was logged that the endpoint alone cannot be reached
	probing      bool      // it is being asked, by the goroutine that owns conn
	probeStart   int64     // when that began
	cancelProbe  context.CancelFunc
	conn         *conn
}

const (
	// probeAfter is how long no broker answers before one of them is asked. A fetcher's polls are
	// answered every 500ms.
	probeAfter = 750 * time.Millisecond
	// probeAllAfter is how long no broker answers before all of them are asked.
	probeAllAfter = time.Second
	// downAfter is how long no broker answers before that is logged. The operator is to know within
	// two seconds.
	downAfter = 1500 * time.Millisecond
	// unreachableAfter is how long one broker may fail while others answer. A cluster takes a broker
	// that stopped out of its metadata within 9 s (KRaft) or 18 s (ZooKeeper); one that is in it for
	// longer cannot be reached from here.
	unreachableAfter = 30 * time.Second
	// probeTimeout bounds how long an endpoint is asked. A connection that hangs because the network
	// drops its packets must not delay the next attempt.
	probeTimeout = 3 * time.Second
	// maxProbes bounds how many brokers are asked at the same time.
	maxProbes = 16
)

func newReachability(c *Client) *reachability {
	r := &reachability{client: c, clockStart: time.Now(), endpoints: map[string]*endpoint{},
		firstOpened: make(chan struct{}), wake: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.wg.Go(r.run)
	return r
}

func (r *reachability) close() {
	r.stop()
	r.wg.Wait()
	for _, e := range r.endpoints {
		if e.conn != nil {
			e.conn.close()
		}
	}
}

func (r *reachability) now() int64 { return int64(time.Since(r.clockStart)) }

// endpoint returns the endpoint of addr.
func (r *reachability) endpoint(addr string) *endpoint {
	r.firstOpen.Do(func() {
		r.lastAnswer.Store(r.now())
		close(r.firstOpened)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.endpoints[addr]
	if e == nil {
		e = &endpoint{reachability: r, addr: addr}
		r.endpoints[addr] = e
	}
	return e
}

// noteAnswer notes that the broker has answered a request. It is called for each answer, so it
// takes no lock.
func (e *endpoint) noteAnswer() {
	now := max(e.reachability.now(), 1)
	e.lastAnswer.Store(now)
	e.reachability.lastAnswer.Store(now)
	if e.reachability.down.Load() {
		signal(e.reachability.wake)
	}
}

// answeredAt returns when the broker answered last; before everything else when it never has.
func (e *endpoint) answeredAt() time.Time {
	return e.reachability.clockStart.Add(time.Duration(e.lastAnswer.Load()))
}

// beginAttempt notes that a connection is being opened.
func (e *endpoint) beginAttempt() {
	e.reachability.mu.Lock()
	e.attempts++
	e.stage = connecting
	e.reachability.mu.Unlock()
}

// enterStage notes how far the attempt has come.
func (e *endpoint) enterStage(s stage) {
	e.reachability.mu.Lock()
	e.stage = s
	e.reachability.mu.Unlock()
}

// endAttempt notes the end of an attempt. err is nil when the connection is open.
func (e *endpoint) endAttempt(err error) {
	e.reachability.mu.Lock()
	e.attempts--
	e.reachability.mu.Unlock()
	if err != nil {
		e.noteFailure(err)
	}
}

// noteFailure notes that the endpoint cannot be reached.
func (e *endpoint) noteFailure(err error) {
	e.reachability.mu.Lock()
	defer e.reachability.mu.Unlock()
	e.lastFailure = time.Now()
	if e.lastError == nil || e.answeredAt().After(e.failingSince) {
		e.failingSince = e.lastFailure
	}
	e.lastError = err
}

// problem returns why the endpoint does not answer; nil when it does, or when nothing is known.
// Under mu.
func (e *endpoint) problem() error {
	if e.lastError != nil && (e.lastAnswer.Load() == 0 || e.lastFailure.After(e.answeredAt())) {
		return e.lastError
	}
	if e.attempts > 0 || e.probing {
		return e.stage.unanswered()
	}
	return nil
}

// run logs what changes.
func (r *reachability) run() {
	select {
	case <-r.firstOpened:
	case <-r.ctx.Done():
		return
	}
	t := time.NewTimer(probeAfter)
	defer t.Stop()
	for {
		t.Reset(r.check())
		select {
		case <-r.wake:
		case <-t.C:
		case <-r.ctx.Done():
			return
		}
	}
}

// check compares what is known with what was logged, asks brokers where that is due, and returns
// when to check again.
func (r *reachability) check() time.Duration {
	since := time.Duration(r.now() - r.lastAnswer.Load())
	// Some broker answers.
	if since < probeAfter {
		r.logRecovered()
		r.logSingleBroker()
		return probeAfter - since
	}
	// A single one is asked first: most often nothing is wrong but that no role had something to ask.
	if since < probeAllAfter && r.probe(r.lastAnswered()) {
		return probeAllAfter - since
	}
	r.probe(r.candidates()...)
	if since < downAfter {
		return downAfter - since
	}
	r.logDown(since)
	return r.client.cfg.RetryMax / 2
}

// logDown logs once that no broker answers.
func (r *reachability) logDown(since time.Duration) {
	if r.down.Load() {
		return
	}
	r.mu.Lock()
	r.downSince = time.Now().Add(-since)
	r.mu.Unlock()
	r.down.Store(true)
	// A broker has answered since check: noteAnswer found down unset, and has woken nobody.
	if time.Duration(r.now()-r.lastAnswer.Load()) < probeAfter {
		r.down.Store(false)
		return
	}
	r.client.cfg.Logger.Warn("millstream: no broker answers", "brokers", r.client.cfg.Brokers, "error", r.problem())
}

// logRecovered logs once that brokers answer again.
func (r *reachability) logRecovered() {
	if !r.down.CompareAndSwap(true, false) {
		return
	}
	r.mu.Lock()
	after := time.Since(r.downSince)
	for _, e := range r.endpoints {
		e.failingSince = time.Now() // until here it was away with all others
	}
	r.mu.Unlock()
	addr := ""
	if e := r.lastAnswered(); e != nil {
		addr = e.addr
	}
	r.client.cfg.Logger.Info("millstream: brokers answer again", "broker", addr,
		"after", after.Round(100*time.Millisecond))
}

// logSingleBroker logs brokers that the cluster lists and that cannot be reached although others can.
func (r *reachability) logSingleBroker() {
	listed := map[string]bool{}
	for _, a := range r.client.metadata.cluster().brokers {
		listed[a] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.endpoints {
		answers := e.answeredAt().After(e.lastFailure)
		switch {
		case e.warned && answers:
			e.warned = false
			r.client.cfg.Logger.Info("millstream: a broker answers again", "broker", e.addr)
		// The last failure is a recent one: where nobody has tried for a while, nothing is known.
		case !e.warned && !answers && e.lastError != nil && listed[e.addr] &&
			e.lastFailure.Sub(e.failingSince) >= unreachableAfter && time.Since(e.lastFailure) < unreachableAfter/2:
			e.warned = true
			r.client.cfg.Logger.Warn("millstream: a broker cannot be reached, though the cluster lists it and others answer: "+
				"check its advertised.listeners and the network", "broker", e.addr, "error", e.lastError)
		}
	}
}

// lastAnswered returns the endpoint that answered last, or nil.
func (r *reachability) lastAnswered() *endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best *endpoint
	for _, e := range r.endpoints {
		if n := e.lastAnswer.Load(); n > 0 && (best == nil || n > best.lastAnswer.Load()) {
			best = e
		}
	}
	return best
}

// candidates returns the endpoints of all addresses that are worth asking.
func (r *reachability) candidates() []*endpoint {
	var others []string
	for _, a := range r.client.metadata.cluster().brokers {
		if !slices.Contains(r.client.cfg.Brokers, a) {
			others = append(others, a)
		}
	}
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	addrs := slices.Concat(r.client.cfg.Brokers, others)
	var out []*endpoint
	for _, a := range addrs[:min(len(addrs), maxProbes)] {
		out = append(out, r.endpoint(a))
	}
	return out
}

// probe has endpoints asked, each on a goroutine of its own. It reports false when there is none to
// ask.
func (r *reachability) probe(es ...*endpoint) bool {
	for _, e := range es {
		if e == nil {
			return false
		}
		r.mu.Lock()
		switch {
		case !e.probing:
			ctx, cancel := context.WithTimeout(r.ctx, probeTimeout)
			e.probing, e.probeStart, e.cancelProbe = true, r.now(), cancel
			r.wg.Go(func() {
				e.probe(ctx)
				r.mu.Lock()
				e.probing = false
				r.mu.Unlock()
				cancel()
				signal(r.wake)
			})
		// A role got an answer from it in the meantime, so the probe hangs on a connection that is broken.
		case e.lastAnswer.Load() > e.probeStart:
			e.cancelProbe()
		}
		r.mu.Unlock()
	}
	return len(es) > 0
}

// probe asks for metadata, on a connection that only reachability uses.
func (e *endpoint) probe(ctx context.Context) {
	c := e.reachability.client
	// Twice if need be: the broker may have closed a connection that was idle.
	for fresh := false; !fresh && ctx.Err() == nil; {
		var err error
		if fresh = e.conn == nil || e.conn.dead.Load(); fresh {
			if e.conn != nil {
				e.conn.close()
				e.conn = nil
			}
			if e.conn, err = c.open(ctx, e.addr, forever); err != nil {
				break
			}
		}
		e.enterStage(requesting)
		err = e.conn.roundTrip(ctx, probeTimeout, func(b *ibm.Broker) error {
			_, err := getMetadata(e.conn, b, []string{offsetsTopic})
			return err
		})
		if err == nil {
			return
		}
	}
	// It counts as being asked for a while longer, so that it is not asked again at once.
	sleep(c.cfg.RetryMax, ctx.Done(), nil)
}

// healthy returns nil, or why no broker answers.
func (r *reachability) healthy() error {
	if !r.down.Load() {
		return nil
	}
	return r.problem()
}

// problem returns why brokers do not answer, addresses with the same reason together.
func (r *reachability) problem() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := &noBroker{}
	for _, addr := range slices.Sorted(maps.Keys(r.endpoints)) {
		err := r.endpoints[addr].problem()
		if err == nil {
			continue
		}
		i := slices.IndexFunc(u.problems, func(p addressProblem) bool { return p.err.Error() == err.Error() })
		if i < 0 {
			i = len(u.problems)
			u.problems = append(u.problems, addressProblem{err: err})
		}
		u.problems[i].addrs = append(u.problems[i].addrs, addr)
	}
	slices.SortStableFunc(u.problems, func(a, b addressProblem) int { return cmp.Compare(len(b.addrs), len(a.addrs)) })
	return u
}

// noBroker is the error that no broker answers.
type noBroker struct{ problems []addressProblem }

// addressProblem is what addresses have in common.
type addressProblem struct {
	addrs []string
	err   error
}

func (n *noBroker) Error() string {
	var parts []string
	for _, p := range n.problems {
		parts = append(parts, strings.Join(p.addrs, ", ")+": "+p.err.Error())
	}
	return "no broker answers: " + strings.Join(parts, "; ")
}

func (n *noBroker) Unwrap() (errs []error) {
	for _, p := range n.problems {
		errs = append(errs, p.err)
	}
	return errs
}

// Is makes it kafka.ErrUnavailable.
func (n *noBroker) Is(target error) bool { return target == kafka.ErrUnavailable }

// LogValue leaves out what the message says already.
func (n *noBroker) LogValue() slog.Value {
	return slog.StringValue(strings.TrimPrefix(n.Error(), "no broker answers: "))
}
