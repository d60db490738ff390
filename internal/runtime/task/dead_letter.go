package task

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/timerange"
)

// The headers of dead letters, as Kafka Streams names them (KIP-1034).
const (
	headerException  = "__streams.errors.exception"
	headerMessage    = "__streams.errors.message"
	headerStacktrace = "__streams.errors.stacktrace"
	headerTopic      = "__streams.errors.topic"
	headerPartition  = "__streams.errors.partition"
	headerOffset     = "__streams.errors.offset"
)

// deadLetter writes the current record to a dead-letter topic, key and value unchanged, with
// headers that describe the failure after its own. In a punctuation there is no record: then the
// dead letter has the headers alone.
func (t *Task) deadLetter(node *graph.Node, cause graph.Failure, topic string) error {
	letter := kafka.ProduceRecord{Time: t.recordTime}
	partition, offset, source := int32(-1), int64(-1), ""
	if in := t.current; in != nil {
		letter.Key, letter.Value = in.Key, in.Value
		letter.Headers = append(letter.Headers, in.Headers...)
		source, partition, offset = in.Topic, in.Partition, in.Offset
	}
	// A broker refused a record of the same topic. The dead letter is larger, would be refused as well,
	// and so on without end.
	if cause.Phase == graph.Producing && source == topic && offset == notRead {
		return errors.New("the topic refused the record itself")
	}
	// The record's time may be the reason why it failed. Brokers refuse times out of range, and a
	// topic may refuse times that are far from its clock (below); neither may stop the dead letter.
	if timerange.CheckMillis(letter.Time) != nil {
		letter.Time = t.cfg.Now().UnixMilli()
	}
	add := func(name, value string) {
		letter.Headers = append(letter.Headers, kafka.Header{Name: name, Value: []byte(value)})
	}
	add(headerException, exceptionType(cause.Err))
	add(headerMessage, quote.Text(cause.Err.Error()))
	add(headerStacktrace, fmt.Sprintf("task %s, %s", t.cfg.ID, describe(node)))
	add(headerTopic, source)
	add(headerPartition, strconv.Itoa(int(partition)))
	add(headerOffset, strconv.FormatInt(offset, 10))
	target, err := t.deadLetterPartitions.choose(t, topic, graph.ByKey, letter)
	if err != nil {
		return err
	}
	if t.deadLetterTopics == nil {
		t.deadLetterTopics = map[string]struct{}{}
	}
	t.deadLetterTopics[topic] = struct{}{}
	err = t.cfg.Out.Send(topic, target, letter)
	if errors.Is(err, kafka.ErrTimestamp) {
		letter.Time = t.cfg.Now().UnixMilli()
		err = t.cfg.Out.Send(topic, target, letter)
	}
	return err
}

// WroteDeadLetterTo reports whether the task has written dead letters to a topic.
func (t *Task) WroteDeadLetterTo(topic string) bool {
	_, wrote := t.deadLetterTopics[topic]
	return wrote
}

// exceptionType returns what stands for Java's exception class: the Go type of the error below
// those that fmt.Errorf and errors.Join add.
func exceptionType(err error) string {
	for {
		next := errors.Unwrap(err)
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			next = many.Unwrap()[0]
		}
		name := fmt.Sprintf("%T", err)
		if next == nil || name != "*fmt.wrapError" && name != "*fmt.wrapErrors" && name != "*errors.joinError" {
			return name
		}
		err = next
	}
}
