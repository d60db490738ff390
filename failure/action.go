package failure

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Verb is what is to be done with a record that failed.
type Verb int8

const (
	// ActStop ends the task with Action.Err, which stops the App, unless Config.OnTaskError restarts the task.
	ActStop Verb = iota
	// ActSkip drops the record and counts it.
	ActSkip
	// ActDeadLetter writes the record to Action.Topic and counts it.
	ActDeadLetter
	// ActRetry calls the function again after Action.Pause.
	ActRetry
)

// String returns the verb in lower case, as it stands in logs.
func (v Verb) String() string {
	return [...]string{"stop", "skip", "dead letter", "retry"}[v]
}

// Action is the result of a policy for one failure: what the runtime does with the record.
type Action struct {
	Verb  Verb
	Topic string        // of ActDeadLetter
	Pause time.Duration // of ActRetry
	Then  Policy        // of ActRetry: what decides when there is no time left for the pause
	// Reason is what the record is counted under by ActSkip and ActDeadLetter: that of a Drop, else empty.
	Reason string
	// Err is the Report's error, joined with what was wrong with a policy that a Decide returned.
	Err error
}

// maxDecisions limits how often a Decide may return another Decide for one failure. One that
// returns itself would never end.
const maxDecisions = 8

// Action returns what p decides about the failure r. app is the App's own policy. It may call a
// Decide's function, on this goroutine. A Drop takes precedence over any policy.
func (p Policy) Action(ctx context.Context, r Report, app Policy) Action {
	if reason, ok := DropReason(r.Err); ok {
		return Action{Verb: ActSkip, Reason: reason, Err: r.Err}
	}
	return resolver{ctx, r}.resolve(p, app, r.Attempt, 0)
}

type resolver struct {
	ctx    context.Context
	report Report
}

// resolve decides by p. attempt is counted from the start of p: inside the then of a Retry it is
// less than the report's attempt.
func (r resolver) resolve(p, app Policy, attempt, decisions int) Action {
	switch p.kind {
	case inherit:
		if app.IsZero() {
			app = Stop()
		}
		return r.resolve(app, Stop(), attempt, decisions)
	case skip:
		return Action{Verb: ActSkip, Err: r.report.Err}
	case deadLetter:
		return Action{Verb: ActDeadLetter, Topic: p.topic, Err: r.report.Err}
	case retry:
		if attempt > p.attempts {
			return r.resolve(*p.then, app, attempt-p.attempts, decisions)
		}
		return Action{Verb: ActRetry, Pause: p.pause(attempt), Then: *p.then, Err: r.report.Err}
	case decide:
		return r.decide(p, app, attempt, decisions)
	}
	return Action{Verb: ActStop, Err: r.report.Err}
}

func (r resolver) decide(p, app Policy, attempt, decisions int) Action {
	if decisions == maxDecisions {
		return r.stopWith(fmt.Errorf("failure.Decide: it returned a Decide %d times in a row for one failure; return "+
			"another policy", decisions))
	}
	decided := p.decide(r.ctx, r.report)
	if err := decided.Validate(); err != nil {
		return r.stopWith(fmt.Errorf("failure.Decide returned a policy that cannot be used: %w", err))
	}
	if decided.kind == retry { // one more attempt, whatever the count: f has seen the count
		return Action{Verb: ActRetry, Pause: decided.pause(r.report.Attempt), Then: *decided.then, Err: r.report.Err}
	}
	return r.resolve(decided, app, attempt, decisions+1)
}

func (r resolver) stopWith(err error) Action {
	return Action{Verb: ActStop, Err: errors.Join(r.report.Err, err)}
}
