//go:build kafka

package chaos

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

var (
	rounds = flag.Int("rounds", 2, "how many rounds, for each guarantee")
	seed   = flag.Uint64("seed", 0, "of the schedules; 0: a new one, which is printed")
	first  = flag.Int("first", 0, "the number of the first round: a schedule is that of the seed and the round")
)

// patience is how long a test waits for what has to come, on a machine that may be busy with much else.
const patience = 2 * time.Minute

// At least once nothing is lost. What is counted twice is counted here; where nothing fails nothing is counted twice.
func TestKafkaChaos_AtLeastOnce(t *testing.T) { chaos(t, millstream.AtLeastOnce) }

// Exactly once nothing is lost, nothing is there twice, and the sum of all balances stays.
func TestKafkaChaos_ExactlyOnce(t *testing.T) { chaos(t, millstream.ExactlyOnce) }

// world is a run of the test.
type world struct {
	t        *testing.T
	dir      string // logs, state and the broker's data
	settings settings
	seed     uint64
	node     *kafkatest.Node
	cluster  *cluster
	reader   *reader
	oracle   *oracle
	figures  *figures
	members  []*member
	round    atomic.Int64
	thawed   time.Time // when a member or the broker went on last
	schedule *os.File
}

func chaos(t *testing.T, g millstream.Guarantee) {
	s := cmp.Or(*seed, rand.Uint64N(1_000_000))
	name := strings.ReplaceAll(strings.ToLower(g.String()), "once", "-once")
	dir, err := os.MkdirTemp("", fmt.Sprintf("millstream-chaos-%s-%d-", name, s))
	require.NoError(t, err)
	t.Logf("%v, seed %d; go test -tags kafka ./tests/chaos -run '%s$' -v -first %d -rounds %d -seed %d repeats the schedule", g, s, t.Name(), *first, *rounds, s)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs, schedule, state and the broker's data are in %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &world{t: t, dir: dir, seed: s, settings: settings{Guarantee: g}, figures: newFigures()}
	w.begin(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); w.watch(ctx) }()
	read := make(chan struct{})
	go func() { defer close(read); w.reader.read(ctx) }()
	last := *first + *rounds
	for round := *first; round < last; round++ {
		w.oneRound(ctx, round, drawn(s, round, g == millstream.ExactlyOnce))
	}
	w.oneRound(ctx, last, nil) // closes the windows of the one before
	for _, m := range w.members {
		require.NoError(t, m.end(syscall.SIGTERM))
	}
	cancel()
	<-watched
	<-read
	t.Log(w.figures)
	o := w.oracle
	t.Logf("%v, seed %d: rounds=%d lost=%d duplicated=%d sum=%d", g, s, *rounds, o.lost, o.duplicated, o.sum())
	require.Zero(t, o.lost)
	if g == millstream.ExactlyOnce {
		require.Zero(t, o.duplicated)
		require.Zero(t, o.sum())
	}
}

// begin starts the broker and the members, and waits until all tasks run.
func (w *world) begin(ctx context.Context) {
	t := w.t
	dir := filepath.Join(w.dir, "kafka")
	require.NoError(t, os.Mkdir(dir, 0o700))
	node, err := kafkatest.New(ctx, dir, kafkatest.Options{JVM: []string{"-Xmx512m"}, Properties: map[string]string{
		"log.cleaner.backoff.ms":                                      "1000",
		"group.min.session.timeout.ms":                                "500",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
	}})
	require.NoError(t, err)
	w.node = node
	t.Cleanup(node.Kill)
	w.settings.Broker = node.Addr
	w.cluster, err = newCluster(node.Addr)
	require.NoError(t, err)
	t.Cleanup(w.cluster.close)
	require.NoError(t, w.cluster.create(ctx))
	w.schedule, err = os.Create(filepath.Join(w.dir, "schedule.txt"))
	require.NoError(t, err)
	t.Cleanup(func() { w.schedule.Close() })
	for i := range members + 1 {
		name := strings.ReplaceAll(who(i), " ", "-")
		m := &member{number: i, dir: filepath.Join(w.dir, name), report: w.figures.report}
		require.NoError(t, os.Mkdir(m.dir, 0o700))
		m.log, err = os.Create(filepath.Join(w.dir, name+".log"))
		require.NoError(t, err)
		w.members = append(w.members, m)
		t.Cleanup(func() {
			m.end(syscall.SIGKILL)
			m.log.Close()
		})
	}
	for _, m := range w.members[:members] {
		require.NoError(t, m.start(w.settings))
	}
	w.eventually(ctx, "all tasks run", func() string {
		for i := range members {
			if len(w.figures.owned(i)) == 0 {
				return who(i) + " has no task"
			}
		}
		return ""
	})
	// The last rounds are in the present: brokers refuse times that are ahead, and delete what is old.
	start := time.Now().Add(-time.Duration(*first+*rounds+2) * roundTime).Truncate(time.Second)
	w.oracle = newOracle(w.settings.Guarantee == millstream.ExactlyOnce, timesFrom(start))
	w.oracle.checked = *first
	w.reader, err = newReader(node.Addr, w.oracle)
	require.NoError(t, err)
	t.Cleanup(w.reader.client.Close)
}

