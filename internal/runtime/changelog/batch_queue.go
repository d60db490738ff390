package changelog

import (
	"context"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/mailbox"
)

// batchQueue is a kafka.Sink for a goroutine that reads one partition and waits for its batches.
type batchQueue struct {
	mailbox  *mailbox.Mailbox[fetched]
	received []fetched
	read     int                  // how many of received were returned
	waiting  func() (over func()) // called around each wait; nil: not
}

// fetched is a batch, or the error for which no more follow.
type fetched struct {
	batch *kafka.Batch
	err   error
}

func newBatchQueue() *batchQueue { return &batchQueue{mailbox: mailbox.New[fetched]()} }

// Deliver implements kafka.Sink.
func (q *batchQueue) Deliver(b *kafka.Batch) { q.mailbox.Put(fetched{batch: b}) }

// FetchFailed implements kafka.Sink.
func (q *batchQueue) FetchFailed(_ kafka.TopicPartition, err error) { q.mailbox.Put(fetched{err: err}) }

// next returns the next batch and waits for it. It returns an error when fetching has failed, after
// the batches before, or when ctx has ended.
func (q *batchQueue) next(ctx context.Context) (*kafka.Batch, error) {
	// For each batch, not only before a wait: when batches arrive faster than they are applied, there is
	// none. A task that was revoked would then be restored to the end before its store is free for the
	// next owner.
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for q.read == len(q.received) {
		q.received, q.read = q.mailbox.Drain(q.received), 0
		if len(q.received) > 0 {
			break
		}
		if err := q.wait(ctx); err != nil {
			return nil, err
		}
	}
	item := q.received[q.read]
	q.received[q.read] = fetched{} // it would keep the batch in memory
	q.read++
	return item.batch, item.err
}

// wait waits until something has come.
func (q *batchQueue) wait(ctx context.Context) error {
	if q.waiting != nil {
		defer q.waiting()()
	}
	select {
	case <-q.mailbox.Ready():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
