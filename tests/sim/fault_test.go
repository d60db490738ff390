package sim

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/crashpoint"
)

// step lets one fault happen, and waits until it is over.
func (w *world) step(s step) {
	w.note("step: %v", s)
	if w.plan.needsCopies() {
		w.keepCopies()
	}
	switch s.kind {
	case join_:
		w.join()
	case leave:
		w.leave()
	case kill:
		w.kill(s)
	case crashed:
		w.crashAt(s)
	case zombie:
		w.zombie(s)
	case brokerAway:
		w.brokerAway(s)
	case clusterRestart:
		w.clusterRestart()
	case leaderMove:
		w.disturbed2s(func() {
			for _, topic := range w.topics() {
				for p := range w.partitions {
					_ = w.b.Cluster().MoveTopicPartition(topic, int32(p), int32(w.r.IntN(brokers))) // a topic may not be there yet
				}
			}
		})
		w.tookEffect(string(s.kind))
	case coordinators:
		w.disturbed2s(w.b.Cluster().RehashCoordinators)
		w.tookEffect(string(s.kind))
	case broken:
		if len(w.live) > 0 {
			w.disturbed2s(func() { w.any().net.interrupt(0) })
			w.tookEffect(string(s.kind))
		}
	case slow:
		w.slow(s)
	case compaction:
		w.b.Cluster().Compact()
		w.tookEffect(string(s.kind))
	case request:
		w.request(s)
	case fencedEnd:
		w.fencedEnd(s)
	case strangers:
		w.stranger(s)
	case pauses:
		w.pauses(s)
	case failures:
		w.taskFailures(s)
	}
}

// pauses has an App pause, or its second sub-topology.
func (w *world) pauses(s step) {
	if len(w.live) == 0 {
		return
	}
	p := w.any()
	w.disturb()
	if w.r.IntN(2) == 0 {
		p.Pause()
		pass(s.away)
		p.Resume()
	} else {
		require.NoError(w.t, p.PauseSubtopologies(1))
		pass(s.away)
		require.NoError(w.t, p.ResumeSubtopologies(1))
	}
	pass(time.Second)
	w.undisturb()
	w.tookEffect(string(pauses))
}

// taskFailures has functions of the topology fail. Their tasks are restarted.
func (w *world) taskFailures(s step) {
	w.gaveUp("a task has failed")
	w.disturb()
	w.failCalls(s.n)
	w.some(5 * time.Second)
	w.undisturb()
}

// fencedEnd loses the end of a transaction, or the answer to it, and has somebody else take the transactional id before the end can be
// repeated: whether it was committed is known to the coordinator alone.
func (w *world) fencedEnd(s step) {
	w.gaveUp("a producer is fenced")
	w.endRequests()
	w.disturb()
	what := loseRequestAndFence
	if s.n%2 == 0 {
		what = loseAnswerAndFence
	}
	w.traps.set(int16(kmsg.EndTxn), what, 1)
	before := w.fences.Load()
	until(5*time.Second, func() bool { return w.fences.Load() > before })
	w.traps.clear()
	w.some(5 * time.Second)
	w.undisturb()
}

// fence takes the transactional id of an end: at once, or when that is carried out.
func (w *world) fence(request []byte) {
	end := kmsg.NewPtrEndTxnRequest()
	if !decodeRequest(end, request) {
		w.fail("broker", "an end of a transaction that cannot be read")
		return
	}
	w.fences.Add(1)
	w.tookEffect(string(fencedEnd))
	w.others.Go(func() {
		pass(time.Millisecond) // an end whose answer is lost comes first
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &end.TransactionalID, 10_000, -1, -1
		for ends := time.Now().Add(2 * time.Second); w.ctx.Err() == nil && time.Now().Before(ends); pass(time.Millisecond) {
			if resp, err := req.RequestWith(w.ctx, w.reader.client); err == nil && resp.ErrorCode == 0 {
				w.note("somebody else has taken %s", end.TransactionalID)
				return
			}
		}
	})
}

// failCalls has the next n calls of functions of the topology fail.
func (w *world) failCalls(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.toFail = n
}

func (w *world) topics() []string {
	out := []string{eventsTopic, profilesTopic, "copies", "enriched", "tallies", repartitioned}
	if w.mix == joinedMix {
		out = append(out, echoesTopic)
	}
	for _, s := range w.graph.Stores {
		if !s.Global {
			out = append(out, changelogOf(s.Name))
		}
	}
	slices.Sort(out)
	return out
}

// disturbed2s does f, and gives it two seconds in which nobody has to be punctual.
func (w *world) disturbed2s(f func()) {
	w.disturb()
	f()
	pass(2 * time.Second)
	w.undisturb()
}

// open starts the application for the first time, with what is to happen then.
func (w *world) open() {
	first := func() { w.start(w.newMachine()) }
	switch s := w.plan.opening; s.kind {
	case crashed:
		w.crash.arm(s.point, 1)
		first()
		w.deathAt(s)
	case request:
		w.requests(s, func() {
			first()
			pass(3 * time.Second)
		})
	default:
		first()
	}
	for range w.r.IntN(most) {
		pass(time.Duration(w.r.IntN(2000)) * time.Millisecond)
		w.start(w.newMachine())
	}
	pass(3 * time.Second)
}

