package task

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Error is what ended a task: where, at which record, and why.
type Error struct {
	Task graph.TaskID
	Node *graph.Node // nil: not in a step
	// Topic, Partition and Offset are the record's; Topic is empty when there was none: in a punctuation, while wiring.
	kafka.TopicPartition
	Offset int64 // -1: a record to be written has none yet
	Err    error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "task %s", e.Task)
	if e.Node != nil {
		b.WriteString(", " + describe(e.Node))
	}
	if e.Topic != "" {
		fmt.Fprintf(&b, ", topic %s", e.TopicPartition)
		if e.Offset >= 0 {
			fmt.Fprintf(&b, " offset %d", e.Offset)
		}
	}
	return b.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// describe names a step as the user knows it.
func describe(n *graph.Node) string {
	s := fmt.Sprintf("%s %q", n.Op, n.Name)
	if n.Pos != "" {
		s += " (" + n.Pos + ")"
	}
	return s
}

// Panic is a panic of a user's function, or of ours, as an error.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n\n%s", p.Value, p.Stack) }

// Unwrap returns the panic's value when that is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// guard, deferred, turns a panic into the error that ends the task: the process lives.
func (t *Task) guard(err *error) {
	if v := recover(); v != nil {
		*err = t.fatal(t.place.Node, &Panic{Value: v, Stack: debug.Stack()})
	}
}

// fatal ends the task with err at n and the current record. keeps 3
func (t *Task) fatal(n *graph.Node, err error) error { return t.fatalInput(n, t.current, err) }

func (t *Task) fatalInput(n *graph.Node, in *graph.Input, err error) error {
	if t.err != nil {
		return t.err
	}
	e := new(Error)
	if !errors.As(err, &e) {
		e.Task, e.Node, e.Err = t.cfg.ID, n, err
		if in != nil {
			e.TopicPartition, e.Offset = in.TopicPartition, in.Offset
		}
		err = e
	}
	t.err = err
	return err
}

// atNode places an error of wiring.
func (t *Task) atNode(n *graph.Node, err error) error {
	return &Error{Task: t.cfg.ID, Node: n, Err: err}
}
