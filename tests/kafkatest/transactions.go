package kafkatest

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// HasOpenTransaction reports whether there is an open transaction whose transactional id begins with prefix.
func HasOpenTransaction(ctx context.Context, client *kgo.Client, prefix string) (bool, error) {
	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters = []string{"Ongoing"}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return false, err
	}
	for _, x := range resp.TransactionStates {
		if strings.HasPrefix(x.TransactionalID, prefix) {
			return true, nil
		}
	}
	return false, nil
}
