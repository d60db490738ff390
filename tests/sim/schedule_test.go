package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
)

// plan is the schedule of a history: its seed decides all of it. Each kind of fault has its turn as seeds go up, so that some fifty
// histories meet all of them; the rest is drawn.
type plan struct {
	seed   uint64
	gentle bool // no epoch is to be given up: every input has to be counted exactly once
	// guarantee is that of the Apps. With exactly once every input has to be counted exactly once in any history.
	guarantee millstream.Guarantee
	opening   step // what happens while the application starts for the first time
	steps     []step
}

type kind string

// The kinds of faults, beside the crash points and the requests.
const (
	join_          kind = "join"
	leave          kind = "leave"
	kill           kind = "kill"
	crashed        kind = "crash"
	zombie         kind = "zombie"
	brokerAway     kind = "broker away"
	clusterRestart kind = "restart of all brokers"
	leaderMove     kind = "leaders move"
	coordinators   kind = "coordinators move"
	broken         kind = "connections break"
	slow           kind = "slow network"
	compaction     kind = "compaction"
	request        kind = "request"
	strangers      kind = "stranger with an open transaction"
	pauses         kind = "pause"
	failures       kind = "functions fail"
	fencedEnd      kind = "end of a transaction lost, and its producer fenced"
	calm           kind = "" // nothing
)

// back is what a process that was killed comes back on.
type back string

const (
	same  back = "the same directory"
	empty back = "an empty directory"
	older back = "an older copy"
)

type step struct {
	after time.Duration
	kind  kind
	back  back             // of kill and crash
	away  time.Duration    // how long something lasts
	point crashpoint.Point // of crash
	nth   int
	cell  cell // of request
	n     int  // how many requests

	overlaps bool // of request: the next step may begin before all have failed

	// silent: nothing is written any more when a zombie thaws, so that nothing covers up what it had written. It is the last step then.
	silent bool
}

// cell is one way for one kind of request to fail.
type cell struct {
	key  kmsg.Key
	loss loss        // or
	err  *kerr.Error // the code that it is answered with
}

func (c cell) String() string {
	switch c.loss {
	case loseRequest:
		return c.key.Name() + " lost"
	case loseAnswer:
		return c.key.Name() + ": answer lost"
	}
	return c.key.Name() + ": " + c.err.Message
}

func (s step) String() string {
	text := string(s.kind)
	switch s.kind {
	case kill:
		text += fmt.Sprintf(", back after %v on %s", s.away, s.back)
	case crashed:
		text += fmt.Sprintf(" at %v (%d), the %d. time, back after %v on %s", s.point, s.point, s.nth, s.away, s.back)
	case request:
		text += fmt.Sprintf(" %v, %d times", s.cell, s.n)
	case zombie, brokerAway, slow, strangers, pauses:
		text += fmt.Sprintf(" for %v", s.away)
	}
	return fmt.Sprintf("after %v: %s", s.after, text)
}

