package app_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// Without a Logger the default one gets what a healthy App does: its states, what it runs, and a summary each minute.
func TestProgressLog_OfHealthyApp(t *testing.T) {
	var log safeBuffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
		cfg := config(t, b)
		cfg.Logger = nil
		m := start(t, upper(t), cfg)
		time.Sleep(time.Second)
		assert.Equal(t, []string{
			`level=INFO msg="millstream: running: 2 tasks, topics in" application=app tasks="0_0 0_1"`,
		}, log.lines("running"))
		write(t, b, "in", 0, 600)
		time.Sleep(65 * time.Second)
		assert.Equal(t, []string{
			`level=INFO msg="millstream: the last minute" application=app tasks=2 records_in=600 per_second=10 records_out=600 commits=` +
				regexp.MustCompile(`commits=(\d+)`).FindStringSubmatch(log.String())[1],
		}, log.lines("last minute"))
		m.stop()
		for _, state := range []string{"starting", "stopping", "stopped"} {
			assert.Len(t, log.lines(`msg="millstream: `+state+`"`), 1, log.String())
		}
		for line := range strings.Lines(log.String()) {
			assert.Contains(t, line, `msg="millstream: `)
			assert.Contains(t, line, " application=app")
			assert.Contains(t, line, "level=INFO", "nothing is the matter")
		}
	})
}

// A restore that takes long says every five seconds how far it is, how fast, and how long it will take.
func TestProgressLog_OfLongRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("rows", 1, compacted), broker.Topic("out", 1))
		slow := false
		value := serde.Func(serde.String.Append, func(b []byte) (string, error) {
			if slow {
				time.Sleep(10 * time.Millisecond)
			}
			return string(b), nil
		})
		builder := stream.NewBuilder()
		tab := table.From(builder, stream.NewTopic("rows", serde.String, value), "rows", store.SourceIsChangelog())
		stream.To(stream.MapValues(table.ToStream(tab), func(string) string { return "" }), out)
		top := build(t, builder)
		cfg := config(t, b)
		m := start(t, top, cfg)
		var rs []broker.Record
		random := rand.NewChaCha8([32]byte{}) // does not compress: several fetches are needed
		for i := range 3000 {
			v := make([]byte, 2000)
			_, _ = random.Read(v)
			rs = append(rs, broker.Record{Key: fmt.Appendf(nil, "k%d", i), Value: v})
		}
		require.NoError(t, b.Produce(t.Context(), "rows", rs...))
		m.stopAfter(10 * time.Second)

		slow = true
		var log safeBuffer
		cfg = config(t, b) // another disk
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		m = start(t, top, cfg)
		time.Sleep(time.Minute)
		restoring := log.lines("restoring stores")
		require.Greater(t, len(restoring), 3, log.String())
		assert.Less(t, len(restoring), 8)
		assert.Regexp(t, `msg="millstream: restoring stores" application=app stores=rows partitions=1 left=\d+ records_per_second=\d\d\d? time_left=\d+s`, restoring[2])
		assert.Len(t, log.lines("running: 1 task, topics rows"), 1)
		m.stop()
	})
}

// Logs are for operators: nothing of a record stands in them, and no line is written for each.
func TestProgressLog_HasNoRecords(t *testing.T) {
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
		runToEnd(t, simple(t), cfg)
		text := log.String()
		assert.Less(t, strings.Count(text, "\n"), n/10)
		assert.NotContains(t, text, "secret")
		assert.NotContains(t, text, "confidential")
		assert.NotEmpty(t, text)
	})
}
