package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
)

func TestRetryUnavailable_WaitsForBrokersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := fmt.Errorf("dial: %w", kafka.ErrUnavailable)
		calls := 0
		before := time.Now()
		require.NoError(t, kafka.RetryUnavailable(t.Context(), func() error {
			if calls++; calls < 10 {
				return away
			}
			return nil
		}))
		assert.Equal(t, 10, calls)
		assert.Less(t, time.Since(before), 10*time.Second, "the wait between two tries ends at a second")

		other := errors.New("another")
		require.ErrorIs(t, kafka.RetryUnavailable(t.Context(), func() error { return other }), other)

		over := errors.New("over")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(over)
		require.ErrorIs(t, kafka.RetryUnavailable(ctx, func() error { return away }), over)
	})
}
