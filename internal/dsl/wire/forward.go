package wire

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/processor"
	"github.com/millstream-go/millstream/topology"
)

// Complete returns a record that a user's function has made, as records are on their way: a zero
// time is now, times are whole milliseconds, what a flag marks as absent is zero, and the record
// comes from source.
func Complete[K, V any](record topology.Record[K, V], now time.Time, source topology.Source) topology.Record[K, V] {
	if record.Time.IsZero() {
		record.Time = now
	} else if record.Time.Nanosecond()%int(time.Millisecond) != 0 {
		record.Time = time.UnixMilli(record.Time.UnixMilli())
	}
	record = record.From(source)
	if record.NoKey {
		record = record.Keyless()
	}
	if record.Tombstone {
		record = record.Deleted()
	}
	return record
}

// Forwarder returns the function with which a processor sends records to an outlet.
func Forwarder[K, V any](task *processor.Task, out Outlet[K, V]) func(topology.Record[K, V]) {
	return func(record topology.Record[K, V]) {
		if !task.MayForward() {
			return
		}
		env := task.Env()
		record = Complete(record, time.UnixMilli(env.RecordTime()), SourceOf(env))
		// An error of the outlet ends the task. The processor notes it, since user code cannot be
		// trusted to pass it on.
		if task.CheckTime(record.Time) {
			task.Forwarded(out(record))
		}
	}
}

// SourceOf returns where the current record came from; in a punctuation that is nowhere.
func SourceOf(env graph.Env) topology.Source {
	if in := env.Current(); in != nil {
		return topology.Source{Topic: in.Topic, Partition: in.Partition, Offset: in.Offset}
	}
	return topology.Source{Partition: -1, Offset: -1}
}