func (p plan) String() string {
	var b strings.Builder
	number, lag := p.standbys()
	fmt.Fprintf(&b, "seed %d, %v, gentle %t, static members %t, standbys %d, acceptable lag %d, opening: %v\n", p.seed, p.guarantee, p.gentle, p.static(),
		number, lag, p.opening)
	for _, s := range p.steps {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// persistent reports whether the brokers need a directory.
func (p plan) persistent() bool {
	return slices.ContainsFunc(p.steps, func(s step) bool { return s.kind == clusterRestart })
}

// needs reports whether copies of directories are to be kept.
func (p plan) needsCopies() bool {
	return slices.ContainsFunc(append(p.steps, p.opening), func(s step) bool { return s.back == older && (s.kind == kill || s.kind == crashed) })
}

var (
	gentleKinds = []kind{join_, leave, brokerAway, leaderMove, coordinators, broken, slow, compaction, strangers, pauses}
	harshKinds  = []kind{kill, zombie, failures, kill, clusterRestart, kill, zombie}
	backs       = []back{same, empty, older}

	// openings can happen only when the application starts for the first time.
	openings = append([]step{
		{kind: crashed, point: crashpoint.StartPositions, nth: 1}, {kind: crashed, point: crashpoint.StartPositionsCommitted, nth: 1},
	}, cells(kmsg.CreateTopics, kerr.NotController, kerr.RequestTimedOut)...)

	// gentleCells are failures of requests that cost nobody an epoch.
	gentleCells = slices.Concat(
		cells(kmsg.Produce, kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend,
			kerr.UnknownTopicOrPartition, kerr.KafkaStorageError),
		cells(kmsg.Fetch, kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
			kerr.OffsetNotAvailable, kerr.KafkaStorageError, kerr.UnknownServerError),
		cells(kmsg.ListOffsets, kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.FencedLeaderEpoch),
		cells(kmsg.Metadata, kerr.LeaderNotAvailable),
		cells(kmsg.OffsetCommit, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.RequestTimedOut,
			kerr.RebalanceInProgress),
		cells(kmsg.OffsetFetch, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.UnstableOffsetCommit),
		cells(kmsg.FindCoordinator, kerr.CoordinatorNotAvailable),
		cells(kmsg.JoinGroup, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.RebalanceInProgress),
		cells(kmsg.SyncGroup, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.RebalanceInProgress),
		cells(kmsg.Heartbeat, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.RebalanceInProgress),
		cells(kmsg.LeaveGroup, kerr.NotCoordinator, kerr.CoordinatorNotAvailable),
		cells(kmsg.InitProducerID, kerr.CoordinatorLoadInProgress),
		cells(kmsg.DescribeConfigs, kerr.RequestTimedOut),
		cells(kmsg.DeleteRecords, kerr.NotLeaderForPartition, kerr.RequestTimedOut),
	)

	// transactionCells are failures of the requests of transactions.
	transactionCells = slices.Concat(
		cells(kmsg.AddPartitionsToTxn, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable,
			kerr.ConcurrentTransactions),
		cells(kmsg.AddOffsetsToTxn, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable,
			kerr.ConcurrentTransactions),
		cells(kmsg.TxnOffsetCommit, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable,
			kerr.RequestTimedOut),
		cells(kmsg.EndTxn, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable,
			kerr.ConcurrentTransactions),
		cells(kmsg.InitProducerID, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.ConcurrentTransactions),
	)

	// harshCells may make a member lose what it has.
	harshCells = []step{
		{kind: request, cell: cell{key: kmsg.OffsetCommit, err: kerr.IllegalGeneration}},
		{kind: request, cell: cell{key: kmsg.OffsetCommit, err: kerr.UnknownMemberID}},
		{kind: request, cell: cell{key: kmsg.JoinGroup, err: kerr.UnknownMemberID}},
		{kind: request, cell: cell{key: kmsg.SyncGroup, err: kerr.UnknownMemberID}},
		{kind: request, cell: cell{key: kmsg.SyncGroup, err: kerr.IllegalGeneration}},
		{kind: request, cell: cell{key: kmsg.Heartbeat, err: kerr.IllegalGeneration}},
		{kind: request, cell: cell{key: kmsg.Heartbeat, err: kerr.UnknownMemberID}},
	}
)

// gentleCellsOf returns gentleCells for a guarantee. With exactly once those of transactions come first, and offsets are
// committed plainly only at the start.
func gentleCellsOf(g millstream.Guarantee) []step {
	if g == millstream.AtLeastOnce {
		return gentleCells
	}
	return append(slices.Clone(transactionCells), slices.DeleteFunc(slices.Clone(gentleCells), func(s step) bool {
		return s.cell.key == kmsg.OffsetCommit || s.cell.key == kmsg.InitProducerID
	})...)
}

// harshCellsOf returns harshCells for a guarantee: with exactly once, offsets are refused in a transaction.
func harshCellsOf(g millstream.Guarantee) []step {
	out := slices.Clone(harshCells)
	for i := range out {
		if g == millstream.ExactlyOnce && out[i].cell.key == kmsg.OffsetCommit {
			out[i].cell.key = kmsg.TxnOffsetCommit
		}
	}
	return out
}

// cells are the ways for one kind of request to fail.
func cells(key kmsg.Key, errs ...*kerr.Error) []step {
	out := []step{{kind: request, cell: cell{key: key, loss: loseRequest}}, {kind: request, cell: cell{key: key, loss: loseAnswer}}}
	for _, err := range errs {
		out = append(out, step{kind: request, cell: cell{key: key, err: err}})
	}
	return out
}

// allPoints are the crash points that an App passes.
func allPoints(g millstream.Guarantee) []crashpoint.Point {
	all := append(crashpoint.Points(), crashpoint.StandbyPoints()...)
	if g == millstream.ExactlyOnce {
		return slices.Concat(all, crashpoint.TransactionPoints(), crashpoint.RewindPoints(), crashpoint.AbandonedPoints())
	}
	return all
}

// standbys returns how many standbys the tasks of a history have: those of one in three have none, unless a process is to
// die at a point that only Apps with standbys pass. The lag that is acceptable is small in every other one, so that tasks
// warm up before they move.
func (p plan) standbys() (number int, acceptableLag int64) {
	number, acceptableLag = int(p.seed%3), 10_000
	if slices.ContainsFunc(p.steps, func(s step) bool { return slices.Contains(crashpoint.StandbyPoints(), s.point) }) {
		number = max(number, 1)
	}
	if p.seed/3%2 == 0 {
		acceptableLag = 5
	}
	return number, acceptableLag
}

// static reports whether the Apps of a history are static members.
func (p plan) static() bool { return p.seed/5%5 == 4 }

// points are the crash points that any history can meet.
func points(g millstream.Guarantee) []crashpoint.Point {
	return slices.DeleteFunc(allPoints(g), func(p crashpoint.Point) bool {
		return p == crashpoint.StartPositions || p == crashpoint.StartPositionsCommitted
	})
}

// newPlan draws the plan of a seed, which counts from 1. Every third history is gentle.
func newPlan(seed uint64, guarantee millstream.Guarantee) plan {
	r := rand.New(rand.NewPCG(seed, 0))
	n := int(seed-1) % (1 << 20)
	g, h := n/3, n-n/3-1 // of gentle ones, and of the others
	gentleCells := gentleCellsOf(guarantee)
	p := plan{seed: seed, guarantee: guarantee, gentle: n%3 == 0, opening: step{kind: calm}}
	take := func(from []step, i int) step { return from[i%len(from)] }
	if p.gentle {
		for i := range 2 {
			p.steps = append(p.steps, step{kind: gentleKinds[(2*g+i)%len(gentleKinds)]})
		}
		for i := range 4 {
			p.steps = append(p.steps, take(gentleCells, 4*g+i))
		}
		if c := take(openings[2:], g/2); g%2 == 0 {
			p.opening = c
		}
	} else {
		all := points(guarantee)
		p.steps = append(p.steps,
			step{kind: crashed, point: all[h%len(all)], back: backs[h%3]},
			step{kind: harshKinds[h%len(harshKinds)], back: backs[h/2%3]},
			step{kind: gentleKinds[h%len(gentleKinds)]},
			take(harshCellsOf(guarantee), h),
			take(gentleCells, len(gentleCells)-1-2*h%len(gentleCells)),
			take(gentleCells, len(gentleCells)-1-(2*h+1)%len(gentleCells)),
		)
		if h%4 < 2 {
			p.opening = openings[h%4]
		}
		if guarantee == millstream.ExactlyOnce && h%4 == 2 {
			p.steps = append(p.steps, step{kind: fencedEnd})
		}
		if h%3 == 0 {
			p.steps = append(p.steps, step{kind: strangers})
		}
	}
	if p.opening.kind == crashed && p.opening.back == "" {
		p.opening.back = []back{same, empty}[r.IntN(2)]
	}
	r.Shuffle(len(p.steps), func(i, j int) { p.steps[i], p.steps[j] = p.steps[j], p.steps[i] })
	for i := range p.steps {
		p.steps[i].draw(r)
	}
	p.opening.draw(r)
	if i := slices.IndexFunc(p.steps, func(s step) bool { return s.silent }); i >= 0 {
		z := p.steps[i]
		p.steps = append(slices.Delete(p.steps, i, i+1), z)
	}
	return p
}

// draw chooses what the plan leaves open.
func (s *step) draw(r *rand.Rand) {
	s.after = time.Duration(300+r.IntN(2500)) * time.Millisecond
	s.n = 1 + r.IntN(4)
	if s.overlaps = r.IntN(2) == 0; s.overlaps {
		s.n *= 3
	}
	if s.nth == 0 {
		s.nth = 1 + r.IntN(4)
	}
	switch s.kind {
	case zombie:
		s.away = sessionTimeout + time.Duration(500+r.IntN(5000))*time.Millisecond
		s.silent = r.IntN(3) > 0
	case strangers:
		s.away = time.Duration(500+r.IntN(8000)) * time.Millisecond
	case brokerAway, slow, pauses:
		s.away = time.Duration(500+r.IntN(3000)) * time.Millisecond
	case kill, crashed:
		s.away = time.Duration(r.IntN(9000)) * time.Millisecond
	}
}
