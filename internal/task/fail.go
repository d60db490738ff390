package task

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// defaultRetryBudget is how long the retries of one failure may wait together. They hold up the task and its commit, which has
// to end before the group and the transaction coordinator lose patience.
const defaultRetryBudget = 5 * time.Second

// Fail implements graph.Env.
func (t *Task) Fail(n *graph.Node, f graph.Failure) (graph.Verdict, error) {
	if t.err != nil {
		return graph.Skip, t.err
	}
	var fatal *Error
	if errors.As(f.Err, &fatal) { // an error of what follows, passed on by a user's function
		return graph.Skip, t.fatal(n, f.Err)
	}
	own, app := t.policies(n, f.Phase)
	r := t.failureReport(n, f)
	if _, drop := failure.DropReason(f.Err); !drop {
		t.cfg.Failure(r)
	}
	if f.Attempt <= 1 {
		t.retryPaused = 0
	}
	return t.act(n, f, own.Action(t.cfg.Context, r, app), app)
}

func (t *Task) policies(n *graph.Node, p graph.Phase) (own, app failure.Policy) {
	switch p {
	case graph.Decode:
		if n.Source != nil {
			own = n.Source.Policy
		}
		return own, t.cfg.Policies.Decode
	case graph.Produce:
		return n.Policy, t.cfg.Policies.Produce
	}
	return n.Policy, t.cfg.Policies.Process
}

func (t *Task) failureReport(n *graph.Node, f graph.Failure) failure.Report {
	r := failure.Report{Step: n.Name, Attempt: f.Attempt, Err: f.Err, Partition: -1, Offset: -1}
	if f.Phase == graph.Decode {
		r.Step = ""
	}
	if in := t.current; in != nil {
		r.Topic, r.Partition, r.Offset, r.Key, r.Value = in.Topic, in.Partition, in.Offset, in.Key, in.Value
	}
	return r
}

// act does what a policy came to.
func (t *Task) act(n *graph.Node, f graph.Failure, a failure.Action, app failure.Policy) (graph.Verdict, error) {
	for tries := 0; a.Verb == failure.ActRetry; tries++ {
		if t.retryPaused+a.Pause <= t.cfg.RetryBudget && tries == 0 {
			t.retryPaused += a.Pause
			if err := t.cfg.Sleep(t.cfg.Context, a.Pause); err != nil {
				return graph.Skip, t.fatal(n, fmt.Errorf("waiting to retry: %w", errors.Join(err, f.Err)))
			}
			return graph.Again, nil
		}
		if tries == 8 { // a Decide that only retries
			a.Verb, a.Err = failure.ActStop, fmt.Errorf("retried for %v: %w", t.retryPaused, f.Err)
			break
		}
		r := t.failureReport(n, f)
		r.Attempt = 1
		a = a.Then.Action(t.cfg.Context, r, app)
	}
	switch a.Verb {
	case failure.ActSkip:
		t.Drop(n, reason(a, f.Phase))
		return graph.Skip, nil
	case failure.ActDeadLetter:
		if t.sub.Global { // every instance would write it, and again at every restore
			t.cfg.Logger.Warn("millstream: a record of a global topic failed and is skipped: dead letters are for what tasks process",
				"step", n.Name, "error", f.Err)
			t.Drop(n, reason(a, f.Phase))
			return graph.Skip, nil
		}
		if err := t.deadLetter(n, f, a.Topic); err != nil {
			return graph.Skip, t.fatal(n, fmt.Errorf("dead letter to topic %q: %w", a.Topic, errors.Join(err, f.Err)))
		}
		t.Drop(n, reason(a, f.Phase))
		return graph.Skip, nil
	}
	return graph.Skip, t.fatal(n, a.Err)
}

func reason(a failure.Action, p graph.Phase) string {
	if a.Reason != "" {
		return a.Reason
	}
	return [...]string{graph.Decode: graph.DecodeSkipped, graph.Run: graph.ProcessSkipped, graph.Produce: graph.ProduceSkipped}[p]
}

// Refused applies the policy of production to a record of this task that Kafka refused after Output.Send had taken it. The record that was
// being processed then is gone: a dead letter has what was to be written. A non-nil error ends the task.
func (t *Task) Refused(p kafka.ProduceFailure) (err error) {
	if t.err != nil {
		return t.err
	}
	defer t.report()
	defer t.guard(&err)
	n := t.sinkOf(p.Topic)
	in := &graph.Input{TopicPartition: p.TopicPartition, Time: p.Record.Time}
	in.Record = kafka.Record{Key: p.Record.Key, Value: p.Record.Value, Headers: p.Record.Headers, Offset: -1, Time: p.Record.Time}
	t.current, t.recordTime, t.place.Node = in, in.Time, n
	f := graph.Failure{Phase: graph.Produce, Err: p.Err, Attempt: 1, Topic: p.Topic}
	own, app := t.policies(n, f.Phase)
	t.cfg.Failure(t.failureReport(n, f))
	a := own.Action(t.cfg.Context, t.failureReport(n, f), app)
	if a.Verb == failure.ActRetry { // the producer has done that
		t.retryPaused = t.cfg.RetryBudget
	}
	_, err = t.act(n, f, a, app)
	t.current = nil
	return err
}

// sinkOf returns the sink that writes to a topic: the one that names it, else one that chooses by the record.
func (t *Task) sinkOf(topic string) *graph.Node {
	var chooses *graph.Node
	for _, n := range t.sub.Nodes {
		switch {
		case n.Sink == nil:
		case n.Sink.Topic == "":
			chooses = n
		case t.fullSink(n) == topic:
			return n
		}
	}
	if chooses != nil {
		return chooses
	}
	return t.sub.Nodes[0]
}
