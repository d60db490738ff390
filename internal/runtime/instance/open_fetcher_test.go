package instance

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
)

// slowFetcher is a fetcher whose goroutines take a while to end.
type slowFetcher struct{ kafka.Fetcher }

func (slowFetcher) Close() { time.Sleep(time.Minute) }

// Whoever asks for a fetcher while it closes is refused at once. One that waited for a lock would stop the clock here.
func TestOpenFetcher_GetWhileItCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o openFetcher
		opened := 0
		open := func() (kafka.Fetcher, error) { opened++; return slowFetcher{}, nil }
		for range 2 {
			_, err := o.get(open)
			require.NoError(t, err)
		}
		assert.Equal(t, 1, opened)
		began := time.Now()
		closed := make(chan time.Duration)
		go func() {
			o.close()
			closed <- time.Since(began)
		}()
		synctest.Wait()
		_, err := o.get(open)
		require.ErrorIs(t, err, errStopped)
		assert.Zero(t, time.Since(began))
		assert.Equal(t, time.Minute, <-closed)
	})
}
