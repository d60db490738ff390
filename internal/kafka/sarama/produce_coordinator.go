package sarama

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// transactionCalls makes the requests of one transactional id to its coordinator, and to those of groups, on
// connections of its own. Safe for use by several goroutines, one call at a time.
type transactionCalls struct {
	id           string
	timeout      time.Duration
	pool         *connPool
	transactions coordinators
	groups       coordinators
	// unanswered says that a request under the present epoch has got no answer: it may arrive when it is not expected
	// any more.
	unanswered atomic.Bool
	// trouble is told why a call waits, and nil when one was answered.
	trouble func(error)
}

func newTransactionCalls(c *Client, t kafka.TransactionConfig) *transactionCalls {
	pool := newConnPool(c)
	x := &transactionCalls{
		id: t.ID, timeout: t.Timeout, pool: pool, transactions: newCoordinators(pool), groups: newCoordinators(pool),
	}
	x.transactions.kind = ibm.CoordinatorTransaction
	return x
}

func (c *transactionCalls) close() { c.pool.close() }

// errNotAttempted is of a partition that was not added since another one of the request could not be.
var errNotAttempted = errors.New("kafka: not attempted")

// try makes one request to the coordinator of the transactional id.
func (c *transactionCalls) try(ctx context.Context, f func(*conn, *ibm.Broker) error) error {
	return c.note(c.pool.withToken(ctx, func(ctx context.Context) error {
		return c.transactions.request(ctx, c.id, c.pool.client.cfg.RequestTimeout, f)
	}))
}

// note notes whether a request was answered, and returns its error.
func (c *transactionCalls) note(err error) error {
	if errors.Is(err, kafka.ErrNoAnswer) {
		c.unanswered.Store(true)
	}
	return err
}

// repeat makes a request until it is answered by something else than to try again, or ctx ends.
func (c *transactionCalls) repeat(ctx context.Context, what string, f func(*conn, *ibm.Broker) error) error {
	for n := 0; ; n++ {
		err := c.try(ctx, f)
		if err == nil {
			c.trouble(nil)
			return nil
		}
		if !c.again(ctx, n, what, err) {
			return fmt.Errorf("%s of transactional id %s: %w", what, c.id, err)
		}
	}
}

// again waits before the try after the nth. It reports false when there is none: because of what err says, or since
// ctx has ended or the producer is closed.
func (c *transactionCalls) again(ctx context.Context, n int, what string, err error) bool {
	life, closed := c.pool.lifetime()
	if closed != nil || !isTransient(err) || ctx.Err() != nil {
		return false
	}
	if !isConcurrent(err) { // that is of every other transaction, and soon over
		c.trouble(fmt.Errorf("%s of transactional id %s: %w", what, c.id, err))
	}
	return sleep(c.pool.client.cfg.transactionBackoff(n, err), ctx.Done(), life.Done())
}

// isConcurrent reports whether the transaction before is still being ended: markers are being written.
func isConcurrent(err error) bool {
	k, ok := codeOf(err)
	return ok && k == ibm.ErrConcurrentTransactions
}

// isNotInTransaction reports whether the coordinator knows of no open transaction.
func isNotInTransaction(err error) bool {
	k, ok := codeOf(err)
	return ok && k == ibm.ErrInvalidTxnState
}

// transactionBackoff is the wait before the next try. Markers are written within some 20 ms, and every transaction may
// have to wait for those of the one before.
func (c *Config) transactionBackoff(n int, err error) time.Duration {
	if isConcurrent(err) {
		return min(2*time.Millisecond<<min(n, 6), 50*time.Millisecond)
	}
	return c.backoff(n)
}

// initProducerID asks for the identity of the transactional id. With {-1, -1} another producer that has it is fenced,
// and what that left open is aborted. With the present identity its epoch is raised; ErrFenced: somebody else has it.
func (c *transactionCalls) initProducerID(ctx context.Context, present identity) (out *identity, err error) {
	err = c.repeat(ctx, "initialise the producer", func(cn *conn, b *ibm.Broker) error {
		resp, err := b.InitProducerID(&ibm.InitProducerIDRequest{
			Version: cn.version(apiInitProducerID, 4), TransactionalID: &c.id,
			TransactionTimeout: c.timeout, ProducerID: present.id, ProducerEpoch: present.epoch})
		if err != nil {
			return err
		}
		out = &identity{resp.ProducerID, resp.ProducerEpoch}
		return codeError(resp.Err)
	})
	if err == nil {
		c.unanswered.Store(false) // what arrives late has an epoch that is refused
	}
	return out, err
}

// addPartitions adds partitions to the open transaction, which begins with it. It returns an error for each
// partition, or one for all.
func (c *transactionCalls) addPartitions(id identity, partitions []*producePartition) (errs []error, err error) {
	topics := map[string][]int32{}
	for _, part := range partitions {
		topics[part.Topic] = append(topics[part.Topic], part.Partition)
	}
	err = c.try(context.Background(), func(cn *conn, b *ibm.Broker) error {
		resp, err := b.AddPartitionsToTxn(&ibm.AddPartitionsToTxnRequest{Version: cn.version(apiAddPartitions, 3),
			TransactionalID: c.id, ProducerID: id.id, ProducerEpoch: id.epoch, TopicPartitions: topics})
		if err != nil {
			return err
		}
		errs = make([]error, len(partitions))
		if allAdded(resp, len(partitions)) {
			return nil
		}
		codes := map[kafka.TopicPartition]ibm.KError{}
		for topic, list := range resp.Errors {
			for _, e := range list {
				codes[kafka.TopicPartition{Topic: topic, Partition: e.Partition}] = e.Err
			}
		}
		for i, part := range partitions {
			code, ok := codes[part.TopicPartition]
			switch {
			case !ok:
				return ibm.ErrIncompleteResponse
			case code == ibm.ErrOperationNotAttempted:
				errs[i] = errNotAttempted
			case code == ibm.ErrUnknownTopicOrPartition, code == ibm.ErrTopicAuthorizationFailed, code == codeUnknownTopicID:
				errs[i] = codeError(code)
			case code != ibm.ErrNoError: // it is the transaction's, and every partition has it
				return codeError(code)
			}
		}
		return nil
	})
	return errs, err
}