func (w *world) join() {
	if len(w.live) == most {
		w.any().stop()
		pass(time.Second)
	}
	w.start(w.idle())
	w.some(8 * time.Second)
	w.tookEffect(string(join_))
}

func (w *world) leave() {
	if len(w.live) < 2 {
		w.start(w.idle())
		pass(8 * time.Second)
	}
	w.any().stop()
	w.some(3 * time.Second)
	w.tookEffect(string(leave))
}

func (w *world) kill(s step) {
	if len(w.live) == 0 {
		w.start(w.idle())
		pass(3 * time.Second)
	}
	p := w.any()
	p.kill()
	w.judgeDead(p.m)
	if w.comeBack(p, s) {
		w.tookEffect("kill, back on " + string(s.back))
	}
}

// comeBack starts a machine again whose process has died. It returns false when there is no older copy.
func (w *world) comeBack(p *process, s step) bool {
	pass(s.away)
	m, ok := p.m, true
	switch s.back {
	case empty:
		m.dir = w.newDir()
	case older:
		if ok = len(m.old) > 0; ok {
			m.dir = w.copyOf(m.old[w.r.IntN(len(m.old))])
		}
	}
	w.start(m)
	w.some(5 * time.Second)
	return ok
}

// keepCopies keeps a copy of each directory, for processes that come back after a power loss.
func (w *world) keepCopies() {
	settle()
	for _, p := range w.live {
		p.m.old = append(p.m.old, w.copyOf(p.m.dir))
	}
}

// crashAt has a process die at a crash point.
func (w *world) crashAt(s step) {
	if len(w.live) == 0 {
		w.start(w.idle())
		pass(5 * time.Second)
	}
	if s.back == older {
		pass(time.Second)
		w.keepCopies()
	}
	switch s.point {
	case crashpoint.RestoreHalf, crashpoint.RestoreDone, crashpoint.TransactionalID:
		if len(w.live) == most {
			w.any().stop()
		}
		m := w.newMachine()
		w.crash.arm(s.point, 1)
		w.start(m)
	case crashpoint.RevokeSettled:
		w.crash.arm(s.point, 1)
		if len(w.live) == most {
			w.live[0].cancel()
		} else {
			w.start(w.idle())
		}
	case crashpoint.StandbyHalf, crashpoint.PromotionBegin, crashpoint.PromotionDone:
		for len(w.live) < 2 {
			w.start(w.idle())
		}
		pass(8 * time.Second) // each has standbys of the others' tasks
		w.crash.arm(s.point, 1)
		if s.point != crashpoint.StandbyHalf {
			w.any().cancel()
		}
	case crashpoint.RewindUndone, crashpoint.RewindAborted, crashpoint.RewindDone:
		w.gaveUp("a task has failed")
		w.crash.arm(s.point, 1)
		w.failCalls(1)
	case crashpoint.AbandonedFound, crashpoint.AbandonedEnded:
		for len(w.live) < 2 {
			w.start(w.idle())
			pass(5 * time.Second)
		}
		w.crash.arm(crashpoint.OffsetsAccepted, 1)
		left := w.victim()
		if left == nil {
			return
		}
		defer func() { w.start(left.m) }()
		w.crash.arm(s.point, 1)
	case crashpoint.StopSettled, crashpoint.AbortOpen:
		w.crash.arm(s.point, 1)
		w.any().cancel()
	default:
		w.crash.arm(s.point, s.nth)
	}
	w.deathAt(s)
}

// deathAt waits until a process has died at the point that is armed, and has it come back.
func (w *world) deathAt(s step) {
	p := w.victim()
	if p == nil {
		return
	}
	if w.comeBack(p, s) {
		w.tookEffect("crash, back on " + string(s.back))
	}
	w.tookEffect("crash at " + s.point.String())
}

// victim waits until a process has died at the point that is armed; nil: none has.
func (w *world) victim() *process {
	var p *process
	select {
	case p = <-w.crash.victim:
	case <-time.After(30 * time.Second):
		if w.crash.disarm() {
			w.note("nobody came to the point")
			w.removeEnded()
			return nil
		}
		p = <-w.crash.victim
	}
	w.gaveUp("a process crashed")
	p.wait()
	w.forget(p)
	w.judgeDead(p.m)
	w.removeEnded()
	return p
}

