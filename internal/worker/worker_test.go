package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMailboxKeepsTheOrderOfEachWriter(t *testing.T) {
	m := worker.NewMailbox[[2]int]()
	const writers, each = 4, 1000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				m.Put([2]int{w, i})
			}
		})
	}
	var next [writers]int
	var taken [][2]int
	for n := 0; n < writers*each; {
		<-m.Wake()
		taken = m.Take(taken)
		for _, x := range taken {
			require.Equal(t, next[x[0]], x[1])
			next[x[0]]++
		}
		n += len(taken)
	}
	wg.Wait()
}

func TestMailboxTakesNothingTwice(t *testing.T) {
	m := worker.NewMailbox[int]()
	m.Put(1)
	m.Put(2)
	first := m.Take(nil)
	assert.Equal(t, []int{1, 2}, first)
	assert.Empty(t, m.Take(nil))
	m.Put(3)
	assert.Equal(t, []int{3}, m.Take(first))
}

func TestPersistWaitsForBrokersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := fmt.Errorf("dial: %w", kafka.ErrUnavailable)
		calls := 0
		before := time.Now()
		require.NoError(t, worker.Persist(t.Context(), func() error {
			if calls++; calls < 10 {
				return away
			}
			return nil
		}))
		assert.Equal(t, 10, calls)
		assert.Less(t, time.Since(before), 10*time.Second, "the wait between two tries ends at a second")

		other := errors.New("another")
		require.ErrorIs(t, worker.Persist(t.Context(), func() error { return other }), other)

		over := errors.New("over")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(over)
		require.ErrorIs(t, worker.Persist(ctx, func() error { return away }), over)
	})
}
