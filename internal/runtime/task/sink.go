package task

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/internal/retry"
)

// Sink implements graph.Env.
func (t *Task) Sink(n *graph.Node) graph.SinkWriter {
	return &sink{
		task: t, node: n, fullTopic: t.sinkTopic(n),
		partitionChooser: partitionChooser{keyless: partitioner.NewSticky(t.cfg.ID.Partition)},
	}
}

// sinkTopic returns the full name of the topic of a sink.
func (t *Task) sinkTopic(n *graph.Node) string {
	if n.Sink.Internal {
		return graph.InternalTopic(t.cfg.Application, n.Sink.Topic)
	}
	return n.Sink.Topic
}

// sink writes the records of one sink node.
type sink struct {
	task      *Task
	node      *graph.Node
	fullTopic string // with the application's prefix when the topic is internal
	partitionChooser
}

func (s *sink) name(topic string) string {
	if s.node.Sink.Internal {
		return s.fullTopic
	}
	return topic
}

// Partitions implements graph.SinkWriter.
func (s *sink) Partitions(topic string) (int, error) {
	n, err := s.partitionCount(s.task, s.name(topic))
	return n, fatalUnlessRecord(err)
}

// Write implements graph.SinkWriter.
func (s *sink) Write(topic string, partitionOrByKey int32, record kafka.ProduceRecord) error {
	if s.task.err != nil {
		return s.task.err // keeps 3: steps that close after an error may try
	}
	full := s.name(topic)
	err := s.produce(full, partitionOrByKey, record)
	if err == nil {
		return nil
	}
	cause := graph.Failure{Phase: graph.Producing, Err: err, Topic: full}
	_, fatal := s.task.HandleFailure(s.node, cause, func() error { return s.produce(full, partitionOrByKey, record) })
	return fatal
}

func (s *sink) produce(topic string, p int32, record kafka.ProduceRecord) error {
	target, err := s.choose(s.task, topic, p, record)
	if err == nil {
		err = s.task.cfg.Out.Send(topic, target, record)
	}
	return fatalUnlessRecord(err)
}

// fatalUnlessRecord marks errors of the Output as fatal, except those that are about the record or
// its topic: these go to the production policy.
func fatalUnlessRecord(err error) error {
	if err == nil || errors.Is(err, kafka.ErrTooLarge) || errors.Is(err, kafka.ErrTimestamp) ||
		errors.Is(err, kafka.ErrUnknownTopic) || errors.Is(err, kafka.ErrNotAuthorized) {
		return err
	}
	return retry.Fatal(err)
}

// partitionChooser chooses partitions for records. It asks for the partition count of a topic once
// per commit. A look-up for each record would cost more than the hash, and a topic to which
// partitions are added is noticed soon enough.
type partitionChooser struct {
	keyless    partitioner.Sticky
	topic      string
	partitions int
	epoch      int
}

func (s *partitionChooser) partitionCount(t *Task, topic string) (int, error) {
	if s.partitions > 0 && s.epoch == t.epoch && s.topic == topic {
		return s.partitions, nil
	}
	n, err := t.cfg.Out.Partitions(topic)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, kafka.ErrUnknownTopic
	}
	s.topic, s.partitions, s.epoch = topic, n, t.epoch
	return n, nil
}

func (s *partitionChooser) choose(t *Task, topic string, p int32, r kafka.ProduceRecord) (int32, error) {
	if p != graph.ByKey {
		return p, nil
	}
	n, err := s.partitionCount(t, topic)
	if err != nil {
		return 0, err
	}
	if r.Key == nil {
		return s.keyless.Next(n, len(r.Value)), nil
	}
	return partitioner.ForKey(r.Key, n), nil
}
