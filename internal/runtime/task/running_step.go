package task

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// RunningStep is the step whose code a task runs, and the record that it processes.
type RunningStep struct {
	Node                 *graph.Node // nil: none yet
	kafka.TopicPartition             // of the record; Topic is empty without one, as in a punctuation
	Offset               int64
}

// RunningStep returns the step that is running. Any goroutine may call it. It is for the watch over
// functions that do not return: while such a function runs, nothing of this changes.
//
// It reads without a lock what the task's goroutine writes, so it is hidden from the race detector.
// Atomic stores of step and record would make a record of five steps a fifth more expensive (5 ns
// each, several times a record). Each word that is read is valid at any time: pointers to steps and
// to records, whose topics never change, and an offset.
//
//go:norace
func (t *Task) RunningStep() RunningStep {
	running := RunningStep{Node: t.currentStep.Node, Offset: -1}
	if in := t.current; in != nil {
		running.TopicPartition, running.Offset = in.TopicPartition, in.Offset
	}
	return running
}

// Error returns err with the task, the step and the record.
func (s RunningStep) Error(id graph.TaskID, err error) error {
	return &Error{Task: id, Node: s.Node, TopicPartition: s.TopicPartition, Offset: s.Offset, Err: err}
}
