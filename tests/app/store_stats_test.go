package app_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// An operator sees how large stores are on disk, and that merges fall behind and catch up: in Stats, and once in the log.
func TestStoreStats_MergesFallBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		var log safeBuffer
		cfg := config(t, b)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		// Each commit is flushed, as a run of its own; merges stand still until they may go on.
		disk := statedir.With(t.Context(), statedir.Options{NoSync: true, PageSize: 1024, Factor: 2, MaxRuns: 2, ReplayBytes: 1})
		goOn := make(chan struct{})
		release := sync.OnceFunc(func() { close(goOn) })
		defer release()
		disk = crashpoint.With(disk, func(p crashpoint.Point) {
			if p == crashpoint.MergeBegin {
				<-goOn
			}
		})
		app, err := millstream.New(simple(t), cfg)
		require.NoError(t, err)
		assert.Empty(t, app.Stats().Stores, "it does not run")
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(disk)
		defer cancel()
		go func() { done <- app.Run(ctx) }()
		for range 6 {
			everyKey(t, b, "in")
			time.Sleep(5 * time.Second)
		}
		stats := app.Stats().Stores["counts"]
		assert.Equal(t, 2, stats.Partitions)
		assert.Equal(t, 2, stats.MergesWaiting)
		assert.Positive(t, stats.WaitingBytes)
		assert.GreaterOrEqual(t, stats.Files, 4)
		assert.GreaterOrEqual(t, stats.WrittenBytes, stats.Bytes)
		assert.Equal(t, 2, strings.Count(log.String(), "merges fall behind"), log.String())
		assert.Contains(t, log.String(), `level=INFO msg="millstream: store: merges fall behind`)
		assert.Contains(t, log.String(), "store=counts partition=1")
		assert.NotContains(t, log.String(), "caught up")

		release()
		time.Sleep(5 * time.Second)
		assert.Contains(t, log.String(), "merges have caught up")
		assert.Greater(t, app.Stats().Stores["counts"].WrittenBytes, stats.WrittenBytes)
		cancel()
		require.NoError(t, <-done)
		assert.Empty(t, app.Stats().Stores, "it does not run any more")
	})
}
