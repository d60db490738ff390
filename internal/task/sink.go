package task

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/partition"
)

// Sink implements graph.Env.
func (t *Task) Sink(n *graph.Node) graph.SinkWriter {
	return &sink{t: t, node: n, full: t.fullSink(n), spread: spread{keyless: partition.From(t.cfg.ID.Partition)}}
}

func (t *Task) fullSink(n *graph.Node) string {
	if n.Sink.Internal {
		return graph.InternalTopic(t.cfg.Application, n.Sink.Topic)
	}
	return n.Sink.Topic
}

// sink is the writer of one sink.
type sink struct {
	t    *Task
	node *graph.Node
	full string // of the topic, with the application's prefix when it is internal
	spread
}

func (s *sink) name(topic string) string {
	if s.node.Sink.Internal {
		return s.full
	}
	return topic
}

// Partitions implements graph.SinkWriter.
func (s *sink) Partitions(topic string) (int, error) { return s.count(s.t, s.name(topic)) }

// Write implements graph.SinkWriter.
func (s *sink) Write(topic string, p int32, r kafka.ProduceRecord) error {
	if s.t.err != nil {
		return s.t.err // keeps 3: steps that close after an error may try
	}
	topic = s.name(topic)
	for attempt := 1; ; attempt++ {
		err := s.send(topic, p, r)
		if err == nil {
			return nil
		}
		if !refused(err) {
			return s.t.fatal(s.node, err)
		}
		verdict, err := s.t.Fail(s.node, graph.Failure{Phase: graph.Produce, Err: err, Attempt: attempt, Topic: topic})
		if err != nil || verdict == graph.Skip {
			return err
		}
	}
}

func (s *sink) send(topic string, p int32, r kafka.ProduceRecord) error {
	to, err := s.choose(s.t, topic, p, r)
	if err != nil {
		return err
	}
	return s.t.cfg.Out.Send(topic, to, r)
}

// refused says whether an error of the Output concerns one record.
func refused(err error) bool {
	return errors.Is(err, kafka.ErrTooLarge) || errors.Is(err, kafka.ErrUnknownTopic) || errors.Is(err, kafka.ErrNotAuthorized)
}

// spread chooses partitions. It asks for a topic's number of partitions once per commit: a look-up for each record would cost
// more than the hash, and a topic that grows is noticed soon enough.
type spread struct {
	keyless partition.Spread
	topic   string
	n       int
	epoch   int
}

func (s *spread) count(t *Task, topic string) (int, error) {
	if s.n > 0 && s.epoch == t.epoch && s.topic == topic {
		return s.n, nil
	}
	n, err := t.cfg.Out.Partitions(topic)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, kafka.ErrUnknownTopic
	}
	s.topic, s.n, s.epoch = topic, n, t.epoch
	return n, nil
}

func (s *spread) choose(t *Task, topic string, p int32, r kafka.ProduceRecord) (int32, error) {
	if p != graph.ByKey {
		return p, nil
	}
	n, err := s.count(t, topic)
	if err != nil {
		return 0, err
	}
	if r.Key == nil {
		return s.keyless.Next(n, len(r.Value)), nil
	}
	return partition.ForKey(r.Key, n), nil
}
