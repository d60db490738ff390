// Command bench measures Millstream: Apps built with the DSL, on the default Config, against a real Apache Kafka, each in a
// process of its own. The same workloads run on Kafka Streams and in a bare loop on Sarama's protocol layer, in the same run, and
// stores beside Pebble and bbolt. docs/performance.md says what the columns mean. What a program wrote, and what its stores hold,
// is verified before its figure is printed. Linux only: memory is read from /proc.
//
//	go run . [-quick] [-rows N,M] [-records N] [-only pass,count] [-peers kafka-streams,pebble,bbolt] [-limit MB] [-out DIR] [-profile DIR]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	quick       bool
	once        bool
	rows        sizes
	records     int64
	rate        int
	latency     time.Duration
	idle        time.Duration
	settle      time.Duration
	phase       time.Duration
	only, peers list
	cache, out  string
	// partitionCounts are the topics of the workload partitions.
	partitionCounts []int32
	profile         string
	// limit is the memory of the programs that are measured, in MB; 0: what there is.
	limit int64
}

// sizes are numbers of rows.
type sizes []int64

func (s *sizes) String() string { return strings.Trim(fmt.Sprint([]int64(*s)), "[]") }

func (s *sizes) Set(text string) error {
	*s = nil
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n < 1000 {
			return fmt.Errorf("%q is not a number of rows, of at least 1000", part)
		}
		*s = append(*s, n)
	}
	return nil
}

// list is some of the names of known.
type list struct{ known, names []string }

func (l *list) String() string { return strings.Join(l.names, ",") }

func (l *list) Set(text string) error {
	l.names = nil
	for name := range strings.SplitSeq(text, ",") {
		if name == "" {
			continue
		}
		if !slices.Contains(l.known, name) {
			return fmt.Errorf("%q is none of %s", name, strings.Join(l.known, ","))
		}
		l.names = append(l.names, name)
	}
	return nil
}

func (l *list) has(name string) bool { return slices.Contains(l.names, name) }

// The names of peers for -peers.
const (
	peerStreams = "kafka-streams"
	peerPebble  = "pebble"
	peerBbolt   = "bbolt"
)

func main() {
	if spec := os.Getenv(childEnv); spec != "" {
		os.Exit(child(spec))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, parse()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse() (o options) {
	o.rows = sizes{1_000_000}
	o.only.known = workloadNames()
	o.peers.known = []string{peerStreams, peerPebble, peerBbolt}
	o.peers.names = o.peers.known
	flag.BoolVar(&o.quick, "quick", false, "few records: a smoke test, whose figures mean nothing")
	flag.Var(&o.rows, "rows", "how many rows stores have, one or more sizes")
	flag.Int64Var(&o.records, "records", 3_000_000, "records of each workload after its rows are there")
	flag.IntVar(&o.rate, "rate", 5000, "records a second whose latency is measured")
	flag.DurationVar(&o.latency, "latency", 20*time.Second, "how long latency is measured")
	flag.DurationVar(&o.idle, "idle", time.Minute, "how long idle Apps are measured")
	flag.DurationVar(&o.settle, "settle", 20*time.Second, "how long idle Apps run before they are measured")
	flag.DurationVar(&o.phase, "phase", 2*time.Minute, "how long a store is measured at most, if it is too slow for -records; loading it takes what it takes")
	flag.Var(&o.only, "only", "workloads, of "+strings.Join(o.only.known, ",")+"; all by default")
	flag.Var(&o.peers, "peers", "what runs beside Millstream")
	flag.Int64Var(&o.limit, "limit", 0, "MB of memory for each program and what it has in the page cache, for state that is larger; needs root")
	flag.BoolVar(&o.once, "exactly-once", false, "run each App a second time, with exactly once")
	flag.StringVar(&o.out, "out", "", "directory for the tables in Markdown and the charts")
	flag.StringVar(&o.cache, "cache", ".cache", "directory for the libraries of Kafka Streams")
	flag.StringVar(&o.profile, "profile", "", "directory for CPU and allocation profiles of each App")
	flag.Parse()
	o.partitionCounts = []int32{1, 10, 100, 1000}
	if o.quick {
		o.partitionCounts = []int32{10}
		o.rows, o.records, o.latency, o.idle, o.settle = sizes{20_000}, 60_000, 2*time.Second, 2*time.Second, time.Second
	}
	return o
}

// wanted reports whether a workload was asked for.
func (o *options) wanted(name string) bool { return len(o.only.names) == 0 || o.only.has(name) }

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "millstream-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.cache, err = filepath.Abs(o.cache); err != nil {
		return err
	}
	if o.limit > 0 {
		if limited, err = newMemoryGroup(o.limit << 20); err != nil {
			return err
		}
		defer func() {
			if err := limited.remove(); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
		}()
	}
	b := &bench{options: o, dir: dir}
	if err := b.measure(ctx); err != nil {
		return err
	}
	return b.report.write(os.Stdout, o.out)
}
