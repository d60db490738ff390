package app_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// What a user's function says of a record of 40 KB is cut: in the error of Run, in the log, and in the header of a dead letter, which would
// else be too large for its topic.
func TestQuotedErrors_AreShortened(t *testing.T) {
	wrong := func(r rec) error { return fmt.Errorf("bad record %v", r) }
	for name, program := range map[string]func(s stream.KStream[string, string]) stream.KStream[string, string]{
		"try": func(s stream.KStream[string, string]) stream.KStream[string, string] {
			return stream.TryMapValues(s, func(_ context.Context, r rec) (string, error) { return "", wrong(r) })
		},
		"async": func(s stream.KStream[string, string]) stream.KStream[string, string] {
			return stream.TryMapValues(s, func(_ context.Context, r rec) (string, error) { return "", wrong(r) }, stream.Async(4))
		},
		"process": func(s stream.KStream[string, string]) stream.KStream[string, string] {
			return stream.Process(s, "p", func(*stream.Context[string, string]) (func(rec) error, error) { return wrong, nil })
		},
		"panic": func(s stream.KStream[string, string]) stream.KStream[string, string] {
			return stream.Map(s, func(k, v string) (string, string) { panic(wrong(rec{Key: k, Value: v})) })
		},
		"topic": func(s stream.KStream[string, string]) stream.KStream[string, string] {
			stream.ToFunc(s, out, func(r rec) string { return r.Key })
			return s
		},
	} {
		for how, policy := range map[string]failure.Policy{
			"stop": failure.Stop(), "dead letter": failure.DeadLetter("dead"), "retry": failure.Retry(2, time.Millisecond, time.Millisecond, failure.Stop()),
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("dead", 1))
					big := bytes.Repeat([]byte("secret"), 7000)
					require.NoError(t, k.Produce(t.Context(), "in", broker.Record{Key: big, Value: big}))
					b := stream.NewBuilder()
					stream.To(program(stream.From(b, in)), out)
					var log safeBuffer
					cfg := config(t, k)
					cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
					cfg.OnProcessError, cfg.OnProduceError = policy, policy
					app, err := millstream.New(build(t, b), cfg)
					require.NoError(t, err)
					err = app.RunToEnd(t.Context())
					assert.NotContains(t, log.String(), "secretsecret")
					if how == "dead letter" && name != "panic" {
						require.NoError(t, err)
						for _, h := range await(t, k, "dead", 1)[0].Headers {
							assert.Less(t, len(h.Value), 2048, h.Name)
						}
						return
					}
					require.ErrorContains(t, err, "in[0] offset 0")
					text, _, _ := strings.Cut(err.Error(), "\n\ngoroutine") // of a panic
					assert.Less(t, len(text), 2048)
					assert.Contains(t, text, "secret")
				})
			})
		}
	}
}
