// Package crashpoint names the points between the steps of a commit, a flush and a restore. A
// simulation can kill a process at each of them. Its hook is in the context that App.Run was called
// with; without a hook a point costs a nil check.
package crashpoint

import (
	"context"
	"fmt"
)

// Point is a point at which a process may be killed. The numbers are stable: schedules of failing
// histories name them.
type Point int

// The points, in the order in which one commit passes them. Each comment says what has happened
// before; what follows has not.
const (
	// StartPositions: the tasks' start positions are known, and not committed.
	StartPositions Point = 1 + iota
	// StartPositionsCommitted: start positions are committed, no record has been processed.
	StartPositionsCommitted
	// CutBegin: records have been processed and sent, the cut is due.
	CutBegin
	// CutOffsets: the offsets of the epoch are fixed; no changelog record of it is sent.
	CutOffsets
	// CutHalf: the changelog records of some stores of the epoch are queued, those of others are not.
	CutHalf
	// CutDone: all changelog records of the epoch are queued; the ticket is drawn.
	CutDone
	// SendAcked: everything the epoch sent is acknowledged; its offsets are not committed.
	SendAcked
	// SendCommitted: Kafka has the offsets; this process has not noticed yet.
	SendCommitted
	// SettleBegin: the process knows that the epoch is accepted; no store does.
	SettleBegin
	// SettleHalf: some stores know that the epoch is settled, others do not.
	SettleHalf
	// SettleDone: the epoch is settled everywhere.
	SettleDone
	// FlushBegin: a store is about to write settled epochs to its files.
	FlushBegin
	// FlushHalf: a file of a flush is written, and no root lists it.
	FlushHalf
	// FlushDone: the flush is on disk, checkpoint and all.
	FlushDone
	// RestoreHalf: a part of a changelog is applied to a store.
	RestoreHalf
	// RestoreDone: a store is restored; its task does not run yet.
	RestoreDone
	// RevokeSettled: the tasks to be given up are settled; they are not closed and the member has not
	// rejoined.
	RevokeSettled
	// StopSettled: at the end of the App everything is settled; stores are open and the group is not
	// left.
	StopSettled

	end
)

// The points of the files of a store, in flushes and merges.
const (
	// RunsWritten: the files of a flush or a merge are written and synced; the root does not list them.
	RunsWritten Point = 101 + iota
	// RootWritten: a new root is synced beside the old one.
	RootWritten
	// RootReplaced: the new root is in place; files that it does not list are still there.
	RootReplaced
	// MergeBegin: runs are about to be merged.
	MergeBegin
	// MergeHalf: a file of a merge is listed, and the merge is not at its end.
	MergeHalf
	// MergeDone: a merge is at its end.
	MergeDone

	storeEnd
)

// The points of transactions, in the order in which a worker passes them.
const (
	// TransactionalID: the worker's transactional id is its own, and what was open under it is aborted.
	TransactionalID Point = 201 + iota
	// OffsetsAccepted: all of a transaction is acknowledged, and its offsets are accepted; its end is not requested.
	OffsetsAccepted
	// AbortOpen: the worker has ended, and aborts what is open.
	AbortOpen

	transactionEnd
)

// The points of standbys.
const (
	// StandbyHalf: a batch of a changelog is applied to the store of a standby.
	StandbyHalf Point = 301 + iota
	// PromotionBegin: a standby is to become the active task, and reads its changelogs no more; it still has its stores.
	PromotionBegin
	// PromotionDone: the stores are free for the active task, which has not looked up its offsets.
	PromotionDone

	standbyEnd
)

// The points of tasks that begin again in memory where they have committed.
const (
	// RewindUndone: the stores have undone what has not settled; the transaction is not aborted.
	RewindUndone Point = 401 + iota
	// RewindAborted: the transaction is aborted, and the tasks have not begun again.
	RewindAborted
	// RewindDone: the tasks have begun again.
	RewindDone

	rewindEnd
)

// The points of members that end what a dead process has left open.
const (
	// AbandonedFound: a transaction is known to be that of a dead process; nothing is done about it.
	AbandonedFound Point = 501 + iota
	// AbandonedEnded: it is aborted.
	AbandonedEnded

	abandonedEnd
)

// RewindPoints returns the points that an App passes only where a transaction is given up.
func RewindPoints() []Point { return []Point{RewindUndone, RewindAborted, RewindDone} }

