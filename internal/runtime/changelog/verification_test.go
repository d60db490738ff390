package changelog_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// old is a changelog whose store was restored when it had some records, and whose checkpoint is two days old.
type old struct {
	t        *testing.T
	b        *broker.Broker
	restorer *changelog.Restorer
	log      *changelog.Log
	fetcher  kafka.Fetcher
	warned   *warnings
	progress []changelog.Progress
}

type warnings struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprint(" ", a)
		return true
	})
	w.lines = append(w.lines, line)
	return nil
}

// withOld runs f with a log that has the rows k0 to k4, each in a batch of its own, and a store that has had these for two days.
func withOld(t *testing.T, f func(t *testing.T, o *old)) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("log", 1, "cleanup.policy=compact", "delete.retention.ms=1000"))
		c, err := sarama.New(sarama.Config{Brokers: b.Brokers(), Dialer: b.Dialer()})
		require.NoError(t, err)
		defer c.Close()
		fetcher, err := c.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted})
		require.NoError(t, err)
		defer fetcher.Close()
		o := &old{t: t, b: b, fetcher: fetcher, warned: &warnings{Handler: slog.DiscardHandler}}
		o.restorer = &changelog.Restorer{Fetcher: fetcher, Logger: slog.New(enabled{o.warned}), Progress: func(p changelog.Progress, _ int) { o.progress = append(o.progress, p) }}
		for i := range 5 {
			o.write(fmt.Sprint("k", i), "v")
		}
		o.log = &changelog.Log{TopicPartition: kafka.TopicPartition{Topic: "log"}, Store: "s", Engine: memtable.New(nil)}
		require.NoError(t, o.restorer.Restore(t.Context(), o.log, changelog.Bounds{End: 5}))
		o.age()
		f(t, o)
		require.NoError(t, o.log.Engine.Close(false))
	})
}

// age makes the store's rows two days older.
func (o *old) age() {
	c, ok := o.log.Engine.Position()
	require.True(o.t, ok)
	c.Time = c.Time.Add(-48 * time.Hour)
	require.NoError(o.t, o.log.Engine.Restore(nil, c))
	o.progress = nil
}

type enabled struct{ *warnings }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }

// write writes a row; an empty value is a tombstone.
func (o *old) write(key, value string) {
	r := broker.Record{Key: []byte(key), Time: time.Now()}
	if value != "" {
		r.Value = []byte(value)
	}
	require.NoError(o.t, o.b.Produce(o.t.Context(), "log", r))
}

// transact writes rows in a transaction.
func (o *old) transact(end kgo.TransactionEndTry, keys ...string) {
	c, err := kgo.NewClient(kgo.SeedBrokers(o.b.Brokers()...), kgo.Dialer(o.b.Dialer()), kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("log"), kgo.DisableClientMetrics())
	require.NoError(o.t, err)
	defer c.Close()
	require.NoError(o.t, c.BeginTransaction())
	for _, key := range keys {
		require.NoError(o.t, c.ProduceSync(o.t.Context(), &kgo.Record{Key: []byte(key), Value: []byte("tx")}).FirstErr())
	}
	require.NoError(o.t, c.EndTransaction(o.t.Context(), end))
}

func (o *old) rows() string {
	var out []string
	for e, err := range o.log.Engine.Scan(storage.Range{}) {
		require.NoError(o.t, err)
		out = append(out, string(e.Key)+"="+string(e.Value))
	}
	return strings.Join(out, " ")
}

func (o *old) restore(end int64) {
	o.t.Helper()
	start, _ := o.bounds()
	c, _ := o.log.Engine.Position()
	require.LessOrEqual(o.t, start, c.Offset, "or the checkpoint would not be trusted for another reason")
	require.NoError(o.t, o.restorer.Restore(o.t.Context(), o.log, changelog.Bounds{Start: start, End: end, DeleteRetention: time.Hour}))
	assert.Equal(o.t, end, o.log.End())
	c, ok := o.log.Engine.Position()
	require.True(o.t, ok)
	assert.Equal(o.t, end, c.Offset)
	assert.WithinDuration(o.t, time.Now(), c.Time, time.Minute, "it can be trusted from now on")
}

