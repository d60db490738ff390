package topology

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// Middleware goes around the steps of a program: to time, trace, log or count what passes, or to fail on purpose. It is called once for
// each step of each task, when the task is made, and returns the function to go around that step, or nil to leave the step alone. task is
// the task's id, as in "1_3". Tasks are made and run on several goroutines; what is returned for one task is called on one.
//
// stream.Middleware gives it to a program. Kafka Streams has the ProcessorWrapper for this.
type Middleware func(step Node, task string) Around

// Around is called in place of a step for each record that reaches it; next runs the step, and with it all steps that follow, each behind
// middleware of its own. For a source the step is passing the record on, once it is decoded; for a sink it is encoding and sending
// it. Records that a punctuation forwards pass the steps that follow like others.
//
// It may read the record, change its headers, and measure next. It must call next at most once, on the same goroutine, and return
// the error that next returned, which ends the task. If it does not call next, the record goes no further: it is dropped and counted, or,
// when Around returns an error of its own, goes to the policy of the step as if a function of the step's had failed: OnError may be given to any step then. An error of its own
// after next ends the task. A panic is one in the step.
type Around func(r Passing, next func() error) error

// Passing is a record on its way into a step. Of a table's step it is the change: Value says false when the row is deleted. It is valid
// during the call only.
type Passing interface {
	// Key returns the key, ok false when there is none. A key that is no pointer is copied to the heap: ask when it is needed.
	Key() (key any, ok bool)
	// Value returns the value, ok false for a tombstone. It is copied like a key. It may be shared with other steps and must not be changed.
	Value() (value any, ok bool)
	// Time returns the record's time.
	Time() time.Time
	// Headers returns the record's headers.
	Headers() Headers
	// SetHeaders changes the headers with which the record enters the step, and what the step makes of it leaves.
	SetHeaders(Headers)
	// Source returns where the input record came from that this one was made from.
	Source() Source
}

// Surround makes of middleware what a graph holds. For the packages of this module.
func Surround(all []Middleware) func(*graph.Node, graph.TaskID) any {
	if len(all) == 0 {
		return nil
	}
	return func(n *graph.Node, task graph.TaskID) any {
		var around []Around
		for _, m := range all {
			if a := m(describe(n), task.String()); a != nil {
				around = append(around, a)
			}
		}
		if around == nil {
			return nil
		}
		return around
	}
}
