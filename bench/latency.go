package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/stream"
)

var latencyProgram = program{
	app:  func(b *stream.Builder, s spec) { pass(b, sentTopic+s.Round, gotTopic+s.Round) },
	bare: func(b *bareLoop) { b.in, b.outs = sentTopic+b.s.Round, []string{gotTopic + b.s.Round} },
	java: func(s spec) map[string]string {
		return map[string]string{"in": sentTopic + s.Round, "out": gotTopic + s.Round}
	},
}

// measureLatency sends records at a steady rate and takes the time until each can be read behind the App, behind Kafka Streams, and
// behind a bare loop: the difference is ours, the rest is Kafka's and the measurement's own.
func (b *bench) measureLatency(ctx context.Context, _ int64) error {
	// The broker's own code is compiled while it runs: the first round is for that.
	rounds := []string{kindBare, kindApp, kindOnce, kindStreams, kindBare}
	for round, kind := range rounds {
		if kind == kindStreams && !b.peers.has(peerStreams) || kind == kindOnce && !b.once {
			continue
		}
		s := spec{Workload: "latency", Kind: kind, Broker: b.broker, Round: strconv.Itoa(round), Profile: b.profile}
		s.StateDir = b.state(s)
		if err := b.create(ctx, sentTopic+s.Round, gotTopic+s.Round); err != nil {
			return err
		}
		took, err := b.latencyOf(ctx, s)
		if err != nil {
			return err
		}
		if round == 0 {
			continue
		}
		at := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
		b.report.say(fmt.Sprintf("Latency of the pass-through at %d records/s, %s: p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, max %.1f ms.",
			b.rate, programName[kind], at(.5), at(.99), at(.999), at(1)))
	}
	return nil
}

// latencyOf returns how long records took through one program.
func (b *bench) latencyOf(ctx context.Context, s spec) ([]time.Duration, error) {
	start := b.startStreams
	if s.Kind != kindStreams {
		start = startReady
	}
	p, err := start(ctx, s)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	took, err := b.times(ctx, s.Round)
	if err != nil {
		return nil, err
	}
	_, err = p.stop()
	return took, err
}

// times sends for b.latency, and returns how long each record but those of the first quarter took, sorted.
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
	in, err := kgo.NewClient(kgo.SeedBrokers(b.broker), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{to: offsets}), kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
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
	ctx, cancel := context.WithTimeout(ctx, b.latency+10*time.Minute)
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
			if n >= int64(total)/4 {
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