// A checkpoint that is older than the log keeps tombstones is trusted when each offset behind it is still there: markers, and records of
// transactions, committed or not.
func TestVerification_NothingWasCompacted(t *testing.T) {
	withOld(t, func(t *testing.T, o *old) {
		o.transact(kgo.TryCommit, "k0")
		o.transact(kgo.TryAbort, "k1")
		o.write("k2", "")
		o.restore(10)
		assert.Equal(t, "k0=tx k1=v k3=v k4=v", o.rows())
		assert.Empty(t, o.warned.lines)
		assert.EqualValues(t, 5, o.progress[0].Begin)
		assert.False(t, o.progress[0].Full)
		assert.EqualValues(t, 2, o.progress[len(o.progress)-1].Records)
	})
	withOld(t, func(t *testing.T, o *old) { // the end of a transaction that has no row of this store
		o.transact(kgo.TryCommit, "k0")
		o.restore(6)
		o.age()
		o.restore(7)
		assert.Empty(t, o.warned.lines)
		assert.EqualValues(t, 6, o.progress[0].Begin)
		assert.Zero(t, o.progress[len(o.progress)-1].Records)
	})
}

// It is not trusted where compaction has removed something: that may have been the tombstone of a row that the store has.
func TestVerification_TombstoneWasCompacted(t *testing.T) {
	withOld(t, func(t *testing.T, o *old) {
		o.write("k3", "") // offset 5
		o.write("k0", "new")
		o.write("k5", "v")
		o.write("k6", "the last batch of a log is not compacted")
		o.b.Cluster().Compact()
		time.Sleep(2 * time.Second)
		o.b.Cluster().Compact()
		o.restore(9)
		assert.Equal(t, "k0=new k1=v k2=v k4=v k5=v k6=the last batch of a log is not compacted", o.rows(), "k3 has been deleted")
		require.Len(t, o.warned.lines, 1)
		assert.Contains(t, o.warned.lines[0], "checkpoint not trusted, restoring in full")
		assert.Contains(t, o.warned.lines[0], "tombstones written since then may have been compacted away, and 1 records before offset 9 were")
		assert.False(t, o.progress[0].Full)
		assert.True(t, o.progress[len(o.progress)-1].Full)
	})
}

// A topic in place of a changelog is read up to the committed offset, which may lie before its end. A standby that has not come so far does
// not become younger.
func TestVerification_StandbyOfATopic(t *testing.T) {
	withOld(t, func(t *testing.T, o *old) {
		o.log.DecodeRow = func(*kafka.Record) (c storage.Change, ok bool, err error) { return c, false, nil }
		_, err := o.restorer.Follow(o.log, changelog.Bounds{End: 7, DeleteRetention: time.Hour})
		require.NoError(t, err)
		began := time.Now()
		apply := func(at, next, committed int64) time.Time {
			time.Sleep(time.Hour)
			_, err := o.log.Apply(&kafka.Batch{Next: next, LastStable: 50}, at, committed)
			require.NoError(t, err)
			c, _ := o.log.Engine.Position()
			return c.Time
		}
		assert.Equal(t, began, apply(5, 8, 40), "all was read that was committed when it began")
		assert.Equal(t, began, apply(8, 9, 40), "there is more behind it")
		asOf := apply(9, 40, 40)
		assert.Equal(t, time.Now(), asOf)
		asOf = apply(40, 45, 42)
		assert.Equal(t, time.Now(), asOf, "the rest of the batch is not committed yet")
	})
}

// damaged is an engine of which a file was found damaged: its owner is to move that aside.
type damaged struct{ storage.Engine }

func (damaged) Truncate() error { return storage.ErrDamaged }

// A store that is not to be trusted, and cannot be emptied, is not restored again and again.
func TestVerification_DamagedMeanwhile(t *testing.T) {
	withOld(t, func(t *testing.T, o *old) {
		o.write("k0", "")
		o.write("k0", "new")
		o.write("k6", "the last batch of a log is not compacted")
		o.b.Cluster().Compact()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		o.restorer.Progress = func(changelog.Progress, int) { time.Sleep(time.Second) }
		o.log.Engine = damaged{o.log.Engine}
		start, _ := o.bounds()
		require.ErrorIs(t, o.restorer.Restore(ctx, o.log, changelog.Bounds{Start: start, End: 8, DeleteRetention: time.Hour}), storage.ErrDamaged)
	})
}

