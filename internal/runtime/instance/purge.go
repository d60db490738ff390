package instance

import (
	"context"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// finalPurgeTimeout bounds the purge at the end of a run.
const finalPurgeTimeout = 2 * time.Second

// finalPurge purges before the tasks are given up. An App that runs for less than the interval of
// the purge loop at a time would otherwise never do it. The channel is closed when the purge is
// over.
func (inst *Instance) finalPurge() <-chan struct{} {
	done := make(chan struct{})
	if inst.failing() { // the stop is to be short, and the next run purges as well
		close(done)
		return done
	}
	deployment, running := inst.group.Deployment(), inst.runningChangelogs()
	inst.background(func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(inst.ctx, finalPurgeTimeout)
		defer cancel()
		inst.purgeLoop.Purge(ctx, deployment, running)
	})
	return done
}

// runningChangelogs returns the changelog partitions of the tasks that run here. There are none
// while the member may have been dropped from its group, since others may run its tasks then.
func (inst *Instance) runningChangelogs() map[kafka.TopicPartition]bool {
	out := map[kafka.TopicPartition]bool{}
	if inst.group.Allowed() != nil {
		return out
	}
	deployment := inst.group.Deployment()
	for _, id := range *inst.manager.runningTasks.Load() {
		for _, tp := range deployment.Task(id).Changelogs {
			out[tp] = true
		}
	}
	return out
}