// allAdded reports whether a response says of n partitions that they were added.
func allAdded(resp *ibm.AddPartitionsToTxnResponse, n int) bool {
	for _, list := range resp.Errors {
		for _, e := range list {
			if e.Err != ibm.ErrNoError {
				return false
			}
			n--
		}
	}
	return n == 0
}

// addOffsets adds a group's offsets to the open transaction, which begins with it.
func (c *transactionCalls) addOffsets(ctx context.Context, id identity, group string) error {
	return c.repeat(ctx, "add offsets to the transaction", func(cn *conn, b *ibm.Broker) error {
		resp, err := b.AddOffsetsToTxn(&ibm.AddOffsetsToTxnRequest{
			Version: cn.version(apiAddOffsets, 3), TransactionalID: c.id,
			ProducerID: id.id, ProducerEpoch: id.epoch, GroupID: group})
		if err != nil {
			return err
		}
		return codeError(resp.Err)
	})
}

// commitOffsets writes offsets that become the group's when the transaction is committed.
func (c *transactionCalls) commitOffsets(
	ctx context.Context, id identity, group, memberID string, generation int32,
	at map[kafka.TopicPartition]kafka.OffsetMeta,
) error {
	return c.pool.retry(ctx, "commit offsets of group "+group+" in a transaction", func(ctx context.Context) error {
		return c.note(c.groups.request(ctx, group, c.pool.client.cfg.RequestTimeout, func(cn *conn, b *ibm.Broker) error {
			instance, err := c.pool.client.instanceID(cn)
			if err != nil {
				return err
			}
			req := &ibm.TxnOffsetCommitRequest{Version: cn.version(apiTxnOffsetCommit, 3), TransactionalID: c.id, GroupID: group,
				ProducerID: id.id, ProducerEpoch: id.epoch, GenerationID: generation, MemberID: memberID, GroupInstanceID: instance,
				Topics: map[string][]*ibm.PartitionOffsetMetadata{}}
			if req.Version < 3 {
				// Without member and generation a broker takes the offsets of whoever was a member once.
				return ibm.ErrUnsupportedVersion
			}
			for tp, m := range at {
				req.Topics[tp.Topic] = append(req.Topics[tp.Topic],
					&ibm.PartitionOffsetMetadata{Partition: tp.Partition, Offset: m.Offset, LeaderEpoch: -1, Metadata: &m.Metadata})
			}
			resp, err := b.TxnOffsetCommit(req)
			if err != nil {
				return err
			}
			if allWritten(resp, len(at)) {
				return nil
			}
			codes := &ibm.OffsetCommitResponse{}
			for topic, list := range resp.Topics {
				for _, e := range list {
					codes.AddError(topic, e.Partition, e.Err)
				}
			}
			return commitError(codes, at)
		}))
	})
}

// allWritten reports whether a response says of n partitions that their offsets were written.
func allWritten(resp *ibm.TxnOffsetCommitResponse, n int) bool {
	for _, list := range resp.Topics {
		for _, e := range list {
			if e.Err != ibm.ErrNoError {
				return false
			}
			n--
		}
	}
	return n == 0
}

// refusedToEnd reports whether an answer says that a request has ended no transaction, and will not. After others it
// may have: a coordinator that cannot say whether its own record of the end is replicated answers that it is not
// available, or not the coordinator any more, and the record may be.
func refusedToEnd(k ibm.KError) bool {
	switch k {
	case ibm.ErrConcurrentTransactions, ibm.ErrOffsetsLoadInProgress, ibm.ErrInvalidTxnState, ibm.ErrInvalidProducerEpoch,
		ibm.ErrProducerFenced, ibm.ErrInvalidProducerIDMapping, ibm.ErrTransactionalIDAuthorizationFailed,
		ibm.ErrClusterAuthorizationFailed, ibm.ErrUnsupportedVersion, ibm.ErrInvalidRequest:
		return true
	}
	return false
}

// end commits or aborts the open transaction. The request is repeated until it is answered: whether a transaction
// that was committed is committed again does not matter.
func (c *transactionCalls) end(ctx context.Context, id identity, commit bool) error {
	what, uncertain := "abort the transaction", false
	if commit {
		what = "commit the transaction"
	}
	for n := 0; ; n++ {
		err := c.try(ctx, func(cn *conn, b *ibm.Broker) error {
			resp, err := b.EndTxn(&ibm.EndTxnRequest{Version: cn.version(apiEndTransaction, 3), TransactionalID: c.id,
				ProducerID: id.id, ProducerEpoch: id.epoch, TransactionResult: commit})
			if err != nil {
				return err
			}
			return codeError(resp.Err)
		})
		if err == nil {
			c.trouble(nil)
			return nil
		}
		code, answered := codeOf(err)
		uncertain = uncertain || errors.Is(err, kafka.ErrNoAnswer) || answered && !refusedToEnd(code)
		if c.again(ctx, n, what, err) {
			continue
		}
		// An earlier try may have committed it, whatever this one was answered. So may this one itself, where the
		// coordinator says that there is no transaction.
		if commit && (uncertain || isNotInTransaction(err)) {
			err = fmt.Errorf("%w: %w", kafka.ErrUncertain, err)
		}
		return fmt.Errorf("%s of transactional id %s: %w", what, c.id, err)
	}
}