func (o *old) bounds() (start, end int64) {
	c, err := sarama.New(sarama.Config{Brokers: o.b.Brokers(), Dialer: o.b.Dialer()})
	require.NoError(o.t, err)
	defer c.Close()
	admin, err := c.Admin()
	require.NoError(o.t, err)
	defer admin.Close()
	at := func(position int64) int64 {
		found, err := admin.ListOffsets(o.t.Context(), kafka.ReadUncommitted, map[kafka.TopicPartition]int64{o.log.TopicPartition: position})
		require.NoError(o.t, err)
		return found[o.log.TopicPartition]
	}
	return at(kafka.Earliest), at(kafka.Latest)
}

// The rows of a checkpoint do not become younger by a restore that ends in the middle: the tombstones behind it are not read yet. Those of a
// full restore are as of its beginning.
func TestVerification_InterruptedRestore(t *testing.T) {
	withOld(t, func(t *testing.T, o *old) {
		before, _ := o.log.Engine.Position()
		for range 10 { // each is more than a fetch brings
			o.write("k0", strings.Repeat("x", 900<<10))
		}
		for _, full := range []bool{false, true} {
			want := before.Time
			if full {
				require.NoError(t, o.log.Engine.Truncate())
				want = time.Now()
			}
			ctx, cancel := context.WithCancel(t.Context())
			o.restorer.Progress = func(p changelog.Progress, applied int) {
				time.Sleep(time.Second)
				if p.Position > 6 {
					cancel()
				}
			}
			require.ErrorIs(t, o.restorer.Restore(ctx, o.log, changelog.Bounds{End: 15}), context.Canceled)
			c, ok := o.log.Engine.Position()
			require.True(t, ok)
			require.Less(t, c.Offset, int64(15))
			assert.Equal(t, want, c.Time, "full %v", full)
		}
		o.restorer.Progress = func(p changelog.Progress, _ int) { o.progress = append(o.progress, p) }
		o.restore(15)
	})
}

// A standby becomes younger with what it reads at the end of the log, and only there. Where its log lacks a record that it had to have, it
// is empty, and begins anew.
func TestVerification_Standby(t *testing.T) {
	withOld(t, func(t *testing.T, o *old) {
		follow := func(end int64) (apply func(b *kafka.Batch) (storage.Checkpoint, error)) {
			p, err := o.restorer.Follow(o.log, changelog.Bounds{End: end, DeleteRetention: time.Hour})
			require.NoError(t, err)
			at := p.Position
			return func(b *kafka.Batch) (storage.Checkpoint, error) {
				if b.Next == 0 {
					b.Next = at + 1
				}
				_, err := o.log.Apply(b, at, 1<<40)
				at = b.Next
				c, _ := o.log.Engine.Position()
				return c, err
			}
		}
		before, _ := o.log.Engine.Position()
		apply := follow(7)
		c, err := apply(&kafka.Batch{LastStable: 9})
		require.NoError(t, err)
		assert.Equal(t, before.Time, c.Time, "one more is to be verified")
		time.Sleep(time.Minute)
		c, err = apply(&kafka.Batch{LastStable: 9})
		require.NoError(t, err)
		assert.Equal(t, time.Now().Add(-time.Minute), c.Time, "all was read that was there when it began")
		c, err = apply(&kafka.Batch{LastStable: 9, Next: 9, Missing: 1})
		require.NoError(t, err, "what was compacted since is no matter")
		assert.Equal(t, time.Now(), c.Time, "all was read")
		time.Sleep(time.Minute)
		c, err = apply(&kafka.Batch{LastStable: 20})
		require.NoError(t, err)
		assert.Equal(t, time.Now().Add(-time.Minute), c.Time, "it has fallen behind")
		require.NoError(t, o.log.Confirm(time.Now()))
		c, _ = o.log.Engine.Position()
		assert.Equal(t, time.Now(), c.Time)

		o.age()
		apply = follow(20)
		_, err = apply(&kafka.Batch{LastStable: 20, Missing: 1})
		require.ErrorContains(t, err, "and 1 records before offset 11 were")
		assert.Empty(t, o.rows())
		_, ok := o.log.Engine.Position()
		assert.False(t, ok)
		p, err := o.restorer.Follow(o.log, changelog.Bounds{End: 20, DeleteRetention: time.Hour})
		require.NoError(t, err)
		assert.True(t, p.Full)
	})
}
