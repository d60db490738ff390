package worker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// explainUnreadable adds to an error of reading an input what may have happened and what the user
// can do.
func (w *Worker) explainUnreadable(tp kafka.TopicPartition, err error) error {
	var outOfRange *kafka.OffsetOutOfRange
	switch {
	case errors.As(err, &outOfRange) && w.describeInternal(tp.Topic) == "":
		return fmt.Errorf("%w: records were deleted before they were processed, by the topic's retention or by hand, "+
			"or the topic was created again. Skip the deleted records by committing an offset with "+
			"kafka-consumer-groups --reset-offsets, or reset the application", err)
	case errors.Is(err, kafka.ErrUnknownTopic):
		return w.explainDeleted(tp.Topic, err)
	}
	return err
}

// explainDeleted adds to the error of a deleted topic what the topic was for and what the user can
// do. Other errors are returned unchanged.
func (w *Worker) explainDeleted(topic string, err error) error {
	if !errors.Is(err, kafka.ErrUnknownTopic) {
		return err
	}
	internal := w.describeInternal(topic)
	switch {
	case internal != "":
		return fmt.Errorf("%s was deleted while the App was running, and its records are lost: start the App again, "+
			"which says how to go on without it, or reset the application (%w)", internal, err)
	case w.reads(topic):
		return fmt.Errorf("input topic %q was deleted while the App was running, and with it its unprocessed records "+
			"and the committed offsets: create it and start the App again; if stores were made from it, "+
			"reset the application (%w)", topic, err)
	}
	return fmt.Errorf("topic %q, which this step writes, does not exist: create it (%w)", topic, err)
}

// describeInternal returns what an internal topic of the application is for, empty for other topics.
func (w *Worker) describeInternal(topic string) string {
	cfg := w.cfg.Task
	for _, spec := range cfg.Graph.Stores {
		if spec.Changelog && graph.ChangelogTopic(cfg.Application, spec.Name) == topic {
			return fmt.Sprintf("changelog %q of store %q", topic, spec.Name)
		}
	}
	for _, t := range cfg.Graph.Topics {
		if graph.InternalTopic(cfg.Application, t.Name) == topic {
			return fmt.Sprintf("internal topic %q", topic)
		}
	}
	return ""
}

// reads reports whether a task of this worker reads the topic.
func (w *Worker) reads(topic string) bool {
	return slices.ContainsFunc(w.tasks, func(t *activeTask) bool { return slices.Contains(t.Topics, topic) })
}
