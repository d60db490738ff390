package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/stream"
)

// runApp runs the App, to the end of its input unless the workload is restore or latency.
func (s spec) runApp() (result, error) {
	b := stream.NewBuilder()
	programs[s.Workload].app(b, s)
	top, err := b.Build()
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var w window
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	app, err := millstream.New(top, millstream.Config{
		ApplicationID: s.appID(), Brokers: []string{s.Broker}, StateDir: s.StateDir, Compression: s.Compression,
		Guarantee: map[string]millstream.Guarantee{kindOnce: millstream.ExactlyOnce}[s.Kind],
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
	case "restore", "latency", "idle":
		go func() { done <- app.Run(ctx) }()
	default:
		go func() { done <- app.RunToEnd(ctx) }()
	}
	count := func() int64 { return app.Stats().RecordsIn }
	switch s.Workload {
	case "restore":
		count = func() int64 { return app.Stats().Restored }
		go func() { <-ready; w.extend(); cancel() }()
	case "latency", "idle":
		go func() { <-ready; fmt.Println("ready"); io.Copy(io.Discard, os.Stdin); w.extend(); cancel() }()
	}
	warm, all := s.Warm*s.each(), s.Records*s.each()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	if s.Workload == "idle" {
		tick.Stop() // a thousand wake-ups a second would be most of what it takes
	}
	for started := false; ; {
		select {
		case err := <-done:
			if n := count(); err == nil && n < s.Records {
				err = fmt.Errorf("ended after %d of %d records", n, s.Records)
			}
			return w.result(count()), err
		case <-tick.C:
			if n := count(); !started && n >= warm && n < all {
				w.start(n)
				started = true
				tick.Stop()
			}
		}
	}
}
