package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

const childEnv = "MILLSTREAM_BENCH_CHILD"

// Topics, all of four partitions.
const (
	recordsTopic    = "records" // what pass and count read
	passedTopic     = "passed"
	countsTopic     = "counts"
	rowsTopic       = "rows"
	clicksTopic     = "clicks" // what the join reads
	joinedTopic     = "joined"
	timedTopic      = "timed" // what the windowed count reads
	windowsTopic    = "windows"
	leftsTopic      = "lefts" // what the join of streams reads
	rightsTopic     = "rights"
	pairsTopic      = "pairs"
	ordersTopic     = "orders" // what the foreign-key join reads
	shopsTopic      = "shops"
	soldTopic       = "sold"
	bareTopic       = "bare" // what bare loops write
	bareLogTopic    = "bare-changelog"
	bareTellTopic   = "bare-subscriptions"
	bareKeepTopic   = "bare-subscriptions-changelog"
	bareAnswerTopic = "bare-answers"
	sentTopic       = "sent-" // the latency's, by round
	gotTopic        = "got-"
	partitions      = 4
)

// Stores.
const (
	countStore = "counts-by-key"
	rowStore   = "rows-by-key"
)

// spec is what a child is to do.
type spec struct {
	Workload string
	Kind     string // "app" or "bare"
	Broker   string
	StateDir string
	Records  int64 // that it will read
	Before   int64 // of those, records that are not to be measured
	Profile  string
	Round    string // of the latency
	Rows     int64  // of the foreign-key join's right table
	PerInput bool   // figures are by record of the input: what comes back from internal topics is not counted
}

func (s spec) run() (result, error) {
	switch {
	case s.Kind == "local":
		return s.runLocal()
	case s.Kind == "bare":
		return s.runBare()
	default:
		return s.runApp()
	}
}

// appID is the application's name; join and restore are the same application, with and without its state.
func (s spec) appID() string {
	switch s.Workload {
	case "load", "join", "restore":
		return "bench-join"
	}
	return "bench-" + s.Workload
}

func (s spec) topology() (*topology.Topology, error) {
	b := stream.NewBuilder()
	switch s.Workload {
	case "pass":
		pass(b, recordsTopic, passedTopic)
	case "latency":
		pass(b, sentTopic+s.Round, gotTopic+s.Round)
	case "count":
		byKey := stream.GroupByKey(stream.From(b, stream.NewTopic(recordsTopic, serde.Int64, serde.Bytes)))
		stream.To(table.ToStream(table.Count(byKey, countStore)), stream.NewTopic(countsTopic, serde.Int64, serde.Int64))
	case "windows":
		windows(b)
	case "streams":
		pairs(b)
	case "foreign":
		foreign(b, s.Rows)
	default:
		rows := table.From(b, stream.NewTopic(rowsTopic, serde.Int64, serde.Func(appendRow, decodeRow)), rowStore)
		clicks := stream.From(b, stream.NewTopic(clicksTopic, serde.Int64, serde.Bytes))
		out := join.StreamTableLeft(clicks, rows, "with-row", func(v []byte, r row, ok bool) enriched {
			return enriched{Value: v, Row: r.ID, OK: ok}
		})
		stream.To(out, stream.NewTopic(joinedTopic, serde.Int64, serde.Func(appendEnriched, decodeEnriched)))
	}
	return b.Build()
}

// pass is the measurement's pass-through: values are mapped to themselves.
func pass(b *stream.Builder, from, to string) {
	s := stream.MapValues(stream.From(b, stream.NewTopic(from, serde.Bytes, serde.Bytes)), func(v []byte) []byte { return v })
	stream.To(s, stream.NewTopic(to, serde.Bytes, serde.Bytes))
}

// runApp runs the App, to the end of its input unless the workload is restore or latency.
func (s spec) runApp() (result, error) {
	top, err := s.topology()
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var w window
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	app, err := millstream.New(top, millstream.Config{
		ApplicationID: s.appID(), Brokers: []string{s.Broker}, StateDir: s.StateDir,
		Events: millstream.Events{
			Commit: func(millstream.CommitInfo) { w.extend() },
			State: func(_, next millstream.State) {
				if next == millstream.Running {
					once()
				}
			},
		},
	})
	if err != nil {
		return result{}, err
	}
	done := make(chan error, 1)
	w.start(0)
	switch s.Workload {
	case "restore", "latency":
		go func() { done <- app.Run(ctx) }()
	default:
		go func() { done <- app.RunToEnd(ctx) }()
	}
	count := func() int64 { return app.Stats().RecordsIn }
	switch s.Workload {
	case "restore":
		count = func() int64 { return app.Stats().Restored }
		go func() { <-ready; w.extend(); cancel() }()
	case "latency":
		go func() { <-ready; fmt.Println("ready"); io.Copy(io.Discard, os.Stdin); w.extend(); cancel() }()
	}
	warm := s.Before + (s.Records-s.Before)/4
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for started := false; ; {
		select {
		case err := <-done:
			if n := count(); err == nil && n < s.Records {
				err = fmt.Errorf("ended after %d of %d records", n, s.Records)
			}
			return s.perInput(w.result(count()), count()), err
		case <-tick.C:
			if n := count(); !started && n >= warm && n < s.Records {
				w.start(n)
				started = true
				tick.Stop()
			}
		}
	}
}

// perInput makes a result over all records that were processed one over those of the input. What an input record leads to is about the
// same all the time.
func (s spec) perInput(r result, processed int64) result {
	if !s.PerInput {
		return r
	}
	each := float64(processed) / float64(s.Records)
	r.Records = int64(float64(r.Records) / each)
	r.CPU, r.Allocs, r.Bytes = r.CPU*each, r.Allocs*each, r.Bytes*each
	return r
}
