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
	scenarioOf(t, plan{seed: 1}, f)
}

// scenarioOf is scenario in the world of a plan, whose steps are for f to make.
func scenarioOf(t *testing.T, p plan, f func(w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, p, dir)
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
func TestZombie_FindsItsInputDeleted(t *testing.T) {
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
func TestZombie_WritesAreOverwrittenBeforeTasksMove(t *testing.T) {
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

// An App that stops deletes what it has processed from its repartition topic, which may be all. Whatever is written there after the brokers
// have been restarted has to be delivered all the same.
func TestRepartition_TopicIsEmptyWhenBrokersRestart(t *testing.T) {
	scenarioOf(t, plan{seed: 1, steps: []step{{kind: clusterRestart}}}, func(w *world) {
		a := w.start(w.newMachine())
		pass(5 * time.Second)
		w.feeder.halt()
		pass(2 * time.Second)
		a.stop()
		before := w.b.Cluster().PartitionInfos(repartitioned)
		require.Len(t, before, w.partitions)
		for _, p := range before {
			require.Positive(t, p.HighWatermark)
			require.Equal(t, p.HighWatermark, p.LogStartOffset)
		}
		w.clusterRestart()
		for i, p := range w.b.Cluster().PartitionInfos(repartitioned) {
			require.Equal(t, before[i].HighWatermark, p.HighWatermark)
		}
		w.start(a.m)
		pass(5 * time.Second)
	})
}
