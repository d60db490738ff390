package app_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestFailurePolicy_DeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("dead", 1))
		builder := stream.NewBuilder()
		s := stream.TryMapValues(stream.From(builder, in), func(_ ctx, r stream.Record[string, string]) (string, error) {
			if strings.HasPrefix(r.Value, "bad") {
				return "", errors.New("it is bad")
			}
			return r.Value, nil
		})
		stream.To(s, out)
		cfg := config(t, b)
		cfg.OnProcessError = failure.DeadLetter("dead")
		var mu sync.Mutex
		var failures []string
		var dropped int64
		cfg.Events.Failure = func(r failure.Report) {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, string(r.Value))
		}
		cfg.Events.Dropped = func(d millstream.DropInfo) {
			mu.Lock()
			defer mu.Unlock()
			dropped += d.N
		}
		m := start(t, build(t, builder), cfg)
		for _, v := range []string{"a", "bad one", "b", "bad two"} {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte(v)}))
		}
		letters := await(t, b, "dead", 2)
		assert.Equal(t, "bad one", string(letters[0].Value))
		assert.Contains(t, headers(letters[0]), "__streams.errors.message=it is bad")
		assert.Contains(t, headers(letters[1]), "__streams.errors.offset=3")
		m.stop()
		assert.Len(t, committedRecords(t, b, "out"), 2)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, []string{"bad one", "bad two"}, failures)
		assert.EqualValues(t, 2, dropped)
		assert.EqualValues(t, 2, m.Stats().Dropped["function failed"])
		assert.EqualValues(t, 4, committed(t, b, "app", "in"))
	})
}
