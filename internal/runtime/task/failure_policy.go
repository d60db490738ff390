package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/retry"
)

// defaultRetryBudget is how long all retries of one failure may pause together. They delay the task
// and its commit, which must end before the rebalance timeout and the transaction timeout.
const defaultRetryBudget = 5 * time.Second

// maxChainedRetries is how many policies in a row may ask for a retry when the budget is used up.
const maxChainedRetries = 8

// notRead is the offset of a record that was to be written.
const notRead = -1

// HandleFailure implements graph.Env.
func (t *Task) HandleFailure(node *graph.Node, cause graph.Failure, again func() error) (ok bool, fatal error) {
	var paused time.Duration
	for attempt := 1; ; attempt++ {
		_, undecodable := errors.AsType[*codec.DecodeError](cause.Err)
		if undecodable {
			cause.Phase = graph.Decoding
		}
		// First, what no policy may decide about.
		switch err, isFatal := retry.Unmark(cause.Err); {
		// The task has ended; the function only passed the error on.
		case t.err != nil:
			return false, t.err
		// The file is to blame, not the record. The task begins again with a restored store.
		case t.damaged(err):
			return false, t.fatal(node, err)
		// A row that does not decode although its file is sound, so no restore would help. The store
		// marks every error of its own as fatal, but here the decode policy can decide.
		case undecodable:
			cause.Err = err
		case isFatal:
			return false, t.fatal(node, err)
		// A failure inside the call, as of a store that refuses a row, has had its policy already.
		case errors.Is(err, retry.ErrSkipped):
			return false, nil
		// The task is being aborted. That a function gave up now says nothing about the record: a policy
		// that skips would lose it.
		case t.cfg.Context.Err() != nil:
			return false, t.fatal(node, context.Cause(t.cfg.Context))
		}
		// A step further down has ended the task, and a user's function returned the error in its own.
		if ended := (*Error)(nil); errors.As(cause.Err, &ended) {
			return false, t.fatal(node, cause.Err)
		}
		next, err := t.applyPolicy(node, cause, attempt, &paused)
		if err != nil || !next {
			return false, err
		}
		if cause.Err = again(); cause.Err == nil {
			return true, nil
		}
	}
}

// damaged reports whether a damaged file is the cause of err.
func (t *Task) damaged(err error) bool { return t.cfg.Damaged != nil && t.cfg.Damaged(err) }

// applyDecodePolicy applies the decode policy to the current record when err is of a row that does
// not decode. The row is the same in the changelog, so without a policy the task would fail at this
// record each time. Other errors are returned.
func (t *Task) applyDecodePolicy(err error) error {
	if _, row := errors.AsType[*codec.DecodeError](err); !row || t.err != nil {
		return err
	}
	_, fatal := t.HandleFailure(t.currentStep.Node, graph.Failure{Phase: graph.Decoding, Err: err},
		func() error { return err })
	return fatal
}

// applyPolicy reports a failure and does what its policy says. paused is how long the retries have
// waited so far.
func (t *Task) applyPolicy(node *graph.Node, cause graph.Failure, attempt int, paused *time.Duration) (
	again bool, fatal error,
) {
	stepPolicy, appPolicy := t.policies(node, cause.Phase)
	report := t.failureReport(node, cause, attempt)
	if _, drop := failure.DropReason(cause.Err); !drop { // failure.Drop is the function's decision, not a failure
		t.cfg.Failure(report)
	}
	return t.applyAction(node, cause, paused, stepPolicy.Action(t.cfg.Context, report, appPolicy), appPolicy)
}

// policies returns the step's policy for a phase, which may be none, and the App's.
func (t *Task) policies(node *graph.Node, phase graph.Phase) (stepPolicy, appPolicy failure.Policy) {
	switch phase {
	case graph.Decoding:
		if node.Source != nil {
			stepPolicy = node.Source.Policy
		}
		return stepPolicy, t.cfg.Policies.Decode
	case graph.Producing:
		return node.Policy, t.cfg.Policies.Produce
	}
	return node.Policy, t.cfg.Policies.Process
}

func (t *Task) failureReport(node *graph.Node, cause graph.Failure, attempt int) failure.Report {
	report := failure.Report{Step: node.Name, Attempt: attempt, Err: cause.Err, Partition: -1, Offset: -1}
	if cause.Phase == graph.Decoding {
		report.Step = ""
	}
	if in := t.current; in != nil {
		report.Topic, report.Partition, report.Offset, report.Key, report.Value = in.Topic, in.Partition, in.Offset, in.Key,
			in.Value
	}
	return report
}