// note prints a line, and writes it to the file of what has happened.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%s round %d: %s", time.Now().Format("15:04:05.000"), w.round.Load(), fmt.Sprintf(format, args...))
	fmt.Fprintln(w.schedule, line)
	w.t.Log(line)
}

// watch asks for the group's offsets twenty times a second.
func (w *world) watch(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if offsets, err := w.cluster.committed(ctx, false); err == nil {
			w.figures.commit(int(w.round.Load()), time.Now(), offsets)
		}
	}
}

// eventually polls: what is awaited happens in other processes. ok returns what is missing.
func (w *world) eventually(ctx context.Context, what string, ok func() string) {
	w.t.Helper()
	missing := ""
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		w.alive()
		if missing = ok(); missing == "" {
			return
		}
		if time.Now().After(end) {
			w.note("not within %v: %s: %s", patience, what, missing)
			require.Fail(w.t, "not in time", "%s: %s", what, missing)
		}
		require.NoError(w.t, ctx.Err())
	}
}

// alive fails when a process has ended by itself.
func (w *world) alive() {
	w.t.Helper()
	for _, m := range w.members {
		if m.ended() {
			require.Fail(w.t, "a process has ended by itself", "%s, in round %d: %v", who(m.number), w.round.Load(), m.cmd.ProcessState)
		}
	}
}

// action is the beginning or the end of a fault.
type action struct {
	at    time.Duration
	fault fault
	begin bool
}

func (w *world) oneRound(ctx context.Context, round int, s schedule) {
	t := w.t
	w.round.Store(int64(round))
	w.note("%v", s)
	if s != nil && !w.oracle.exactly { // see drawn
		time.Sleep(time.Until(w.thawed.Add(5 * time.Second)))
	}
	var from []int64
	for _, m := range w.members {
		at, err := m.log.Seek(0, 1)
		require.NoError(t, err)
		from = append(from, at)
	}
	l := newLoad(round, w.oracle.times, rand.New(rand.NewPCG(w.seed, uint64(round)+1<<32)))
	require.NoError(t, w.cluster.write(ctx, l.accounts(round == *first), nil))
	if round == *first {
		w.rest(ctx) // a transfer that is processed before its account has no result, and should have none
	}
	began := time.Now()
	require.NoError(t, w.cluster.write(ctx, nil, l.closing()))
	loadCtx, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	loaded := make(chan error, 1)
	go func() { loaded <- w.load(ctx, loadCtx, l) }()
	w.figures.load(true)

	var actions []action
	for _, f := range s {
		actions = append(actions, action{f.at, f, true}, action{f.end(), f, false})
	}
	slices.SortStableFunc(actions, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	harsh := false
	for _, a := range actions {
		w.sleep(ctx, time.Until(began.Add(a.at)))
		if a.begin && !a.fault.gentle && !harsh {
			harsh = true
			w.settle(ctx)
		}
		require.NoError(t, w.do(ctx, a), "%v", a.fault)
	}
	w.sleep(ctx, time.Second)
	w.figures.load(false)
	stopLoad()
	require.NoError(t, <-loaded)
	w.rest(ctx)
	gentle := s.gentle()
	for i, m := range w.members {
		if gentle && m.lostMembership(from[i]) {
			w.note("%s has lost its membership, although nothing was done to it: this machine is busy", who(i))
			gentle = false
		}
	}
	o := w.oracle
	w.reader.mu.Lock()
	defer w.reader.mu.Unlock()
	transfers := len(o.sent[round])
	o.check(round, gentle, !s.freezes())
	w.note("%d transfers, %.1fs; lost=%d duplicated=%d sum=%d", transfers, time.Since(began).Seconds(), o.lost, o.duplicated, o.sum())
	if dropped := w.figures.dropped; len(dropped) > 0 {
		o.fail("dropped: %s", strings.Join(dropped, "; "))
	}
	if len(o.wrong) > 0 {
		for _, x := range o.wrong[:min(len(o.wrong), 30)] {
			w.note("%s", x)
		}
		require.Fail(t, "the bank is wrong", "%d findings; the first: %s", len(o.wrong), o.wrong[0])
	}
}

// sleep waits, and fails when a process ends meanwhile.
func (w *world) sleep(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(min(50*time.Millisecond, time.Until(end))) {
		w.alive()
	}
}

// load writes transfers until stop ends. A broker that is away is waited for.
func (w *world) load(ctx, stop context.Context, l *load) error {
	began := time.Now()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop.Done():
			return nil
		}
		var ts []transferRecord
		for range 4 {
			ts = append(ts, l.next(time.Since(began)))
		}
		if err := w.cluster.write(ctx, nil, ts); err != nil {
			return err
		}
	}
}

