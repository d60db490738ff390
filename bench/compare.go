package main

import (
	"context"
	"fmt"
	"os"

	"github.com/millstream-go/millstream/internal/storage"
)

// done is what the program of a workload did, as it is verified.
type done struct {
	spec
	// stored calls f with the rows of a store, of all partitions, and counts them.
	stored func(name string, f func(storage.Entry) error) (int64, error)
}

// verifier checks what a program did.
type verifier func(context.Context, done) error

// compare runs the App of a workload, the same on Kafka Streams, and the bare loop, one after the other. inputs are the topics that
// they read to the end. What each did is verified before its figures are kept.
func (b *bench) compare(ctx context.Context, s spec, inputs []string, verify verifier) error {
	if err := b.ours(ctx, s, kindApp, verify); err != nil {
		return err
	}
	if b.once {
		if err := b.ours(ctx, s, kindOnce, verify); err != nil {
			return fmt.Errorf("exactly once: %w", err)
		}
	}
	if b.peers.has(peerStreams) {
		if err := b.theirs(ctx, s, inputs, verify); err != nil {
			return err
		}
	}
	if programs[s.Workload].bare == nil {
		return nil
	}
	s.Kind = kindBare
	r, m, err := measure(ctx, s)
	if err == nil {
		b.add(s, whoBare, r, m)
	}
	return err
}

// ours measures the App, with one of its guarantees.
func (b *bench) ours(ctx context.Context, s spec, kind string, verify verifier) error {
	s.Kind, s.Profile = kind, b.profile
	s.StateDir = b.stateOf(s)
	r, m, err := measure(ctx, s)
	if err != nil {
		return err
	}
	if err := verify(ctx, done{s, s.storedByApp}); err != nil {
		return fmt.Errorf("verify what the App did: %w", err)
	}
	b.add(s, programName[kind], r, m)
	return nil
}

// theirs measures Kafka Streams.
func (b *bench) theirs(ctx context.Context, s spec, inputs []string, verify verifier) error {
	s.Kind = kindStreams
	s.StateDir = b.stateOf(s)
	p, err := b.startStreams(ctx, s)
	if err != nil {
		return err
	}
	r, m, err := b.finish(ctx, p, s, inputs, verify)
	if err != nil {
		return fmt.Errorf("%s on Kafka Streams: %w", s.Workload, err)
	}
	b.add(s, whoStreams, r, m)
	return nil
}

// finish waits until a program on Kafka Streams has read its input, verifies what it did while it runs, since its stores are asked,
// and ends it.
func (b *bench) finish(ctx context.Context, p *process, s spec, inputs []string, verify verifier) (r result, m memory, err error) {
	defer p.kill()
	if err := b.consumed(ctx, s.appID(), inputs); err != nil {
		return r, m, err
	}
	m = p.peak() // verifying takes memory, too
	if err := verify(ctx, done{s, p.dump}); err != nil {
		return r, m, fmt.Errorf("verify what it did: %w", err)
	}
	if r, err = p.stop(); err == nil && r.Processed < s.Records {
		err = fmt.Errorf("ended after %d of %d records", r.Processed, s.Records)
	}
	r.Disk = diskUse(s.StateDir)
	return r, m, err
}

// stateOf returns the directory of the program's state. A join begins with what loading its table has left.
func (b *bench) stateOf(s spec) string {
	if s.Workload == "join" {
		s.Workload = "load"
	}
	return b.state(s)
}

// prepare runs the programs of a workload on what it needs before it is measured.
func (b *bench) prepare(ctx context.Context, s spec, inputs []string) error {
	nothing := func(context.Context, done) error { return nil }
	s.Kind, s.StateDir = kindApp, b.stateOf(s)
	if _, _, err := measure(ctx, s); err != nil || !b.peers.has(peerStreams) {
		return err
	}
	s.Kind = kindStreams
	s.StateDir = b.stateOf(s)
	p, err := b.startStreams(ctx, s)
	if err != nil {
		return err
	}
	_, _, err = b.finish(ctx, p, s, inputs, nothing)
	return err
}

// add keeps the figures of a program.
func (b *bench) add(s spec, who string, r result, m memory) {
	name := s.Workload
	if r.Phase != "" {
		name = r.Phase
	}
	r = r.perInput(s)
	b.report.rows = append(b.report.rows, figures{Workload: name, Rows: s.Rows, Who: who, Input: s.Records, Result: r, Memory: m})
	fmt.Fprintf(os.Stderr, "%s, %d rows, %s: %.2f µs a record, %.0f k/s, %.0f + %.0f MB\n",
		name, s.Rows, who, r.CPU, float64(r.Records)/r.Seconds/1000, m.Anon, m.File)
}
