package worker

import (
	"context"
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/storage"
)

// A changelog has one writer, the worker of its task. At least once has no fencing, so a process
// that was frozen and thaws after it has lost the task can still write to it: its old rows arrive
// behind the new owner's. A restore would apply them. Therefore the owner reads the keys of such
// foreign writes and writes its own rows of these keys again, before the commit goes on.

// startForeignRead begins to read the keys of foreign writes, on a goroutine of its own.
func (w *Worker) startForeignRead(pending *pendingCommit, writes []kafka.ForeignWrite) {
	logs := map[kafka.TopicPartition]*changelog.Log{}
	for _, ep := range pending.epochs {
		if ep.log != nil {
			logs[ep.log.TopicPartition] = ep.log
		}
	}
	for _, write := range writes {
		w.cfg.Logger.Error("millstream: another process wrote into a changelog of this one; writing its own rows again",
			"topic", write.Topic, "partition", write.Partition, "from", write.From, "to", write.To)
	}
	pending.foreignKeys = make(chan foreignKeys, 1)
	go func() {
		keys, err := w.readForeignKeys(logs, writes)
		pending.foreignKeys <- foreignKeys{keys, err}
		w.inbox.Wake()
	}()
}

// readForeignKeys returns by log the keys that stand in writes. Foreign writes into changelogs of
// no task in the commit are left out.
func (w *Worker) readForeignKeys(
	logs map[kafka.TopicPartition]*changelog.Log, writes []kafka.ForeignWrite,
) (map[*changelog.Log][][]byte, error) {
	// A fetcher of its own: the one of restores may be reading the same partition, for the same topic.
	fetcher, err := w.cfg.Reader()
	if err != nil {
		return nil, err
	}
	defer fetcher.Close()
	ctx, cancel := context.WithTimeoutCause(w.lease.Load().ctx, foreignReadTimeout, errForeignTimeout)
	defer cancel()
	out := map[*changelog.Log][][]byte{}
	for _, write := range writes {
		log := logs[write.TopicPartition]
		if log == nil {
			continue
		}
		keys, err := changelog.ForeignKeys(ctx, fetcher, write)
		if err != nil {
			return nil, err
		}
		out[log] = append(out[log], keys...)
	}
	return out, nil
}

const foreignReadTimeout = time.Minute

var errForeignTimeout = errors.New("records that another process wrote into a changelog could not be read in time")

// resendRows queues the rows of foreign writes again, once their keys are known. It reports whether
// it did anything.
func (w *Worker) resendRows(pending *pendingCommit) bool {
	select {
	case foreign := <-pending.foreignKeys:
		pending.foreignKeys = nil
		for log, keys := range foreign.keys {
			if foreign.err == nil {
				foreign.err = log.Resend(w.lease.Load().ctx, w.producer, keys)
			}
		}
		if errors.Is(foreign.err, storage.ErrDamaged) {
			// A file of the store is damaged, so its rows cannot be read. The task cannot leave the commit any
			// more: its records are in the changelogs. All tasks of the worker begin again at the last
			// commit.
			w.abandonEpochs(Uncertain, foreign.err)
			return true
		}
		if foreign.err != nil {
			w.failWorker(foreign.err)
			return true
		}
		pending.ticket = w.producer.Cut()
		return true
	default:
		return false
	}
}

// foreignCheck is the result of a check for foreign writes: where the changelogs end.
type foreignCheck struct {
	ends map[kafka.TopicPartition]int64
	err  error
}

const foreignCheckTimeout = 5 * time.Second

// foreignChecked reports whether a settled task may be returned: its changelogs were checked for
// foreign writes, or need no check. Otherwise it starts a check of all tasks that are ready to be
// returned. finishForeignCheck handles the result.
//
// The producer notices a foreign write with its own next write to that changelog. After the last
// write there is none:
//
//	A is frozen with changelog records in its connection -> B gets its tasks and settles newer rows -> A thaws, and its
//	old rows arrive -> B returns the tasks -> the member that gets them restores the old rows
func (w *Worker) foreignChecked(active *activeTask) bool {
	// Nobody who has lost the task can commit a transaction.
	if w.exactlyOnce() {
		return true
	}
	// No check for a task whose epochs are undone: it was lost, or failed, and its rows are not
	// written again.
	if active.checked || active.undo || active.err != nil || len(active.Logs) == 0 || w.cfg.EndOffsets == nil ||
		w.leaseEnded() || w.broken != nil {
		return true
	}
	// One request at a time; this task has the next one unless it is in this one already.
	if w.pendingCheck != nil {
		return false
	}
	var tps []kafka.TopicPartition
	for _, other := range w.tasks {
		if other.returnable() && !other.checked && !other.undo && other.err == nil {
			other.checking = true
			for _, log := range other.Logs {
				tps = append(tps, log.TopicPartition)
			}
		}
	}
	result := make(chan foreignCheck, 1)
	w.pendingCheck = result
	lease := w.lease.Load().ctx
	go func() {
		ctx, cancel := context.WithTimeout(lease, foreignCheckTimeout)
		defer cancel()
		ends, err := w.cfg.EndOffsets(ctx, tps)
		result <- foreignCheck{ends, err}
		w.inbox.Wake()
	}()
	return false
}

// finishForeignCheck handles the result of a check. It begins one more commit for the tasks with
// foreign writes. While a commit is in flight it does nothing: it is called again.
func (w *Worker) finishForeignCheck() {
	if w.pendingCheck == nil || w.inFlight != nil {
		return
	}
	var check foreignCheck
	select {
	case check = <-w.pendingCheck:
		w.pendingCheck = nil
	default:
		return
	}
	// The check is a precaution. The group waits for the tasks, so they are returned although it failed.
	if check.err != nil {
		w.cfg.Logger.Warn("millstream: the last check of the changelogs failed", "error", check.err)
	}
	var writes []kafka.ForeignWrite
	for _, active := range w.tasks {
		if !active.checking {
			continue
		}
		active.checking, active.checked = false, true
		for _, log := range active.Logs {
			if end := check.ends[log.TopicPartition]; end > log.End() {
				writes = append(writes, kafka.ForeignWrite{TopicPartition: log.TopicPartition, From: log.End(), To: end})
				active.dirty = true // keeps the task until the next commit, which writes the rows again
			}
		}
	}
	if len(writes) > 0 && w.broken == nil && !w.leaseEnded() {
		if w.inFlight = w.cut(); w.inFlight != nil {
			w.inFlight.foreignWrites = writes
			w.advance()
		}
	}
}
