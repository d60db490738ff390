package instance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/runtime/changelog"
)

const (
	restoreLogInterval = 5 * time.Second
	summaryInterval    = time.Minute
)

// logProgress logs how far restores are, and each minute what was done in it, until ctx ends. So a
// healthy App can be seen at work.
func (inst *Instance) logProgress(ctx context.Context) {
	restores, minutes := time.NewTicker(restoreLogInterval), time.NewTicker(summaryInterval)
	defer restores.Stop()
	defer minutes.Stop()
	before := inst.cfg.Counters.Counts()
	for {
		select {
		case <-restores.C:
			if attrs := inst.restores.logAttrs(restoreLogInterval); attrs != nil {
				inst.cfg.Logger.Info("millstream: restoring stores", attrs...)
			}
		case <-minutes.C:
			now := inst.cfg.Counters.Counts()
			attrs := summary(before, now, len(*inst.manager.runningTasks.Load()), inst.pausedTasks())
			inst.cfg.Logger.Info("millstream: the last minute", attrs...)
			before = now
		case <-ctx.Done():
			return
		}
	}
}

// summary returns the attributes of a line about what was done between two counts.
func summary(before, after Counts, tasks, paused int) []any {
	in := after.RecordsIn - before.RecordsIn
	attrs := []any{"tasks", tasks}
	if paused > 0 { // why there are no records
		attrs = append(attrs, "paused", paused)
	}
	attrs = append(attrs,
		"records_in", in, "per_second", ratePerSecond(in, summaryInterval),
		"records_out", after.RecordsOut-before.RecordsOut,
		"commits", after.Commits-before.Commits,
	)
	if count := after.Restored - before.Restored; count > 0 {
		attrs = append(attrs, "records_restored", count)
	}
	var dropped []string
	for _, reason := range slices.Sorted(maps.Keys(after.Dropped)) {
		if count := after.Dropped[reason] - before.Dropped[reason]; count > 0 {
			dropped = append(dropped, fmt.Sprintf("%d %s", count, reason))
		}
	}
	if dropped != nil {
		attrs = append(attrs, "dropped", strings.Join(dropped, ", "))
	}
	return attrs
}

func ratePerSecond(n int64, d time.Duration) int64 { return n * int64(time.Second) / int64(d) }

// restoreProgress is how far the restores of a run are. Safe for use by several goroutines.
type restoreProgress struct {
	mu      sync.Mutex
	stores  map[storePartition]changelog.Progress
	records int64 // applied since the last line
	offsets int64 // passed since then
}

type storePartition struct {
	store     string
	partition int32
}

// add notes the progress of one restore, and how many records were applied since the last call for
// it.
func (r *restoreProgress) add(progress changelog.Progress, applied int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stores == nil {
		r.stores = map[storePartition]changelog.Progress{}
	}
	partition := storePartition{progress.Store, progress.Partition}
	if last, ok := r.stores[partition]; ok && progress.Position > last.Position {
		r.offsets += progress.Position - last.Position
	}
	r.records += int64(applied)
	if progress.Position >= progress.End {
		delete(r.stores, partition)
		return
	}
	r.stores[partition] = progress
}

// remove forgets a restore that is over, whether it has reached its end or was given up with its
// task.
func (r *restoreProgress) remove(store string, partition int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.stores, storePartition{store, partition})
}

// positions returns how far the restores are that are under way.
func (r *restoreProgress) positions() map[storePartition]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[storePartition]int64, len(r.stores))
	for partition, progress := range r.stores {
		out[partition] = progress.Position
	}
	return out
}

// logAttrs returns the attributes of a line about what is being restored, nil when nothing is. The
// rate is that since the last line, which was since ago.
//
// The time that is left is estimated by offsets, not by records: how many records are left is not
// known. Offsets that compaction has removed count in what is left, and pass faster.
func (r *restoreProgress) logAttrs(since time.Duration) []any {
	r.mu.Lock()
	defer r.mu.Unlock()
	rate, records := ratePerSecond(r.offsets, since), ratePerSecond(r.records, since)
	// Also when nothing is being restored: the next restore's first rate would otherwise include
	// what the last one did since its last line.
	r.offsets, r.records = 0, 0
	if len(r.stores) == 0 {
		return nil
	}
	var names []string
	var remaining int64
	for partition, progress := range r.stores {
		names = append(names, partition.store)
		remaining += progress.End - progress.Position
	}
	slices.Sort(names)
	attrs := []any{
		"stores", strings.Join(slices.Compact(names), ", "), "partitions", len(r.stores), "left", remaining,
		"records_per_second", records,
	}
	if rate > 0 {
		attrs = append(attrs, "time_left", time.Duration(remaining/rate)*time.Second)
	}
	return attrs
}
