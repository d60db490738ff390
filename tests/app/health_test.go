package app_test

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// A function that does not come back makes the App unfit to live: its handler says so, and the group is left for others.
func TestHealth_LiveHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1))
		release := make(chan struct{})
		builder := stream.NewBuilder()
		stream.ForEach(stream.From(builder, in), func(r stream.Record[string, string]) {
			if r.Value == "v7" {
				<-release
			}
		})
		cfg := config(t, b)
		cfg.MaxProcessingTime, cfg.StopTimeout = 10*time.Second, 5*time.Second
		m := start(t, build(t, builder), cfg)
		ask := func() (int, string) {
			rec := httptest.NewRecorder()
			m.LiveHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/livez", nil))
			return rec.Code, rec.Body.String()
		}
		write(t, b, "in", 0, 10)
		time.Sleep(5 * time.Second)
		code, body := ask()
		assert.Equal(t, 200, code)
		assert.Equal(t, "ok\n", body)
		time.Sleep(8 * time.Second)
		code, body = ask()
		assert.Equal(t, 503, code)
		assert.Contains(t, body, "Config.MaxProcessingTime")
		require.Error(t, m.Ready())
		err := <-m.done
		require.ErrorContains(t, err, "Config.MaxProcessingTime")
		assert.Equal(t, millstream.Failed, m.State())
		code, _ = ask()
		assert.Equal(t, 503, code)
		assert.EqualValues(t, 0, committed(t, b, "app", "in"), "nothing of a round that has no end")
		close(release)
	})
}
