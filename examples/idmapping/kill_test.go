package main

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// committed returns the sum of the group's committed offsets on the inputs, -1 before the first commit.
func committed(ctx context.Context, k cluster, group string, topics ...string) int64 {
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	req.Group = group
	req.Groups = append(req.Groups, g)
	sum, some := int64(0), false
	resp, err := req.RequestWith(ctx, k.client)
	if err != nil {
		return -1
	}
	add := func(topic string, offset int64) {
		for _, t := range topics {
			if t == topic && offset >= 0 {
				sum, some = sum+offset, true
			}
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				add(t.Topic, p.Offset)
			}
		}
	}
	if len(resp.Groups) > 0 {
		resp.Topics = nil // the answer of older brokers, which the client fills in as well
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			add(t.Topic, p.Offset)
		}
	}
	if !some {
		return -1
	}
	return sum
}

// child is the program in a process of its own.
type child struct {
	cmd *exec.Cmd
	log *buffer
}

func spawn(t *testing.T, args ...string) child {
	t.Helper()
	c := child{exec.Command(os.Args[0], args...), &buffer{}} //nolint:gosec // this very binary
	c.cmd.Env = append(os.Environ(), asProgram+"=1")
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

var fromFile = regexp.MustCompile(`restored profiles\[(\d+)\] from its file: (\d+) records`)

// Kill -9 in the middle, again and again: on its own and on an empty state directory the table
// comes out right. Every other round is stopped gracefully once before, so that the kill finds a
// file that was written.
func TestKill9(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	var flushed, tails atomic.Int64
	t.Run("rounds", func(t *testing.T) {
		for round := range rounds {
			t.Run(strconv.Itoa(round), func(t *testing.T) {
				t.Parallel()
				f, tail := killRound(t, *seed+uint64(round), round) //nolint:gosec // rounds are few
				flushed.Add(int64(f))
				tails.Add(int64(tail))
			})
		}
	})
	t.Logf("%d kills: %d found a flushed file, %d replayed only a tail of its changelog", rounds, flushed.Load(), tails.Load())
	assert.Positive(t, flushed.Load())
	assert.Positive(t, tails.Load())
}

func killRound(t *testing.T, seed uint64, round int) (flushed, tails int) {
	t.Logf("round %d, seed %d", round, seed)
	ctx := t.Context()
	b := broker.Start(t)
	defer b.Close()
	k, err := connect(b.Brokers())
	require.NoError(t, err)
	defer k.close()
	c := defaults()
	require.NoError(t, k.create(ctx, []TopicConfig{{c.Stream.Name, 3, 1}, {c.Table.Name, 3, 1}, {c.Output.Name, 3, 1}, {c.deadLetters(), 1, 1}}, c.Output.Name))
	now := time.UnixMilli(1_800_000_000_000)
	all := slices.Collect(generate(20_000, seed, now))
	written := 0
	// writeTo writes the messages before the one of a number. What has not been written cannot have been
	// committed: so there is something left at each kill, however fast the program is, and however long
	// nobody looks at what it has committed.
	writeTo := func(end int) {
		_, err := k.produceAll(ctx, c, slices.Values(all[written:end]))
		require.NoError(t, err)
		written = end
	}

	rnd := rand.New(rand.NewPCG(seed, 2))
	state := t.TempDir()
	args := []string{"-brokers", strings.Join(b.Brokers(), ","), "-state-dir", state}
	part := func(of int64) int64 { return int64(float64(of) * (0.02 + 0.2*rnd.Float64())) }
	total, done := int64(len(all)), int64(0)
	if round%2 == 0 {
		writeTo(len(all) * 4 / 10)
		endAfter(t, ctx, k, c, args, part(total), syscall.SIGTERM)
		done = committed(ctx, k, c.Application, c.Stream.Name, c.Table.Name)
	}
	// At most 4 tenths are done, and 22% of the rest follow: 6 tenths are not reached.
	writeTo(len(all) * 8 / 10)
	endAfter(t, ctx, k, c, args, done+part(total-done), syscall.SIGKILL)
	at := committed(ctx, k, c.Application, c.Stream.Name, c.Table.Name)
	require.Greater(t, at, int64(0), "committed at the kill")
	require.Less(t, at, total, "committed at the kill")
	writeTo(len(all))

	empty := round%4 >= 2
	if empty {
		require.NoError(t, os.RemoveAll(state))
	}
	changelog := changelogEnds(t, ctx, k, c)
	last := spawn(t, append(args, "-once")...)
	require.NoError(t, last.cmd.Wait(), "%s", last.log)
	for _, m := range fromFile.FindAllStringSubmatch(last.log.String(), -1) {
		require.False(t, empty, "a file in an empty directory")
		flushed = 1
		p, err := strconv.ParseInt(m[1], 10, 32)
		require.NoError(t, err)
		replayed, err := strconv.ParseInt(m[2], 10, 64)
		require.NoError(t, err)
		t.Logf("partition %d: replayed %d of %d records", p, replayed, changelog[int32(p)])
		if replayed > 0 && replayed < changelog[int32(p)] {
			tails = 1
		}
	}
	got := readTable(t, ctx, b.Brokers(), c.Output.Name)
	assert.Equal(t, naiveTable(slices.Values(all)), got, "seed %d\n%s", seed, last.log)
	return flushed, tails
}

// changelogEnds returns how long each partition of the changelog is.
func changelogEnds(t *testing.T, ctx context.Context, k cluster, c Config) map[int32]int64 {
	t.Helper()
	topic := c.Application + "-profiles-changelog"
	n, err := k.partitions(ctx, topic)
	require.NoError(t, err)
	ends, err := k.ends(ctx, topic, n)
	require.NoError(t, err)
	return ends
}

// endAfter runs the program until more than some offsets are committed, and ends it by a signal.
func endAfter(t *testing.T, ctx context.Context, k cluster, c Config, args []string, after int64, sig syscall.Signal) {
	t.Helper()
	p := spawn(t, args...)
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	for committed(ctx, k, c.Application, c.Stream.Name, c.Table.Name) <= after {
		select {
		case err := <-ended:
			require.FailNow(t, "the program ended by itself", "%v\n%s", err, p.log)
		case <-time.After(5 * time.Millisecond): // another process: nothing but polling tells
		}
	}
	require.NoError(t, p.cmd.Process.Signal(sig))
	err := <-ended
	if sig == syscall.SIGTERM {
		require.NoError(t, err, "%s", p.log)
	}
}
