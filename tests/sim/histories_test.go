package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream"
)

var (
	seed      = flag.Uint64("seed", 0, "the one history to run, counted from 1; 0: -histories of them, from -from on")
	from      = flag.Uint64("from", 1, "the seed of the first history")
	once      = flag.Bool("exactly-once", false, "-seed is a history with exactly once")
	histories = flag.Int("histories", 0, "how many histories to run of each guarantee; 0: 50, and 12 with exactly once")
	stop      = flag.Bool("stop", false, "begin no more histories once one has failed")
	verbose   = flag.Bool("journal", false, "print what the Apps of a failing history logged")
)

func TestMain(m *testing.M) {
	// A history has little in memory, and much of it for a short time: with collections at the usual pace they are a quarter of its CPU.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800)
	}
	goleak.VerifyTestMain(m)
}

// inMemory is where Linux has files in memory.
const inMemory = "/dev/shm"

// scratch returns a directory for the files of a history. Flushes and merges make many small ones: on a disk that is a third of a history's
// CPU.
func scratch(t *testing.T) string {
	dir, err := os.MkdirTemp(inMemory, "millstream-sim")
	if err != nil { // there is no such place here
		return t.TempDir()
	}
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// enough is how many histories meet every kind of fault.
const enough = 50

// realLimit is how long one history may take. One that hangs does so because a goroutine waits for a mutex, which stops the bubble's
// clock; where it hangs is then printed.
const realLimit = 3 * time.Minute

func TestHistories(t *testing.T) { runHistories(t, millstream.AtLeastOnce) }

// With exactly once every input counts once, whatever happens.
func TestHistoriesExactlyOnce(t *testing.T) { runHistories(t, millstream.ExactlyOnce) }

func runHistories(t *testing.T, g millstream.Guarantee) {
	first, n := *from, uint64(*histories)
	if n == 0 {
		n = map[millstream.Guarantee]uint64{millstream.AtLeastOnce: 50, millstream.ExactlyOnce: 12}[g]
	}
	if *seed != 0 {
		if *once != (g == millstream.ExactlyOnce) {
			return
		}
		first, n = *seed, 1
	} else if testing.Short() {
		n = min(n, 6)
	}
	began := time.Now()
	sum := &summary{guarantee: g, counts: map[string]int{}}
	sum.run(t, first, n)
	if n >= enough && !t.Failed() {
		// Whether a fault takes effect is a matter of what the Apps happen to do meanwhile.
		for s := first + n; s < first+10*n && len(sum.missing()) > 0; s += batch {
			sum.run(t, s, batch)
		}
		assert.Empty(t, sum.missing(), "faults that never took effect")
	}
	t.Logf("-from %d -histories %d: %v of real time\n%s", first, n, time.Since(began).Round(time.Millisecond), sum)
}

// batch is how many histories run before others begin.
const batch = 10

// run runs n histories.
func (s *summary) run(t *testing.T, first, n uint64) {
	for at := first; at < first+n && !(*stop && t.Failed()); at += batch {
		t.Run("of", func(t *testing.T) {
			for seed := at; seed < min(at+batch, first+n); seed++ {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					t.Parallel()
					s.add(simulate(t, newPlan(seed, s.guarantee)))
				})
			}
		})
	}
}

// simulate runs one history and reports what the oracle found.
func simulate(t *testing.T, p plan) (counts map[string]int) {
	watch := time.AfterFunc(realLimit, func() {
		fmt.Fprintf(os.Stderr, "history hangs after %v of real time\n%v", realLimit, p)
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		os.Exit(3)
	})
	defer watch.Stop()
	dir := scratch(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, p, dir)
		defer w.bury()
		w.run()
		w.report()
		counts = w.counts
	})
	return counts
}

// report prints a history that has failed.
func (w *world) report() {
	if !w.failed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, f := range w.failures {
		fmt.Fprintf(&b, "seed %d: %s: %s\n", w.plan.seed, f.check, f.text)
	}
	lines := w.notes
	if *verbose {
		lines = w.journal
	}
	w.t.Errorf("%s\n%v%s topology\nan epoch was given up: %q\n%s", &b, w.plan, w.mix, w.given, strings.Join(lines, "\n"))
}

// summary adds up what the histories of a run have met.
type summary struct {
	guarantee millstream.Guarantee
	mu        sync.Mutex
	histories int
	counts    map[string]int
}

func (s *summary) add(counts map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.histories++
	for k, n := range counts {
		s.counts[k] += n
	}
}

// kinds are all faults that a run has to meet.
func kinds(g millstream.Guarantee) []string {
	out := []string{string(join_), string(leave), string(zombie), string(brokerAway), string(clusterRestart), string(leaderMove),
		string(coordinators), string(broken), string(slow), string(compaction), string(pauses), string(failures), commits.String(),
		aborts.String(), timesOut.String()}
	if g == millstream.ExactlyOnce {
		out = append(out, lateEnd, lateMarker, string(fencedEnd))
	}
	for _, b := range backs {
		out = append(out, "kill, back on "+string(b), "crash, back on "+string(b))
	}
	for _, p := range allPoints(g) {
		out = append(out, "crash at "+p.String())
	}
	for _, s := range slices.Concat(openings[2:], gentleCellsOf(g), harshCellsOf(g)) {
		out = append(out, s.cell.String())
	}
	return out
}

func (s *summary) missing() []string {
	return slices.DeleteFunc(kinds(s.guarantee), func(k string) bool { return s.counts[k] > 0 })
}

func (s *summary) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d histories\n", s.histories)
	for _, k := range kinds(s.guarantee) {
		fmt.Fprintf(&b, "%5d %s\n", s.counts[k], k)
	}
	for _, k := range slices.Sorted(maps.Keys(s.counts)) {
		if !slices.Contains(kinds(s.guarantee), k) {
			fmt.Fprintf(&b, "%5d %s (not expected)\n", s.counts[k], k)
		}
	}
	return b.String()
}
