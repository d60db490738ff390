package standby_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/standby"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
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