// AbandonedPoints returns the points that an App passes only after another process has died with an open transaction.
func AbandonedPoints() []Point { return []Point{AbandonedFound, AbandonedEnded} }

// StandbyPoints returns the points that only an App passes that has standbys.
func StandbyPoints() []Point { return []Point{StandbyHalf, PromotionBegin, PromotionDone} }

// TransactionPoints returns the points that an App passes only where each record is to count exactly once.
func TransactionPoints() []Point {
	return []Point{TransactionalID, OffsetsAccepted, AbortOpen}
}

// StorePoints returns the points of the files of a store.
func StorePoints() []Point {
	out := make([]Point, 0, storeEnd-RunsWritten)
	for p := RunsWritten; p < storeEnd; p++ {
		out = append(out, p)
	}
	return out
}

// Points returns all points that an App passes with the default guarantee.
func Points() []Point {
	out := make([]Point, 0, end-1+storeEnd-RunsWritten)
	for p := StartPositions; p < end; p++ {
		out = append(out, p)
	}
	return append(out, StorePoints()...)
}

var names = [...]string{
	StartPositions: "start positions", StartPositionsCommitted: "start positions committed",
	CutBegin: "cut: begin", CutOffsets: "cut: offsets fixed", CutHalf: "cut: half of the changelogs", CutDone: "cut: done",
	SendAcked: "send: acknowledged", SendCommitted: "send: committed",
	SettleBegin: "settle: begin", SettleHalf: "settle: half of the stores", SettleDone: "settle: done",
	FlushBegin: "flush: begin", FlushHalf: "flush: half of the files", FlushDone: "flush: done",
	RestoreHalf: "restore: half", RestoreDone: "restore: done",
	RevokeSettled: "revoke: settled", StopSettled: "stop: settled",
}

var storeNames = [...]string{
	"runs: written", "root: written", "root: replaced", "merge: begin", "merge: half", "merge: done",
}

var standbyNames = [...]string{"standby: half", "promotion: begin", "promotion: done"}

var rewindNames = [...]string{"rewind: undone", "rewind: aborted", "rewind: done"}

var abandonedNames = [...]string{"abandoned transaction: found", "abandoned transaction: ended"}

var transactionNames = [...]string{"transaction: id taken", "transaction: offsets accepted", "transaction: stop"}

// String returns the name of the point, as in the summary of a simulation.
func (p Point) String() string {
	if p >= RunsWritten && p < storeEnd {
		return storeNames[p-RunsWritten]
	}
	if p >= TransactionalID && p < transactionEnd {
		return transactionNames[p-TransactionalID]
	}
	if p >= StandbyHalf && p < standbyEnd {
		return standbyNames[p-StandbyHalf]
	}
	if p >= RewindUndone && p < rewindEnd {
		return rewindNames[p-RewindUndone]
	}
	if p >= AbandonedFound && p < abandonedEnd {
		return abandonedNames[p-AbandonedFound]
	}
	if p < StartPositions || p >= end {
		return fmt.Sprintf("point %d", int(p))
	}
	return names[p]
}

// Hook is called at each point, on the goroutine that passes it; several goroutines may call it at
// once. It may return, and nothing happens. It may block for ever, as a process that hangs. Or it
// may panic with Dead, as a process that was killed: the App then commits nothing and writes
// nothing to its files any more, does not leave its group, ends its goroutines and returns Dead
// from Run.
type Hook func(Point)

// At calls the hook, if there is one.
func (h Hook) At(p Point) {
	if h != nil {
		h(p)
	}
}

type dead struct{}

func (dead) Error() string { return "the process was stopped at a crash point" }

// Dead is what a hook panics with to kill its process, and what App.Run returns then.
var Dead error = dead{}

type key struct{}

// With returns a context whose App calls h at each point.
func With(ctx context.Context, h Hook) context.Context { return context.WithValue(ctx, key{}, h) }

// From returns the hook of a context; nil when there is none.
func From(ctx context.Context) Hook {
	h, _ := ctx.Value(key{}).(Hook)
	return h
}

// Catch turns a panic with Dead into a call of died, and lets every other panic go on. Goroutines
// that pass points defer it.
func Catch(died func()) {
	switch r := recover(); r {
	case nil:
	case Dead:
		died()
	default:
		panic(r)
	}
}
