package task

import "github.com/millstream-go/millstream/internal/kafka"

// PartitionProgress is how far a task is in one of its source partitions.
type PartitionProgress struct {
	kafka.TopicPartition
	Position int64 // the offset of the next record; -1: not known
	Queued   int   // records that were fetched and not processed
	// HeadTime is the time of the oldest record that is queued, in milliseconds, as it is in the topic; -1: none is.
	HeadTime int64
}

// Progress appends to partitions how far the task is in each of its source partitions.
func (t *Task) Progress(partitions []PartitionProgress) []PartitionProgress {
	for _, q := range t.queues {
		p := PartitionProgress{TopicPartition: q.tp, Position: q.position, Queued: q.records, HeadTime: -1}
		// Not the time that Topic.Timestamp returns: it is known of a decoded head alone, and between two rounds the head
		// of a task with one input is not decoded.
		if len(q.batches) > 0 && q.recordIndex < len(q.batches[0].Records) {
			p.HeadTime = q.batches[0].Records[q.recordIndex].Time
		}
		partitions = append(partitions, p)
	}
	return partitions
}

// LastTime returns the time of the record that was processed last, in milliseconds. It is 0 before the first one.
func (t *Task) LastTime() int64 { return t.lastTime }
