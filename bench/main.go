// Command bench measures Millstream: Apps built with the DSL, on the default Config, against a real Apache Kafka, each in a
// process of its own and beside a bare loop on Sarama's protocol layer in the same run. docs/performance.md says what the columns
// mean. What an App wrote, and what its stores hold, is verified before its figure is printed. Linux only: memory is read from /proc.
//
//	go run . [-quick] [-records N] [-keys N] [-only pass,count] [-profile DIR]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	records, keys int64
	rate          int
	latency       time.Duration
	only          string
	profile       string
}

func main() {
	if spec := os.Getenv(childEnv); spec != "" {
		os.Exit(child(spec))
	}
	var o options
	quick := flag.Bool("quick", false, "few records: a smoke test, whose figures mean nothing")
	flag.Int64Var(&o.records, "records", 4_000_000, "records of each workload")
	flag.Int64Var(&o.keys, "keys", 1_000_000, "keys, and rows of the table")
	flag.IntVar(&o.rate, "rate", 5000, "records a second whose latency is measured")
	flag.DurationVar(&o.latency, "latency", 20*time.Second, "how long latency is measured")
	flag.StringVar(&o.only, "only", "", "workloads, of chain,store,pass,count,windows,streams,foreign,join,restore,latency; all by default")
	flag.StringVar(&o.profile, "profile", "", "directory for CPU and allocation profiles of each App")
	flag.Parse()
	if *quick {
		o.records, o.keys, o.latency = 100_000, 20_000, 2*time.Second
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// wanted says whether a workload was asked for.
func (o options) wanted(name string) bool {
	if o.only == "" {
		return true
	}
	for s := range strings.SplitSeq(o.only, ",") {
		if s == name {
			return true
		}
	}
	return false
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "millstream-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir}
	if err := b.local(ctx); err != nil {
		return err
	}
	if err := b.kafka(ctx); err != nil {
		return err
	}
	b.table.print(os.Stdout)
	return nil
}

// child is the life of a process that runs one workload.
func child(text string) int {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, "bench: child:", err)
		return 1
	}
	stop, err := s.startProfile()
	if err == nil {
		var r result
		if r, err = s.run(); err == nil {
			err = stop()
		}
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %v\n", s.Workload, err)
		return 1
	}
	return 0
}
