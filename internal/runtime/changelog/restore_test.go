package changelog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// restoring runs f with a topic of one partition that has the records k0 to k9, in one batch, and
// what restores stores from it.
func restoring(t *testing.T, f func(t *testing.T, b *broker.Broker, r *changelog.Restorer)) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("log", 1))
		var rs []broker.Record
		for i := range 10 {
			rs = append(rs, broker.Record{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i), Time: time.UnixMilli(int64(i))})
		}
		require.NoError(t, b.Produce(t.Context(), "log", rs...))
		c, err := sarama.New(sarama.Config{Brokers: b.Brokers(), Dialer: b.Dialer()})
		require.NoError(t, err)
		defer c.Close()
		fetcher, err := c.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted})
		require.NoError(t, err)
		defer fetcher.Close()
		f(t, b, &changelog.Restorer{Fetcher: fetcher, Logger: slog.New(slog.DiscardHandler)})
	})
}

// A restore ends before the offset that it is to go to, though the batch goes on: what stands there
// was written by nobody whose offsets are committed, or is an input that has not been processed.
func TestRestore_EndsBeforeItsBound(t *testing.T) {
	row := func(r *kafka.Record) (storage.Change, bool, error) {
		return storage.Change{Key: r.Key, Value: r.Value, Time: r.Time}, true, nil
	}
	for name, l := range map[string]*changelog.Log{"a changelog": {}, "a topic that a store is kept from": {DecodeRow: row}} {
		t.Run(name, func(t *testing.T) {
			restoring(t, func(t *testing.T, _ *broker.Broker, r *changelog.Restorer) {
				l.TopicPartition, l.Store, l.Engine = kafka.TopicPartition{Topic: "log"}, "s", memtable.New(nil)
				for _, end := range []int64{0, 1, 4, 9, 10} {
					require.NoError(t, r.Restore(t.Context(), l, changelog.Bounds{End: end}))
					assert.Equal(t, end, l.End())
					n, err := l.Engine.Len()
					require.NoError(t, err)
					assert.Equal(t, end, n, "rows up to offset %d", end)
				}
				require.NoError(t, l.Engine.Close(false))
			})
		})
	}
}

// A restore that is not wanted any more ends at the next batch, however many are there already.
func TestRestore_EndsWithItsContext(t *testing.T) {
	restoring(t, func(t *testing.T, b *broker.Broker, r *changelog.Restorer) {
		for i := range 9 { // each is more than a fetch brings
			require.NoError(t, b.Produce(t.Context(), "log", broker.Record{Key: fmt.Appendf(nil, "more%d", i), Value: make([]byte, 900<<10)}))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		revoked := errors.New("revoked")
		batches := 0
		r.Progress = func(_ changelog.Progress, applied int) {
			if applied > 0 {
				batches++
				time.Sleep(time.Second) // the next batches arrive
				cancel(revoked)
			}
		}
		var ended []string
		r.Ended = func(store string, partition int32) { ended = append(ended, fmt.Sprintf("%s %d", store, partition)) }
		l := &changelog.Log{TopicPartition: kafka.TopicPartition{Topic: "log"}, Store: "s", Engine: memtable.New(nil)}
		require.ErrorIs(t, r.Restore(ctx, l, changelog.Bounds{End: 19}), revoked)
		assert.Equal(t, 1, batches)
		assert.Equal(t, []string{"s 0"}, ended, "who shows restores has to learn of it")
		require.NoError(t, l.Engine.Close(false))
	})
}

// A store learns of each record's own offset in a batch: what has expired at its start can be
// deleted though the rest of it is live.
func TestRestore_KnowsWhatHasExpired(t *testing.T) {
	restoring(t, func(t *testing.T, b *broker.Broker, r *changelog.Restorer) {
		spec := graph.Store{Name: "s", Kind: graph.Window, Retention: 100 * time.Millisecond}
		require.NoError(t, b.CreateTopic("windows", 1))
		var rs []broker.Record
		for i := range 100 {
			rs = append(rs, broker.Record{Key: fmt.Appendf(nil, "k%s", append(bytes.Repeat([]byte{0}, 6), byte(i*10>>8), byte(i*10), 0, 0, 0, 0)), Value: []byte("v")})
		}
		require.NoError(t, b.Produce(t.Context(), "windows", rs...))
		e, err := segmented.Wrap(&spec, memtable.New(nil))
		require.NoError(t, err)
		l := &changelog.Log{TopicPartition: kafka.TopicPartition{Topic: "windows"}, Store: "s", Engine: e}
		require.NoError(t, r.Restore(t.Context(), l, changelog.Bounds{End: 100}))
		// The end of the log may be of an epoch that never settled, until a task says what was committed and commits.
		segmented.Unwrap(e).Committed(990)
		epoch, err := e.Cut(func(storage.Change) error { return nil })
		require.NoError(t, err)
		e.Settle(epoch, storage.Checkpoint{Offset: 100})
		at, ok := l.Expired()
		require.True(t, ok)
		assert.LessOrEqual(t, at, int64(90), "the newest is of 990")
		assert.Greater(t, at, int64(88))
		require.NoError(t, e.Close(false))
	})
}
