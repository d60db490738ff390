package app_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestCommittedOffset_OutOfRangeIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		write(t, b, "in", 0, 10)
		app, err := millstream.New(upper(t), config(t, b))
		require.NoError(t, err)
		require.NoError(t, app.RunToEnd(t.Context()))
		write(t, b, "in", 10, 10)
		deleteBefore(t, b, "in", 15)
		m := start(t, upper(t), config(t, b))
		err = <-m.done
		require.ErrorContains(t, err, "in[0]")
		require.ErrorContains(t, err, "offset 10 is not available, the log has [15, 20)")
	})
}
