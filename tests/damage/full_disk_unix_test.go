//go:build linux || darwin

package damage

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// TestFullDisk limits the size of files of a process, which is what a full disk looks like: the App lives, says what is wrong, lets its input wait once
// its memory is used up, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskChild$", "-test.count=1", "-test.timeout=8m", "-test.v")
	cmd.Env = append(os.Environ(), "DAMAGE_DISK=full")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", tail(out))
	require.Contains(t, string(out), "the disk was full")
}

func limitFiles(t *testing.T, n uint64) {
	var l syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l))
	if l.Cur = n; n == 0 {
		l.Cur = l.Max
	}
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l))
}

// locked is a buffer that several goroutines write.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestFullDiskChild(t *testing.T) {
	if os.Getenv("DAMAGE_DISK") == "" {
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	limitFiles(t, 16<<10)
	b := broker.Start(t, broker.Topic("in", 2), broker.Topic("counts", 2), broker.Topic("plain", 2), broker.Topic("copies", 2))
	s := stream.NewBuilder()
	stream.To(table.ToStream(table.Count(stream.GroupByKey(stream.From(s, text("in"))), "counts")), stream.NewTopic("counts", serde.String, serde.Int64))
	stream.To(stream.From(s, text("plain")), text("copies"))
	top, err := s.Build()
	require.NoError(t, err)
	var log locked
	app, err := millstream.New(top, millstream.Config{
		ApplicationID: "app", Brokers: b.Brokers(), StateDir: t.TempDir(), Workers: 1, MemoryBudget: 2 << 20,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	await := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !f(); time.Sleep(20 * time.Millisecond) {
			require.True(t, time.Now().Before(end), "until %s it took more than %v: %v, %v\n%s",
				what, patience, app.Ready(), app.Stats(), &log)
		}
	}
	await("the App runs", func() bool { return app.State() == millstream.Running })
	// Nothing had to be written yet.
	err = app.Ready()
	require.ErrorContains(t, err, "no space for")
	require.ErrorContains(t, err, ".probe")
	require.ErrorContains(t, err, "bytes, and the disk has")
	require.ErrorContains(t, err, "Free space")

	const n = 30_000
	value := bytes.Repeat([]byte("v"), 100)
	for p := range int32(2) {
		var rs []broker.Record
		for i := range n {
			rs = append(rs, broker.Record{Partition: p, Key: fmt.Appendf(nil, "a key of some length, so that there is something to keep %d %d", p, i), Value: value})
		}
		require.NoError(t, b.Produce(t.Context(), "in", rs...))
	}
	await("a flush fails", func() bool { return strings.Contains(log.String(), "cannot be written to disk") })
	assert.Contains(t, log.String(), "app/counts/")
	processed := int64(-1)
	await("input waits", func() bool {
		before := processed
		processed = app.Stats().RecordsIn
		time.Sleep(500 * time.Millisecond)
		return processed == before
	})
	assert.Less(t, processed, int64(2*n), "the budget holds so many rows")
	require.NoError(t, app.Live())
	// Tasks without stores go on.
	require.NoError(t, b.Produce(t.Context(), "plain", broker.Record{Key: []byte("k"), Value: value}))
	await("a task without a store is done", func() bool {
		rs, err := b.Read(t.Context(), "copies")
		require.NoError(t, err)
		return len(rs) == 1
	})
	fmt.Println("the disk was full after", processed, "records:", app.Ready())

	limitFiles(t, 0)
	await("everything is processed", func() bool { return app.Stats().RecordsIn == 2*n+1 })
	await("the App is ready", func() bool { return app.Ready() == nil })
	stop()
	require.NoError(t, <-done)
	assert.LessOrEqual(t, strings.Count(log.String(), "cannot be written to disk"), 2, "once for each file:\n%s", &log)
	require.NotContains(t, log.String(), "level=ERROR")
}
