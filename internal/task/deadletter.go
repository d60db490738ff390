package task

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
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

// deadLetter writes the current record, key and value untouched, with what went wrong behind its headers. In a punctuation there
// is no record: the letter says only what went wrong.
func (t *Task) deadLetter(n *graph.Node, f graph.Failure, topic string) error {
	r := kafka.ProduceRecord{Time: t.recordTime}
	partition, offset, source := int32(-1), int64(-1), ""
	if in := t.current; in != nil {
		r.Key, r.Value = in.Key, in.Value
		r.Headers = append(r.Headers, in.Headers...)
		source, partition, offset = in.Topic, in.Partition, in.Offset
	}
	if r.Time < 0 { // Kafka refuses it
		r.Time = t.cfg.Now().UnixMilli()
	}
	add := func(name, value string) {
		r.Headers = append(r.Headers, kafka.Header{Name: name, Value: []byte(value)})
	}
	add(headerException, exception(f.Err))
	add(headerMessage, f.Err.Error())
	add(headerStacktrace, fmt.Sprintf("task %s, %s", t.cfg.ID, describe(n)))
	add(headerTopic, source)
	add(headerPartition, strconv.Itoa(int(partition)))
	add(headerOffset, strconv.FormatInt(offset, 10))
	to, err := t.letters.choose(t, topic, graph.ByKey, r)
	if err != nil {
		return err
	}
	return t.cfg.Out.Send(topic, to, r)
}

// exception is the type of the error that fmt.Errorf and errors.Join wrapped last: what Java has the exception's class for.
func exception(err error) string {
	for {
		next := errors.Unwrap(err)
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			next = many.Unwrap()[0]
		}
		if name := fmt.Sprintf("%T", err); next == nil || name != "*fmt.wrapError" && name != "*fmt.wrapErrors" && name != "*errors.joinError" {
			return name
		}
		err = next
	}
}
