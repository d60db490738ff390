package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
)

// DecodeRow turns a record of a topic from which a store is restored into the store's change. ok is
// false for a record that is no row.
type DecodeRow = func(*kafka.Record) (c storage.Change, ok bool, err error)

// NewRowDecoder returns the function that decodes the records from which graphStore, a store of g,
// is restored. It applies the policies that applied when the records were processed: a record that
// was decoded at the second attempt then must be decoded at the second attempt here, or its row
// would be missing. A record that its policy skips, or sends to a dead-letter topic, is no row; it
// was counted when it was processed. sleep pauses before a retry; nil: it waits.
func NewRowDecoder(ctx context.Context, g *graph.Graph, graphStore *graph.Store, app Policies,
	sleep func(context.Context, time.Duration) error,
) (DecodeRow, error) {
	decodeRow, err := graphStore.RowDecoder()
	if err != nil {
		return nil, err
	}
	decoder := &rowDecoder{ctx: ctx, topic: graphStore.SourceTopic, decodeRow: decodeRow, sleep: sleep}
	if decoder.sleep == nil {
		decoder.sleep = kafka.Sleep
	}
	decoder.decodePolicies[1], decoder.writePolicies[1] = app.Decode, app.Produce
	for _, node := range g.Subtopologies[graphStore.Subtopology].Nodes {
		switch {
		case node.Source != nil && slices.Contains(node.Source.Topics, graphStore.SourceTopic):
			decoder.decodePolicies[0] = node.Source.Policy
		case node.Name == graphStore.Writer:
			decoder.writePolicies[0] = node.Policy
			// The step of a read-only store writes the row itself, and a row that the store refuses is a
			// failure of processing. A table's row is refused as a record to be produced.
			if node.Op == "read-only-store" {
				decoder.writePolicies[1] = app.Process
			}
		}
	}
	return decoder.decode, nil
}

type rowDecoder struct {
	ctx            context.Context
	topic          string
	decodeRow      DecodeRow
	decodePolicies [2]failure.Policy // for a record that does not decode: its source's policy and the App's
	writePolicies  [2]failure.Policy // for a row that the store refuses: its step's policy and the App's
	sleep          func(context.Context, time.Duration) error
}

// decode decodes one record, as Task.HandleFailure would when the record is processed.
func (d *rowDecoder) decode(record *kafka.Record) (change storage.Change, ok bool, err error) {
	if change, ok, err = d.decodeRow(record); err == nil {
		return change, ok, nil
	}
	var paused time.Duration
	report := failure.Report{
		Topic: d.topic, Partition: -1, Offset: record.Offset, Key: record.Key, Value: record.Value, Err: err,
	}
	for report.Attempt = 1; ; report.Attempt++ {
		policies := d.decodePolicies
		if _, refused := errors.AsType[*retry.RowError](report.Err); refused {
			policies = d.writePolicies
		}
		action := policies[0].Action(d.ctx, report, policies[1])
		// The budget is used up: what follows the retry decides, as in Task.applyAction.
		for chained := 0; action.Verb == failure.ActRetry && action.Pause > defaultRetryBudget-paused; chained++ {
			if chained == maxChainedRetries {
				return change, false, fmt.Errorf("retried for %v: %w", paused, report.Err)
			}
			first := report
			first.Attempt = 1
			action = action.Then.Action(d.ctx, first, policies[1])
		}
		switch action.Verb {
		case failure.ActSkip, failure.ActDeadLetter:
			return storage.Change{}, false, nil
		case failure.ActStop:
			return storage.Change{}, false, action.Err
		}
		paused += action.Pause
		if err := d.sleep(d.ctx, action.Pause); err != nil {
			return change, false, fmt.Errorf("waiting to retry: %w", errors.Join(err, report.Err))
		}
		if change, ok, report.Err = d.decodeRow(record); report.Err == nil {
			return change, ok, nil
		}
	}
}
