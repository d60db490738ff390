package bolt_test

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/crashpoint"
)

var crashes = flag.Int("crashes", 200, "simulated power losses")

// A sequence is a file after each of its transactions: between two of them bbolt has written pages of data, synced, written one
// meta page and synced.
type sequence struct {
	w        workload
	epochs   int
	pageSize int
	files    [][]byte
}

// record writes a store and keeps the file at each crash point between two transactions.
func record(t *testing.T, seed uint64) sequence {
	s := sequence{w: workload{seed}, epochs: 9, pageSize: 1024}
	o := writerOptions(pathIn(t))
	o.Hook = func(p crashpoint.Point) {
		if p == crashpoint.FlushHalf || p == crashpoint.FlushDone {
			b, err := os.ReadFile(o.Path)
			if err != nil {
				panic(err)
			}
			s.files = append(s.files, b)
		}
	}
	written(t, s.w, o, s.epochs)
	require.Greater(t, len(s.files), 10, "transactions")
	return s
}

func (s sequence) page(file []byte, n int) []byte {
	from := min(n*s.pageSize, len(file))
	return file[from:min(from+s.pageSize, len(file))]
}

// loss returns the file as a power loss in the middle of a transaction may leave it, and what was lost.
func (s sequence) loss(rnd *rand.Rand) (file []byte, what string) {
	i := rnd.IntN(len(s.files) - 1)
	before, after := s.files[i], s.files[i+1]
	// A file that grows is synced with its new length before anything is written to it.
	file = make([]byte, len(after))
	copy(file, before)
	if rnd.IntN(2) == 0 {
		kept := rnd.Float64()
		for n := 2; n*s.pageSize < len(after); n++ {
			if rnd.Float64() < kept {
				copy(s.page(file, n), s.page(after, n))
			}
		}
		return file, fmt.Sprintf("%.0f%% of the data pages of transaction %d", 100*kept, i)
	}
	copy(file[2*s.pageSize:], after[2*s.pageSize:])
	switch rnd.IntN(3) {
	case 0:
		return file, fmt.Sprintf("all but the meta page of transaction %d", i)
	case 1:
		copy(file, after)
		return file, fmt.Sprintf("all of transaction %d", i)
	}
	n := rnd.IntN(2)
	torn := 1 + rnd.IntN(100)
	copy(s.page(file, n)[:torn], s.page(after, n))
	return file, fmt.Sprintf("%d bytes of meta page %d of transaction %d", torn, n, i)
}

// TestPowerLoss: a file opens as a whole after a power loss at any point, or is moved aside; replay makes it whole.
func TestPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	n := *crashes
	if testing.Short() {
		n = min(n, 20)
	}
	whole, aside := 0, 0
	var s sequence
	for i := range n {
		if i%20 == 0 {
			s = record(t, rnd.Uint64())
		}
		path := filepath.Join(t.TempDir(), "0.db")
		file, what := s.loss(rnd)
		require.NoError(t, os.WriteFile(path, file, 0o600))
		out, err := output(t, child("verify", path, s.w.seed, s.epochs))
		if err != nil {
			// It may have ended the process, once: the next one must not open it.
			t.Logf("%s: %v", what, err)
			out, err = output(t, child("verify", path, s.w.seed, s.epochs))
			require.True(t, strings.HasPrefix(out, "aside"), out)
		}
		require.NoError(t, err, what)
		if out == "whole\n" {
			whole++
		} else {
			aside++
			t.Logf("%s: %s", what, out)
		}
	}
	t.Logf("%d files opened whole, %d were moved aside and restored", whole, aside)
	assert.Zero(t, aside, "bbolt's order of writes keeps the older state intact")
}

// TestKillNine kills a writing process, again and again, at any point, and goes on where it stopped.
func TestKillNine(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path, end, found := pathIn(t), 0, 0
	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	for range rounds {
		end = killAfter(t, path, seed, end, 1+rnd.IntN(40))
		if _, err := os.Stat(path); err == nil {
			found++
		}
		out, err := output(t, child("verify", path, seed, end))
		require.NoError(t, err)
		assert.Equal(t, "whole\n", out)
	}
	t.Logf("%d epochs; %d of %d kills left a file", end, found, rounds)
	assert.Positive(t, found)
}

// killAfter runs a writer from epoch end until it has begun some more epochs, and returns how many may be settled.
func killAfter(t *testing.T, path string, seed uint64, end, epochs int) int {
	c := child("write", path, seed, end)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	lines := bufio.NewScanner(out)
	for range epochs {
		require.True(t, lines.Scan())
	}
	require.NoError(t, c.Process.Kill())
	last := lines.Text()
	for lines.Scan() {
		last = lines.Text()
	}
	_ = c.Wait() // it was killed
	n, err := strconv.Atoi(last)
	require.NoError(t, err, "child: %s", last)
	return n + 1
}
