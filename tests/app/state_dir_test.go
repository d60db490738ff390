package app_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestStateDir_OfOtherProcessIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := config(t, b)
		m := start(t, simple(t), cfg)
		write(t, b, "in", 0, 3)
		await(t, b, "counts", 3)
		other := start(t, simple(t), cfg)
		require.ErrorIs(t, <-other.done, statedir.ErrInUse)
		m.stop()
	})
}
