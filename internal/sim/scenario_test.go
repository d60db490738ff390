package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// scenario is a history that is written down: what a random one has found once.
func scenario(t *testing.T, f func(w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, plan{seed: 1}, dir)
		defer w.bury()
		w.disturb()
		w.feeder.start(200 * time.Millisecond)
		f(w)
		if !w.failed() && w.rest() {
			w.judge()
		}
		w.report()
	})
}

// A frozen process's tasks go to another, which deletes what it has processed from the repartition topic. When the first one thaws, the
// place where it was is not in the log any more: that is no failure, it has just not heard yet that it is no member.
func TestThawedProcessFindsItsInputDeleted(t *testing.T) {
	scenario(t, func(w *world) {
		w.gaveUp("a process is frozen")
		w.stale = true
		a := w.start(w.newMachine())
		w.start(w.newMachine())
		pass(21 * time.Second)
		require.Len(t, a.Tasks(), w.partitions)
		thaw := a.net.freeze()
		pass(10 * time.Second) // what is processed is deleted every 30 s
		require.Positive(t, w.b.Cluster().PartitionInfos(repartitioned)[0].LogStartOffset)
		thaw()
		pass(10 * time.Second)
	})
}

// What a process had written when it was frozen arrives long after another has gone on with its tasks, and just before those are
// given up again. Whoever gets them then must not find the old rows.
func TestWhatAThawedProcessWroteIsWrittenOverBeforeTasksMove(t *testing.T) {
	scenario(t, func(w *world) {
		w.gaveUp("a process is frozen")
		w.stale = true
		a := w.start(w.newMachine())
		w.start(w.newMachine())
		pass(10 * time.Second)
		require.Len(t, a.Tasks(), w.partitions)
		a.net.slow(190 * time.Millisecond) // something is always on its way
		pass(3 * time.Second)
		thaw := a.net.freeze()
		a.net.slow(0)
		pass(10 * time.Second)
		w.feeder.halt()
		pass(time.Second)
		thaw() // the old rows arrive, and the process joins again
		pass(10 * time.Second)
	})
}
