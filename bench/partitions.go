package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// Many partitions: the count, over topics of more and more of them. It says what a task costs.

const manyStore = "counts"

// The phases of an App over many partitions, in order. The last is that of the first member: it begins when the second one
// starts.
const (
	phaseStart    = "start"
	phaseRead     = "read"
	phaseBalanced = "balanced"
)

// second is the round of the member that comes later.
const second = "second"

const commitInterval = 100 * time.Millisecond // the default of Config

func manyTopic(n int32) string { return "many-" + strconv.Itoa(int(n)) }

func (b *bench) manyPartitions(ctx context.Context, rows int64) error {
	t := b.report.sheet("Partitions of an App", "partitions", "start, s", "CPU µs/record", "RssAnon MB", "RssAnon KB/task",
		"idle, % of a core", "two members balanced after, s")
	for _, n := range b.partitionCounts {
		row, err := b.partitionsOf(ctx, n, rows)
		if err != nil {
			return fmt.Errorf("%d partitions: %w", n, err)
		}
		t.add(row...)
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// partitionsOf returns the row of the table of n partitions.
func (b *bench) partitionsOf(ctx context.Context, n int32, rows int64) ([]string, error) {
	s := spec{Workload: "partitions", Kind: kindMany, Broker: b.broker, Rows: rows, Records: b.records, Warm: b.records / 4, Partitions: n,
		Profile: b.profile}
	if err := b.createWith(ctx, n, manyTopic(n)); err != nil {
		return nil, err
	}
	if err := b.createOut(ctx, countsTopic); err != nil {
		return nil, err
	}
	s.StateDir = b.state(s) + "-first"
	first, err := startChild(ctx, s)
	if err != nil {
		return nil, err
	}
	defer first.kill()
	start, err := first.next()
	if err != nil {
		return nil, err
	}
	// Only now: otherwise an App of many tasks has read most before the last of them runs.
	if err := b.load(ctx, manyTopic(n), s.Records, func(i int64) int64 { return keyOf(i, rows) }); err != nil {
		return nil, err
	}
	read, err := first.next()
	if err != nil {
		return nil, err
	}
	if err := b.verifyMany(ctx, s); err != nil {
		return nil, err
	}
	if err := sleep(ctx, b.settle); err != nil {
		return nil, err
	}
	idle, err := cores(ctx, first.cmd.Process.Pid, b.idle)
	if err != nil {
		return nil, err
	}
	anon := resident(first.cmd.Process.Pid).Anon
	balanced := ""
	if n > 1 {
		s.StateDir, s.Profile, s.Round = b.state(s)+"-second", "", second
		began := time.Now()
		other, err := startChild(ctx, s)
		if err != nil {
			return nil, err
		}
		defer other.kill()
		// The first member has given half of the tasks away, and the second one runs them.
		for _, p := range []*process{first, other} {
			if _, err := p.next(); err != nil {
				return nil, err
			}
		}
		balanced = fmt.Sprintf("%.1f", time.Since(began).Seconds())
		if err := other.end(); err != nil {
			return nil, err
		}
	}
	return []string{fmt.Sprint(n), fmt.Sprintf("%.1f", start.Seconds), fmt.Sprintf("%.2f", read.CPU), fmt.Sprintf("%.0f", anon),
		fmt.Sprintf("%.0f", anon*1024/float64(n)), fmt.Sprintf("%.1f", 100*idle), balanced}, first.end()
}

// verifyMany checks that the last count of each key is as many as its records.
func (b *bench) verifyMany(ctx context.Context, s spec) error {
	want, got := make([]int64, s.Rows), make([]int64, s.Rows)
	for i := range s.Records {
		want[keyOf(i, s.Rows)]++
	}
	topic := s.out(countsTopic)
	updates := int64(0)
	err := b.read(ctx, topic, func(r *kgo.Record) error {
		k, n := number(r.Key), number(r.Value)
		if n != got[k]+1 {
			return fmt.Errorf("count %d of key %d after %d", n, k, got[k])
		}
		got[k] = n
		updates++
		return nil
	})
	for k := range want {
		if err == nil && want[k] != got[k] {
			err = fmt.Errorf("the last count of key %d is %d, not %d", k, got[k], want[k])
		}
	}
	return expect(err, topic, updates, s.Records)
}

// runMany runs an App over many partitions until its input ends, and reports its phases: that its tasks run, that it has read
// the topic, and that another member has taken half of the tasks.
func (s spec) runMany(report func(result) error) error {
	b := stream.NewBuilder()
	in := stream.From(b, stream.NewTopic(manyTopic(s.Partitions), serde.Int64, serde.Bytes))
	counts := table.Count(stream.GroupByKey(in), manyStore)
	stream.To(table.ToStream(counts), stream.NewTopic(s.out(countsTopic), serde.Int64, serde.Int64))
	top, err := b.Build()
	if err != nil {
		return err
	}
	var w window
	app, err := millstream.New(top, millstream.Config{
		ApplicationID: s.appID(), Brokers: []string{s.Broker}, StateDir: s.StateDir,
		Events: millstream.Events{Commit: func(millstream.CommitInfo) { w.extend() }},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	w.start(0)
	go func() { done <- app.Run(ctx) }()
	// The end of the input ends the App.
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	next := s.phases(app, &w)
	// Polled seldom: many tasks make it costly, and the App is idle most of the time.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if r, ok := next(); ok {
				if err := report(r); err != nil {
					return err
				}
			}
			// Nothing is left but to wait for the other member.
			if app.Stats().RecordsIn >= s.Records {
				tick.Reset(100 * time.Millisecond)
			}
		}
	}
}

// phases returns a function that reports whether the App has just ended a phase.
func (s spec) phases(app *millstream.App, w *window) func() (result, bool) {
	began, phase, warm := time.Now(), phaseStart, false
	if s.Round == second {
		phase = phaseBalanced
	}
	return func() (result, bool) {
		n := app.Stats().RecordsIn
		switch phase {
		case phaseStart:
			if runningTasks(app) < int(s.Partitions) {
				return result{}, false
			}
			phase = phaseRead
			return result{Phase: phaseStart, Seconds: time.Since(began).Seconds()}, true
		case phaseRead:
			if !warm && n >= s.Warm {
				warm = true
				w.start(n)
			}
			// No worker has anything left to commit.
			if n < s.Records || w.sinceEnd() < 10*commitInterval {
				return result{}, false
			}
			if phase = phaseBalanced; s.Partitions == 1 {
				phase = "" // there is nothing to share
			}
			return w.result(n), true
		case phaseBalanced:
			// Both have half of the tasks, or one of them one more.
			if tasks := runningTasks(app); tasks < int(s.Partitions)/2 || tasks > int(s.Partitions+1)/2 || tasks != len(app.Tasks()) {
				return result{}, false
			}
			phase = ""
			return result{Phase: phaseBalanced}, true
		}
		return result{}, false
	}
}

func runningTasks(app *millstream.App) (n int) {
	for _, t := range app.Tasks() {
		if t.Running {
			n++
		}
	}
	return n
}

// cores returns how many cores a process takes during a time.
func cores(ctx context.Context, pid int, during time.Duration) (float64, error) {
	from, err := cpuOf(pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := sleep(ctx, during); err != nil {
		return 0, err
	}
	to, err := cpuOf(pid)
	return (to - from).Seconds() / time.Since(began).Seconds(), err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
