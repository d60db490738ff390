package sarama

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
)

func TestClient_NoBroker(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		c := w.newClient(func(cfg *Config) { cfg.Brokers = []string{"localhost:1"} })
		defer c.Close()
		a, err := c.Admin()
		require.NoError(t, err)
		defer a.Close()
		_, err = a.Topics(ctx)
		require.ErrorIs(t, err, kafka.ErrUnavailable)
		p, err := c.Producer(kafka.ProduceConfig{})
		require.NoError(t, err)
		send(ctx, t, p, tp(0), "x")
		p.Flush()
		f, err := c.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		f.Add(tp(0), 0, collect(f))
		time.Sleep(time.Second)
		require.Error(t, f.Healthy())
		began := time.Now()
		p.Close()
		f.Close()
		assert.Zero(t, time.Since(began))
	})
}
