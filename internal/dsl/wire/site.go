package wire

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
)

// Site is one step in one task: where records are processed, and what they are dropped, counted and
// retried under.
type Site struct {
	Node    *graph.Node
	Env     graph.Env
	current *graph.CurrentStep
	count   *int64 // of records that came to the step
}

// NewSite returns the site of n in the task of env.
func NewSite(n *graph.Node, env graph.Env) Site {
	return Site{n, env, graph.CurrentStepOf(env), graph.StepCountOf(env, n)}
}

// Enter is called once for each record that comes to the step, before any other code of the step. It counts the record,
// and marks the step as the one whose code runs next, so that the error of a panic names it. Serdes are the user's
// code, too, so steps without functions enter as well.
func (s Site) Enter() {
	*s.count++
	s.current.Node = s.Node
}

// Resume marks the step as the one whose code runs next, for a record that has been counted: after a call of a step
// that follows, for another attempt, or when the record has waited.
func (s Site) Resume() { s.current.Node = s.Node }

// Uncounted returns a Site of the same step whose Enter counts nothing, for an inlet behind another one of the step.
func (s Site) Uncounted() Site {
	s.count = new(int64)
	return s
}

// Current returns the step at work. Where this step's code reads rows for another one, that is the
// reader.
func (s Site) Current() *graph.Node { return s.current.Node }

// Return marks that the code of n goes on, which has called code of this step.
func (s Site) Return(n *graph.Node) { s.current.Node = n }

// Drop counts a record that is dropped.
func (s Site) Drop(reason string) { s.Env.Drop(s.Node, reason) }

// Failed has the step's policy decide about an error of the current record that a retry cannot
// mend: the function that made it has emitted other records already.
func (s Site) Failed(err error) error {
	return graph.Do(s.Env, s.Node, graph.Processing, func(err error) error { return err }, err)
}

// Produces asks the step's policy about records that cannot be encoded for a topic.
func (s Site) Produces(topic string) retry.Func {
	return graph.Retrier(s.Env, s.Node, graph.Producing, topic)
}

// Stores asks the step's policy about records that a store rejects. They fail like records that the
// store's changelog rejects.
func (s Site) Stores(store string) retry.Func { return s.Produces(graph.ChangelogName(store)) }

// Reads asks the policy about a key that cannot be looked up: that of the step at work, whichever
// step's rows it reads.
func Reads(env graph.Env) retry.Func { return graph.Retrier(env, nil, graph.Processing, "") }