// settle marks the transfers that are committed, before the first fault that may cost a member uncommitted work: they must not be there twice
// afterwards, at least once neither.
func (w *world) settle(ctx context.Context) {
	committed, err := w.cluster.committed(ctx, false)
	if err != nil {
		return
	}
	w.reader.mu.Lock()
	defer w.reader.mu.Unlock()
	w.oracle.settle(committed)
}

// do begins or ends a fault.
func (w *world) do(ctx context.Context, a action) error {
	f, s := a.fault, w.settings
	if a.begin {
		w.note("%v", f)
		w.figures.trouble(f.target, true)
	} else {
		defer w.figures.trouble(f.target, false)
	}
	if f.target == broker {
		return w.doBroker(ctx, a)
	}
	m := w.members[f.target]
	switch {
	case !a.begin:
		return w.recover(m, f, s)
	case f.name == freezeMember || f.name == pauseMember:
		return m.signal(syscall.SIGSTOP)
	case f.name == fullDisk:
		return m.limit(512)
	case f.name == joinGuest || f.name == killGuest:
		return m.start(s)
	case f.name == stopMember || f.name == stopWipe:
		return errors.Join(m.end(syscall.SIGTERM), m.copyState())
	}
	return w.kill(ctx, m)
}

func (w *world) kill(ctx context.Context, m *member) error {
	of, at := w.figures.owned(m.number), time.Now()
	if err := m.end(syscall.SIGKILL); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond) // a commit that was under way is none of the next owner's
	if committed, err := w.cluster.committed(ctx, false); err == nil {
		w.figures.kill(at, of, committed)
	}
	return m.copyState()
}

// recover ends a fault of a member.
func (w *world) recover(m *member, f fault, s settings) error {
	switch f.name {
	case freezeMember, pauseMember:
		w.thawed = time.Now()
		return m.signal(syscall.SIGCONT)
	case fullDisk:
		return m.limit(1 << 62)
	case joinGuest:
		return m.end(syscall.SIGTERM)
	case killGuest:
		return w.kill(context.Background(), m)
	case killWipe, stopWipe:
		return errors.Join(m.wipe(), m.start(s))
	case killOlder:
		return errors.Join(m.setBack(), m.start(s))
	}
	return m.start(s)
}

func (w *world) doBroker(ctx context.Context, a action) error {
	switch {
	case a.fault.name == killBroker && a.begin:
		w.node.Kill()
		return nil
	case a.fault.name == killBroker:
		return w.node.Restart(ctx)
	case a.begin:
		return syscall.Kill(w.node.PID(), syscall.SIGSTOP)
	}
	w.thawed = time.Now()
	return syscall.Kill(w.node.PID(), syscall.SIGCONT)
}

// rest waits until everything is processed, and read.
func (w *world) rest(ctx context.Context) {
	w.eventually(ctx, "the bank has processed its inputs", func() string {
		// In this order: what is committed of the transfers is written to the topic of entries, whose end is asked for then.
		for _, topics := range [][]string{{"accounts", "transfers"}, {entriesTopic}} {
			ends, err := w.cluster.ends(ctx, topics...)
			if err != nil {
				return err.Error()
			}
			committed, err := w.cluster.committed(ctx, true)
			if err != nil {
				return err.Error()
			}
			for p, end := range ends {
				if committed[p] < end {
					return fmt.Sprintf("%s-%d is committed up to %d of %d", p.topic, p.n, committed[p], end)
				}
			}
		}
		return ""
	})
	w.eventually(ctx, "everything is read", func() string {
		ends, err := w.cluster.ends(ctx, followed...)
		if err != nil {
			return err.Error()
		}
		return w.reader.reached(ends)
	})
}
