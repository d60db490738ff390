package task

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/quote"
)

// Error is the error that ended a task, with its step and its record.
type Error struct {
	Task graph.TaskID
	Node *graph.Node // nil: not in a step
	// Topic, Partition and Offset are the record's. Topic is empty without a record: in a punctuation,
	// while wiring.
	kafka.TopicPartition
	Offset int64 // -1: a record to be written has none yet
	Err    error
	Advice string // what can be done about it; empty: the error itself says so
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
	// Users' errors may quote a whole record. A panic truncates its value itself; its stack is long
	// and has no record.
	text := e.Err.Error()
	if panicked := (*Panic)(nil); !errors.As(e.Err, &panicked) {
		text = quote.Text(text)
	}
	b.WriteString(": " + text)
	if e.Advice != "" {
		b.WriteString("; " + e.Advice) // after what is shortened
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// describe returns the operator, the name and the source position of a step.
func describe(n *graph.Node) string {
	s := fmt.Sprintf("%s %q", n.Op, n.Name)
	if n.Pos != "" {
		s += " (" + n.Pos + ")"
	}
	return s
}

// Panic is a panic, of a user's function or of this module, as an error.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string {
	return fmt.Sprintf("panic: %s\n\n%s", quote.Text(fmt.Sprint(p.Value)), p.Stack)
}

// Unwrap returns the panic's value when that is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// recoverPanic is deferred. It turns a panic into the error that ends the task, so that the process
// goes on.
func (t *Task) recoverPanic(err *error) {
	if v := recover(); v != nil {
		*err = t.fatal(t.currentStep.Node, &Panic{Value: v, Stack: debug.Stack()})
	}
}

// fatal ends the task with err at step n and the current record. keeps 3
func (t *Task) fatal(n *graph.Node, err error) error { return t.fatalAt(n, t.current, err) }

// fatalAt is fatal with another record than the current one.
func (t *Task) fatalAt(n *graph.Node, in *graph.Input, err error) error {
	if t.err != nil {
		return t.err
	}
	// An error that has its place already came through a user's function: the inner place is the right
	// one.
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

// wireError adds the step to an error of wiring.
func (t *Task) wireError(n *graph.Node, err error) error {
	return &Error{Task: t.cfg.ID, Node: n, Err: err}
}
