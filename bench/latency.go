package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// measureLatency sends records at a steady rate and takes the time until each can be read behind the App, and then behind a bare
// loop: the difference is ours, the rest is Kafka's and the measurement's own.
func (b *bench) measureLatency(ctx context.Context) error {
	// The broker's own code is compiled while it runs: the first round is for that.
	for round, kind := range []string{"bare", "app", "bare"} {
		s := b.spec("latency", b.state("latency"), 0)
		s.Kind, s.Round = kind, strconv.Itoa(round)
		if err := b.create(ctx, sentTopic+s.Round, gotTopic+s.Round); err != nil {
			return err
		}
		p, err := start(ctx, s)
		if err != nil {
			return err
		}
		if err := p.ready(); err != nil {
			return err
		}
		took, err := b.times(ctx, s.Round)
		p.stdin.Close()
		_, _, end := p.wait()
		if err != nil {
			return err
		}
		if end != nil {
			return end
		}
		if round == 0 {
			continue
		}
		at := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
		l := fmt.Sprintf("latency of the pass-through at %d records/s, %s: p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, max %.1f ms",
			b.rate, kind, at(.5), at(.99), at(.999), at(1))
		if kind == "app" {
			l += " (Kafka Streams: p50 56 ms, p99 107 ms)"
		}
		fmt.Fprintln(os.Stderr, l)
		b.table.latency = append(b.table.latency, l)
	}
	return nil
}

// times sends for b.latency, and returns how long each record but those of the first tenth took, sorted.
func (b *bench) times(ctx context.Context, round string) ([]time.Duration, error) {
	from, to := sentTopic+round, gotTopic+round
	ends, err := b.ends(ctx, to)
	if err != nil {
		return nil, err
	}
	offsets := map[int32]kgo.Offset{}
	for p, end := range ends {
		offsets[p] = kgo.NewOffset().At(end)
	}
	in, err := kgo.NewClient(kgo.SeedBrokers(b.broker), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{to: offsets}), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := kgo.NewClient(kgo.SeedBrokers(b.broker), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	total := int(b.latency.Seconds() * float64(b.rate))
	began := time.Now()
	go func() {
		for n := range total {
			due := began.Add(time.Duration(n) * time.Second / time.Duration(b.rate))
			if wait := time.Until(due); wait > time.Millisecond/2 {
				time.Sleep(wait)
			}
			// The time at which it was due: who falls behind in sending is late, too.
			v := appendValue(nil, int64(n))
			binary.BigEndian.PutUint64(v[8:], uint64(due.Sub(began)))
			out.Produce(ctx, &kgo.Record{Topic: from, Key: appendKey(nil, int64(n)), Value: v}, nil)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, b.latency+time.Minute)
	defer cancel()
	seen := make([]bool, total)
	var took []time.Duration
	for got := 0; got < total; {
		fetches := in.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", got, total, err)
		}
		at := time.Since(began)
		fetches.EachRecord(func(r *kgo.Record) {
			n := number(r.Value)
			if seen[n] {
				err = fmt.Errorf("record %d came twice", n)
			}
			seen[n] = true
			got++
			if n >= int64(total)/10 {
				took = append(took, at-time.Duration(number(r.Value[8:])))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}