// removeEnded forgets processes that were asked to stop and have.
func (w *world) removeEnded() {
	w.live = slices.DeleteFunc(w.live, func(p *process) bool {
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
}

// zombie freezes a process until long after others have its tasks, and thaws it.
func (w *world) zombie(s step) {
	for len(w.live) < 2 {
		w.start(w.idle())
		pass(5 * time.Second)
	}
	w.gaveUp("a process was frozen")
	w.mu.Lock()
	w.stale = true
	w.mu.Unlock()
	p := w.any()
	w.disturb()
	p.net.slow(150 * time.Millisecond) // so that something is on its way
	pass(time.Second)
	thaw := p.net.freeze()
	w.note("%s freezes", p.name)
	p.net.slow(w.latency)
	w.undisturb()
	pass(s.away)
	w.disturb()
	if s.silent {
		w.feeder.halt()
		pass(time.Second)
	}
	w.note("%s thaws", p.name)
	thaw()
	pass(5 * time.Second)
	w.undisturb()
	w.tookEffect(string(zombie))
}

// brokerAway takes a broker away: its partitions go to others, its connections break, and it comes back empty-handed.
func (w *world) brokerAway(s step) {
	node := w.r.IntN(brokers)
	w.disturb()
	require.NoError(w.t, w.b.Cluster().RemoveNode(int32(node)))
	for _, net := range w.outside {
		net.interrupt(firstPort + node)
	}
	for _, p := range w.live {
		p.net.interrupt(firstPort + node)
	}
	pass(s.away)
	_, _, err := w.b.Cluster().AddNode(int32(node), firstPort+node)
	require.NoError(w.t, err)
	pass(2 * time.Second)
	w.undisturb()
	w.tookEffect(string(brokerAway))
}

// clusterRestart stops all brokers and starts them again. Who is a member of which group is forgotten.
func (w *world) clusterRestart() {
	w.gaveUp("the brokers have forgotten who is a member")
	w.others.Wait()
	w.disturb()
	w.feeder.halt()
	if w.late != nil {
		w.late.pause()
	}
	settle()
	w.up <- struct{}{}
	require.NoError(w.t, w.b.Restart())
	<-w.up
	if w.late != nil {
		w.late.resume()
	}
	w.feeder.start(w.every)
	pass(3 * time.Second)
	w.undisturb()
	w.tookEffect(string(clusterRestart))
}

func (w *world) slow(s step) {
	w.disturb()
	for _, p := range w.live {
		p.net.slow(time.Duration(10+w.r.IntN(90)) * time.Millisecond)
	}
	pass(s.away)
	for _, p := range w.live {
		p.net.slow(w.latency)
	}
	pass(time.Second)
	w.undisturb()
	w.tookEffect(string(slow))
}

// topLevel are requests whose answer has one code for all of it.
var topLevel = []kmsg.Key{kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.InitProducerID,
	kmsg.AddOffsetsToTxn, kmsg.EndTxn}

// request has some requests of a kind fail, and sees to it that such requests are made. Whatever is still to fail then may do so during
// what comes next.
func (w *world) request(s step) {
	w.endRequests()
	w.requests(s, func() {
		switch s.cell.key {
		case kmsg.OffsetFetch, kmsg.ListOffsets, kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.InitProducerID, kmsg.DescribeConfigs,
			kmsg.Metadata, kmsg.LeaveGroup:
			if len(w.live) > 1 {
				w.any().stop()
			}
			w.start(w.idle())
		}
	})
}

// requests has the requests of a step fail during f, and until that has happened.
func (w *world) requests(s step, f func()) {
	w.disturb()
	hits, end := w.failing(s)
	f()
	limit := 4 * time.Second
	if s.cell.key == kmsg.DeleteRecords {
		limit = 35 * time.Second // those are made every 30 s
	}
	w.endRequests = func() {
		w.endRequests = func() {}
		if hits() > 0 {
			w.tookEffect(s.cell.String())
		}
		end()
		pass(time.Second)
		w.undisturb()
	}
	if s.overlaps {
		until(limit, func() bool { return hits() > 0 })
		return
	}
	until(limit, func() bool { return hits() >= s.n })
	w.endRequests()
}

// some lets some time pass: what comes next may come while things are moving.
func (w *world) some(most time.Duration) { pass(time.Duration(w.r.Int64N(int64(most)))) }

// failing lets requests fail. It returns how many have, and what ends it.
func (w *world) failing(s step) (hits func() int, end func()) {
	if s.cell.loss != loseNothing {
		w.traps.set(int16(s.cell.key), s.cell.loss, s.n)
		return w.traps.hit, func() { w.traps.clear() }
	}
	// The brokers would refuse only what is carried out later, until its transaction has timed out.
	if s.cell.key == kmsg.EndTxn && w.late != nil {
		return w.late.refuse(s.cell.err.Code, s.n)
	}
	f := kfake.Fault{Keys: []kmsg.Key{s.cell.key}, Err: s.cell.err, Count: s.n, TopLevel: slices.Contains(topLevel, s.cell.key), When: notOfReader}
	fs := []kfake.Fault{f}
	if s.cell.key == kmsg.Produce { // not those of the feeder
		fs = nil
		for _, topic := range w.topics() {
			if topic != eventsTopic && topic != profilesTopic {
				f.Topic = topic
				fs = append(fs, f)
			}
		}
	}
	h := w.b.Cluster().Fault(fs...)
	return h.Hits, h.Remove
}
