package sarama

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// OpenTransactions asks each broker once: callers repeat it.
func (a *admin) OpenTransactions(ctx context.Context, wanted func(id string) bool) ([]kafka.OpenTransaction, error) {
	var found []kafka.OpenTransaction
	var errs []error
	seen := map[string]bool{}
	known := a.pool.client.metadata.cluster().brokers
	if len(known) == 0 { // nothing was asked yet
		err := a.pool.withToken(ctx, func(ctx context.Context) error {
			_, err := a.pool.describeTopics(ctx, []string{offsetsTopic})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list open transactions: %w", err)
		}
		known = a.pool.client.metadata.cluster().brokers
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		err := a.pool.withToken(ctx, func(ctx context.Context) error {
			return a.pool.request(ctx, known[id], func(cn *conn, b *ibm.Broker) error {
				open, err := openTransactions(cn, b, wanted)
				for _, t := range open {
					if !seen[t.ID] { // its coordinator may just have moved
						seen[t.ID] = true
						found = append(found, t)
					}
				}
				return err
			})
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return found, fmt.Errorf("list open transactions: %w", err)
	}
	return found, nil
}

// openTransactions returns those that a broker coordinates.
func openTransactions(cn *conn, b *ibm.Broker, wanted func(id string) bool) ([]kafka.OpenTransaction, error) {
	for _, key := range []int16{apiListTransactions, apiDescribeTransactions} {
		if _, ok := cn.maxVersions[key]; !ok {
			return nil, codeError(ibm.ErrUnsupportedVersion)
		}
	}
	// The list has no epochs, by which a transaction is told from the next one of its producer.
	list, err := b.ListTransactions(&ibm.ListTransactionsRequest{
		StateFilters: []string{ibm.TransactionStateOngoing}, DurationFilter: -1})
	if err != nil {
		return nil, err
	}
	if err := codeError(list.ErrorCode); err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range list.TransactionStates {
		if wanted(t.TransactionalID) {
			ids = append(ids, t.TransactionalID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	resp, err := b.DescribeTransactions(&ibm.DescribeTransactionsRequest{TransactionalIDs: ids})
	if err != nil {
		return nil, err
	}
	var open []kafka.OpenTransaction
	for _, t := range resp.TransactionStates {
		switch {
		// It has another coordinator now, or has expired.
		case t.ErrorCode == ibm.ErrNotCoordinatorForConsumer || t.ErrorCode == codeTransactionalIDNotFound:
		case t.ErrorCode != ibm.ErrNoError:
			return open, fmt.Errorf("transactional id %s: %w", t.TransactionalID, codeError(t.ErrorCode))
		case t.TransactionState == ibm.TransactionStateOngoing:
			open = append(open, kafka.OpenTransaction{
				ID: t.TransactionalID, Producer: t.ProducerID, Epoch: t.ProducerEpoch,
				Began: time.UnixMilli(t.TransactionStartTime), Timeout: t.TransactionTimeout,
			})
		}
	}
	return open, nil
}

// AbortTransaction has connections of its own: it may wait long for a coordinator, and other calls are not to.
func (a *admin) AbortTransaction(ctx context.Context, open kafka.OpenTransaction) (aborted bool, err error) {
	life, err := a.pool.lifetime()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(life, func() { cancel(context.Cause(life)) })()
	calls := newTransactionCalls(a.pool.client, kafka.TransactionConfig{ID: open.ID, Timeout: open.Timeout})
	calls.trouble = func(error) {}
	defer calls.close()
	// Why not InitProducerID at once: while a transaction is open, a coordinator does not compare the epoch. It would
	// abort the next transaction, too, of a producer that has come back. The end of a transaction is of this epoch or
	// of none.
	id := identity{open.Producer, open.Epoch}
	switch err := calls.end(ctx, id, false); {
	case errors.Is(err, kafka.ErrFenced), isNotInTransaction(err): // it has ended, or is about to
		return false, nil
	case err != nil:
		return false, err
	}
	// Whoever wrote the transaction may only have been suspended: what it sends on is refused from here on. The epoch
	// is compared, now that nothing is open.
	if _, err := calls.initProducerID(ctx, id); err != nil && !errors.Is(err, kafka.ErrFenced) {
		return true, err
	}
	return true, nil
}
