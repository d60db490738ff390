package standby_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
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
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/standby"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A standby ends while its stores are being opened, by a disk that does not answer, and is wanted again before they are. It begins when
// they are free; and not when it has ended once more.
func TestSet_WantedAgainDuringTheOpening(t *testing.T) {
	for name, endsAgain := range map[string]bool{"wanted": false, "ended": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened, open atomic.Int64
				disk := make(chan struct{})
				s := standby.New(standby.Config{
					Open: func(ctx context.Context, _ topics.Task, _ *atomic.Bool) (worker.StandbyStores, error) {
						opened.Add(1)
						<-disk
						if ctx.Err() != nil {
							return worker.StandbyStores{}, context.Cause(ctx)
						}
						open.Add(1)
						return worker.StandbyStores{}, nil
					},
					Release:    func(worker.StandbyStores, bool, bool) { open.Add(-1) },
					Fetcher:    func() (kafka.Fetcher, error) { return nil, errors.New("there are no logs") },
					Background: func(f func()) { go f() },
					CaughtUp:   func(graph.TaskID, bool) {},
					Logger:     slog.New(slog.DiscardHandler),
				})
				go s.Run(t.Context())
				wanted := group.Standby{Task: topics.Task{ID: graph.TaskID{Partition: 1}}}
				s.Start(wanted)
				synctest.Wait()
				released := s.Stop(wanted.Task.ID, standby.Migrated)
				s.Start(wanted)
				if endsAgain {
					s.Stop(wanted.Task.ID, standby.Migrated)
				}
				synctest.Wait()
				assert.EqualValues(t, 1, opened.Load(), "the stores are in use")
				close(disk)
				<-released
				synctest.Wait()
				want := int64(2)
				if endsAgain {
					want = 1
				}
				assert.Equal(t, want, opened.Load())
				s.Close()
				<-s.Done()
				assert.Zero(t, open.Load())
			})
		})
	}
}

// following runs f with a Set whose standbys follow the partitions of a topic with 5 records each; events are what it reports.
func following(t *testing.T, f func(t *testing.T, s *standby.Set, events func() []string, caughtUp *atomic.Int64)) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("log", 3))
		for p := range int32(3) {
			for i := range 5 {
				require.NoError(t, b.Produce(t.Context(), "log", broker.Record{Partition: p, Key: fmt.Append(nil, i), Value: []byte("v")}))
			}
		}
		c, err := sarama.New(sarama.Config{Brokers: b.Brokers(), Dialer: b.Dialer()})
		require.NoError(t, err)
		defer c.Close()
		fetcher, err := c.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted})
		require.NoError(t, err)
		defer fetcher.Close()
		events := make(chan string, 100)
		var caughtUp atomic.Int64
		s := standby.New(standby.Config{
			Open: func(_ context.Context, task topics.Task, _ *atomic.Bool) (worker.StandbyStores, error) {
				tp := kafka.TopicPartition{Topic: "log", Partition: task.ID.Partition}
				log := &changelog.Log{TopicPartition: tp, Store: "s", Engine: memtable.New(nil)}
				return worker.StandbyStores{Handover: worker.Handover{ID: task.ID, Logs: []*changelog.Log{log}}, Bounds: map[kafka.TopicPartition]changelog.Bounds{tp: {End: 5}}}, nil
			},
			Release: func(stores worker.StandbyStores, _, _ bool) {
				assert.NoError(t, stores.Logs[0].Engine.Close(false))
			},
			Fetcher:    func() (kafka.Fetcher, error) { return fetcher, nil },
			Ends:       func(context.Context, []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) { return nil, nil },
			Committed:  func(context.Context, []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) { return nil, nil },
			Background: func(f func()) { go f() },
			CaughtUp:   func(graph.TaskID, bool) { caughtUp.Add(1) },
			Logger:     slog.New(slog.DiscardHandler),
			Update: func(u standby.Update) {
				kind := "loaded"
				switch {
				case u.Started:
					kind = "started"
				case u.Ended && u.Reason == standby.Promoted:
					kind = "promoted"
				case u.Ended:
					kind = "migrated"
				}
				events <- fmt.Sprint(u.Partition, " ", kind, " ", u.Position)
			},
		})
		go s.Run(t.Context())
		f(t, s, func() (out []string) {
			synctest.Wait()
			for len(events) > 0 {
				out = append(out, <-events)
			}
			return out
		}, &caughtUp)
		s.Close()
		<-s.Done()
	})
}

func task(p int32) topics.Task { return topics.Task{ID: graph.TaskID{Partition: p}} }

// Who sees a standby begin sees it end, once, also where it fails and ends before it has begun again.
func TestSet_EndIsReportedOnce(t *testing.T) {
	for name, pause := range map[string]time.Duration{"while it waits": time.Millisecond, "when it follows again": time.Minute} {
		t.Run(name, func(t *testing.T) {
			following(t, func(t *testing.T, s *standby.Set, events func() []string, _ *atomic.Int64) {
				s.Start(group.Standby{Task: task(0)})
				time.Sleep(time.Second)
				assert.Equal(t, []string{"0 started 0", "0 loaded 5"}, events())
				for range 2 {
					s.FetchFailed(kafka.TopicPartition{Topic: "log"}, errors.New("the topic may not be read"))
				}
				assert.Empty(t, events(), "it begins again after a pause")
				time.Sleep(pause)
				want := []string{"0 promoted 5"}
				if pause > time.Second {
					want = []string{"0 started 0", "0 loaded 5", "0 promoted 5"}
				}
				<-s.Stop(task(0).ID, standby.Promoted)
				assert.Equal(t, want, events())
				<-s.Stop(task(0).ID, standby.Promoted)
				assert.Empty(t, events())
			})
		})
	}
}

// Standbys that replace others ask for one rebalance when all of them have caught up, not for one each; a warm-up does not wait for them.
func TestSet_ReplacingStandbysAskOnce(t *testing.T) {
	following(t, func(t *testing.T, s *standby.Set, events func() []string, caughtUp *atomic.Int64) {
		s.Start(group.Standby{Task: task(0), Replaces: true, AcceptableLag: -1})
		s.Start(group.Standby{Task: task(1), Replaces: true, AcceptableLag: 2})
		time.Sleep(10 * time.Second)
		assert.Len(t, events(), 4)
		assert.Zero(t, caughtUp.Load(), "one has not caught up as far as it has to")
		s.Start(group.Standby{Task: task(2), WarmUp: true, AcceptableLag: 2})
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 1, caughtUp.Load(), "the warm-up")
		s.Start(group.Standby{Task: task(0), Replaces: true, AcceptableLag: 2})
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 2, caughtUp.Load())
	})
}
