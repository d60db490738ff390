package instance

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// abandonedTransactions ends what processes that have died left open: transactions, which hold up whoever reads what
// they wrote, and the tasks of the dead process, until they time out.
//
// Only transactions of the dead are ended, which nobody can commit any more: a commit has offsets, which the group
// takes of its members only. Dead is a process whose id no member of the present generation has. The order matters:
//
//	the members are looked up -> a process joins, and begins a transaction -> the transactions are looked up: one is of
//	no member that is known
//
// With the transactions first, each that is found was begun before the members were looked up, so that its process
// had joined before. A process that comes back meanwhile has raised the epoch of its id, and only the epoch that was
// found is ended.
//
// A transaction of Kafka Streams, whose application this was before, is one of the dead when this process is a member:
// members of both cannot be in one group.
type abandonedTransactions struct {
	application string
	process     [16]byte
	admin       kafka.Admin
	logger      *slog.Logger
	hook        crashpoint.Hook             // of the goroutine of run
	group       atomic.Pointer[group.Group] // nil until there is one

	long   atomic.Int32  // how many wait for longer than patience
	wanted chan struct{} // capacity 1
	logged bool          // that transactions cannot be ended; of the goroutine of run
}

const (
	// patience is how long a restore, or a look-up of offsets, waits before it is asked whether it waits for a dead
	// process. Living ones commit more often, as a rule.
	patience = 200 * time.Millisecond
	// While anybody waits, the question is asked this often: the session of a process may end meanwhile.
	askAgain = time.Second
	// maxAsking is for how long a leader asks after each rebalance. After that a transaction is near its time-out.
	maxAsking = 10 * time.Second
)

// The states of a wait.
const (
	short int32 = iota
	isLong
	isOver
)

// waiting notes that somebody waits for what a transaction may hold up. over is to be called when the wait has ended.
func (a *abandonedTransactions) waiting() (over func()) {
	var state atomic.Int32
	timer := time.AfterFunc(patience, func() {
		if !state.CompareAndSwap(short, isLong) {
			return
		}
		a.long.Add(1)
		a.want()
	})
	return func() {
		timer.Stop()
		if state.Swap(isOver) == isLong {
			a.long.Add(-1)
		}
	}
}

// setGroup is called once the group is known, of which this process will be a member.
func (a *abandonedTransactions) setGroup(g *group.Group) {
	a.group.Store(g)
	a.want()
}

// want has run look at once.
func (a *abandonedTransactions) want() {
	select {
	case a.wanted <- struct{}{}:
	default:
	}
}

func (a *abandonedTransactions) run(ctx context.Context) {
	var asked *group.Membership // for which the leader has asked
	for ctx.Err() == nil {
		var superseded <-chan struct{}
		member := a.group.Load()
		var current *group.Membership
		if member != nil {
			current = member.Membership()
			superseded = current.Superseded()
		}
		// One member asks for all after each rebalance: that is how long it takes until a dead process is known, and
		// tasks that run on may wait for a topic that it has written.
		if member != nil && current != asked && current.Generation >= 0 && member.Leader() {
			a.endAfterRebalance(ctx, current)
			asked = current
			continue
		}
		var again <-chan time.Time
		if a.long.Load() > 0 {
			again = time.After(askAgain)
		}
		select {
		case <-superseded:
		case <-a.wanted:
			a.note(a.end(ctx))
		case <-again:
			a.note(a.end(ctx))
		case <-ctx.Done():
		}
	}
}

// endAfterRebalance asks until it is certain who is a member.
func (a *abandonedTransactions) endAfterRebalance(ctx context.Context, of *group.Membership) {
	pause := patience / 4
	for began := time.Now(); time.Since(began) < maxAsking; pause = min(2*pause, askAgain) {
		err := a.end(ctx)
		if a.note(err); !passes(err) {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-of.Superseded(): // it begins again, for the new generation
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// passes reports whether the same question may have another answer soon.
func passes(err error) bool {
	return errors.Is(err, kafka.ErrUnavailable) || errors.Is(err, kafka.ErrRebalanceInProgress)
}

// note logs, once, that transactions cannot be ended.
func (a *abandonedTransactions) note(err error) {
	if err == nil || passes(err) || errors.Is(err, context.Canceled) || a.logged {
		return
	}
	a.logged = true
	a.logger.Warn("millstream: what processes leave open when they die cannot be ended before it times out, and who "+
		"reads what they wrote waits until then. It needs brokers of Kafka 3.0 or later, and Write and Describe on "+
		"transactional ids that begin with the ApplicationID", "error", err)
}

// end ends what is open of processes that are no members, and, as long as no worker runs, of an earlier run on the
// same directory, with however many workers.
func (a *abandonedTransactions) end(ctx context.Context) error {
	starting := a.group.Load() == nil
	open, err := a.admin.OpenTransactions(ctx, func(id string) bool {
		parsed, ok := worker.ParseTransactionalID(a.application, id)
		// One with another id is of a process on a copy of the directory, which may be alive.
		return ok && (parsed.KafkaStreams || parsed.Process != a.process || starting && !parsed.Another)
	})
	errs := []error{err}
	var others []kafka.OpenTransaction
	// Brokers may have taken long to answer, and workers may run by now, under the same ids. As long as there is no group
	// yet, all that was found is of earlier runs.
	starting = a.group.Load() == nil
	for _, t := range open {
		switch parsed, _ := worker.ParseTransactionalID(a.application, t.ID); {
		case parsed.KafkaStreams && starting: // this process is no member
		case parsed.KafkaStreams || parsed.Process != a.process:
			others = append(others, t)
		case starting:
			errs = append(errs, a.abort(ctx, t))
		}
	}
	if len(others) > 0 {
		errs = append(errs, a.endOfOthers(ctx, others))
	}
	return errors.Join(errs...)
}

// endOfOthers ends those transactions whose processes are no members.
func (a *abandonedTransactions) endOfOthers(ctx context.Context, open []kafka.OpenTransaction) error {
	described, err := a.admin.GroupMembers(ctx, a.application)
	if err != nil {
		return err
	}
	members, err := group.Processes(described)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range open {
		parsed, _ := worker.ParseTransactionalID(a.application, t.ID)
		dead := !members[parsed.Process]
		if parsed.KafkaStreams {
			// Nobody of ours is in a group of Kafka Streams, whose members may be of a protocol that is not described.
			dead = members[a.process]
		}
		if dead {
			errs = append(errs, a.abort(ctx, t))
		}
	}
	return errors.Join(errs...)
}

// abort ends one transaction.
func (a *abandonedTransactions) abort(ctx context.Context, open kafka.OpenTransaction) error {
	ctx, cancel := context.WithTimeout(ctx, maxAsking)
	defer cancel()
	a.hook.At(crashpoint.AbandonedFound)
	aborted, err := a.admin.AbortTransaction(ctx, open)
	if !aborted {
		return err
	}
	a.hook.At(crashpoint.AbandonedEnded)
	a.logger.Info("millstream: aborted the transaction of a process that has died", "transactional_id", open.ID,
		"open_for", time.Since(open.Began).Round(time.Millisecond))
	return err
}

// watchedOffsets is a role for offsets whose waits are noticed.
type watchedOffsets struct {
	kafka.Offsets
	abandoned *abandonedTransactions
}

// Fetch waits while a transaction is about to change one of the offsets.
func (o watchedOffsets) Fetch(ctx context.Context, group string, tps []kafka.TopicPartition) (
	map[kafka.TopicPartition]kafka.OffsetMeta, error,
) {
	defer o.abandoned.waiting()()
	return o.Offsets.Fetch(ctx, group, tps)
}
