package millstream_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// What a record carries besides key and value gets through steps, repartition topics and sinks.
func TestHeadersAndTimesGetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
		builder := stream.NewBuilder()
		s := stream.SelectKey(stream.MapValues(stream.From(builder, in), strings.ToUpper), func(_, v string) string { return v })
		stream.To(stream.Repartition(s, "by-value"), out)
		at := time.UnixMilli(1_234_567_890)
		want := []broker.Header{{Name: "trace", Value: []byte("1-2")}, {Name: "null"}, {Name: "empty", Value: []byte{}}, {Name: "trace", Value: []byte("again")}}
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte("v"), Time: at, Headers: want}))
		toEnd(t, build(t, builder), config(t, b))
		r := await(t, b, "out", 1)[0]
		assert.Equal(t, "V", string(r.Key))
		assert.Equal(t, at.UnixMilli(), r.Time.UnixMilli())
		assert.Equal(t, want, r.Headers)
	})
}

// Logs are for operators: nothing of a record stands in them, and no line is written for each.
func TestLogsHoldNoRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		var log safeBuffer
		cfg := config(t, b)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		var rs []broker.Record
		for i := range n {
			rs = append(rs, broker.Record{Partition: broker.ByKey, Key: fmt.Appendf(nil, "secret%d", i), Value: []byte("confidential")})
		}
		require.NoError(t, b.Produce(t.Context(), "in", rs...))
		toEnd(t, simple(t), cfg)
		text := log.String()
		assert.Less(t, strings.Count(text, "\n"), n/10)
		assert.NotContains(t, text, "secret")
		assert.NotContains(t, text, "confidential")
		assert.NotEmpty(t, text)
	})
}

// safeBuffer is a bytes.Buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Two Apps of one process share nothing: neither names nor settings nor state.
func TestTwoAppsInOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		write(t, b, "in", 0, 50)
		var apps []*member
		for _, id := range []string{"app", "app2"} {
			cfg.ApplicationID = id // in the same state directory
			apps = append(apps, start(t, simple(t), cfg))
		}
		await(t, b, "counts", 100)
		for _, a := range apps {
			a.stop()
			assert.EqualValues(t, 50, a.Stats().RecordsIn)
		}
		want := latest(t, b, "app-counts-changelog")
		assert.Len(t, want, 50)
		assert.Equal(t, want, latest(t, b, "app2-counts-changelog"))
	})
}
