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
	// ActStop stops the App with Action.Err.
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

// Action is what a policy comes to for one failure: what the runtime is to do.
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

// maxAsked bounds how often a Decide may lead to a Decide for one failure: one that returns itself would go on for ever.
const maxAsked = 8

// Action returns what p, with app as the App's own policy, comes to for the failure r. It may call a Decide's function, on this
// goroutine. A Drop wins over any policy.
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

// resolve takes the attempt as p counts it, which is less than the report's inside a Retry's then.
func (x resolver) resolve(p, app Policy, attempt, asked int) Action {
	switch p.kind {
	case inherit:
		if app.IsZero() {
			app = Stop()
		}
		return x.resolve(app, Stop(), attempt, asked)
	case skip:
		return Action{Verb: ActSkip, Err: x.report.Err}
	case deadLetter:
		return Action{Verb: ActDeadLetter, Topic: p.topic, Err: x.report.Err}
	case retry:
		if attempt > p.attempts {
			return x.resolve(*p.then, app, attempt-p.attempts, asked)
		}
		return Action{Verb: ActRetry, Pause: p.pause(attempt), Then: *p.then, Err: x.report.Err}
	case decide:
		return x.ask(p, app, attempt, asked)
	}
	return Action{Verb: ActStop, Err: x.report.Err}
}

func (x resolver) ask(p, app Policy, attempt, asked int) Action {
	if asked == maxAsked {
		return x.broken(fmt.Errorf("failure.Decide: asked %d times for one failure and still returns a Decide", asked))
	}
	q := p.decide(x.ctx, x.report)
	if err := q.Validate(); err != nil {
		return x.broken(fmt.Errorf("failure.Decide returned a policy that cannot be used: %w", err))
	}
	if q.kind == retry { // one more attempt, whatever the count: f has seen the count
		return Action{Verb: ActRetry, Pause: q.pause(x.report.Attempt), Then: *q.then, Err: x.report.Err}
	}
	return x.resolve(q, app, attempt, asked+1)
}

func (x resolver) broken(err error) Action {
	return Action{Verb: ActStop, Err: errors.Join(x.report.Err, err)}
}