// applyAction does what a policy decided. again reports that the pause is over and the call is to
// be repeated.
func (t *Task) applyAction(node *graph.Node, cause graph.Failure, paused *time.Duration, action failure.Action,
	appPolicy failure.Policy,
) (again bool, fatal error) {
	// A retry with budget left ends the loop. Without it the policy that follows the retry decides,
	// which may be another retry. A Decide can return retries without end, so after some of them the
	// task stops.
	for chained := 0; action.Verb == failure.ActRetry; chained++ {
		if action.Pause <= t.cfg.RetryBudget-*paused && chained == 0 {
			*paused += action.Pause
			if err := t.cfg.Sleep(t.cfg.Context, action.Pause); err != nil {
				return false, t.fatal(node, fmt.Errorf("waiting to retry: %w", errors.Join(err, cause.Err)))
			}
			return true, nil
		}
		if chained == maxChainedRetries {
			action.Verb, action.Err = failure.ActStop, fmt.Errorf("retried for %v: %w", *paused, cause.Err)
			break
		}
		action = action.Then.Action(t.cfg.Context, t.failureReport(node, cause, 1), appPolicy)
	}
	switch action.Verb {
	case failure.ActSkip:
	case failure.ActDeadLetter:
		// Every instance reads the whole global topic, and reads it again at each restore: each would
		// write the letter.
		if t.sub.Global {
			t.cfg.Logger.Warn("millstream: a record of a global topic failed and is skipped: records of global topics have no "+
				"dead letters",
				"step", node.Name, "error", quote.Text(cause.Err.Error()))
			break
		}
		if err := t.deadLetter(node, cause, action.Topic); err != nil {
			return false, t.fatal(node, fmt.Errorf("dead letter to topic %q: %w", action.Topic, errors.Join(err, cause.Err)))
		}
	default:
		return false, t.fatal(node, t.withAdvice(node, cause.Phase, action.Err))
	}
	t.drop(node, dropReason(action, cause.Phase), t.recordCount)
	return false, nil
}

// withAdvice adds to an error of decoding which policies decide. Other errors come from a function
// or a sink of the program, whose OnError stands beside it; who reads a topic may know of none.
func (t *Task) withAdvice(node *graph.Node, phase graph.Phase, err error) error {
	if _, located := errors.AsType[*Error](err); located || phase != graph.Decoding {
		return err
	}
	advice := "Config.OnDecodeError decides about such records"
	if node.Source != nil {
		advice = "OnDecodeError of the topic, or Config.OnDecodeError, decides about such records"
	}
	e := &Error{Task: t.cfg.ID, Node: node, Offset: -1, Err: err, Advice: advice}
	if in := t.current; in != nil {
		e.TopicPartition, e.Offset = in.TopicPartition, in.Offset
	}
	return e
}

// dropReason returns the reason under which a record is counted that a policy takes out of the
// stream.
func dropReason(action failure.Action, phase graph.Phase) string {
	if action.Reason != "" {
		return action.Reason
	}
	switch phase {
	case graph.Decoding:
		return graph.DecodeSkipped
	case graph.Producing:
		return graph.ProduceSkipped
	}
	return graph.ProcessSkipped
}

// ProduceFailed applies the production policy to a record of this task that a broker refused, some
// time after Output.Send accepted it. The input record from which it was made has been processed
// and is not available. A dead letter therefore has the record that was to be written. A non-nil
// error ends the task.
func (t *Task) ProduceFailed(refused kafka.ProduceFailure) (err error) {
	if t.err != nil {
		return t.err
	}
	defer t.reportDrops()
	defer t.recoverPanic(&err)
	node := t.sinkOf(refused.Topic)
	in := &graph.Input{TopicPartition: refused.TopicPartition, Time: refused.Record.Time}
	in.Record = kafka.Record{
		Key: refused.Record.Key, Value: refused.Record.Value, Headers: refused.Record.Headers,
		Offset: notRead, Time: refused.Record.Time,
	}
	t.current, t.recordTime, t.currentStep.Node = in, in.Time, node
	cause := graph.Failure{Phase: graph.Producing, Err: refused.Err, Topic: refused.Topic}
	paused := t.cfg.RetryBudget // used up: the producer has retried what can be retried
	_, err = t.applyPolicy(node, cause, 1, &paused)
	t.current = nil
	return err
}

// sinkOf returns the sink that writes to a topic: the one that names it, else one that chooses
// topics by the record.
func (t *Task) sinkOf(topic string) *graph.Node {
	var dynamic *graph.Node
	for _, node := range t.sub.Nodes {
		switch {
		case node.Sink == nil:
		case node.Sink.Topic == "":
			dynamic = node
		case t.sinkTopic(node) == topic:
			return node
		}
	}
	if dynamic != nil {
		return dynamic
	}
	return t.sub.Nodes[0]
}
