package group

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var seed = flag.Uint64("seed", 0, "seed of one random history to repeat; 0 takes others each time")

// Members come, go, die, freeze and are answered with errors. At no time do two members that may
// send run one task, and when it is quiet each task runs once.
func TestGroup_RandomHistories(t *testing.T) {
	n := 12
	if testing.Short() {
		n = 4
	}
	for range n {
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			simulateGraph(t, plain("in", "more"), func(w *cluster) {
				require.NoError(t, w.broker.CreateTopic("more", 3))
				w.every = 200 * time.Millisecond
				h := &history{cluster: w, random: rand.New(rand.NewPCG(s, 0))}
				for range 15 {
					h.step()
					pass(time.Duration(h.random.IntN(6000)) * time.Millisecond)
				}
				h.calm()
			})
		})
	}
}

type history struct {
	cluster *cluster
	random  *rand.Rand
	live    []*process
	thaws   []func()
	started int
}

var keys = []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetCommit, kmsg.FindCoordinator}

var answers = []*kerr.Error{
	kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.UnknownServerError,
	kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.UnknownMemberID,
}

func (h *history) step() {
	what := h.random.IntN(9)
	if len(h.live) == 0 || what < 2 && len(h.live) < 4 {
		h.started++
		h.live = append(h.live, h.cluster.start(fmt.Sprintf("p%d", h.started)))
		return
	}
	i := h.random.IntN(len(h.live))
	p := h.live[i]
	switch what {
	case 2:
		h.live = slices.Delete(h.live, i, i+1)
		h.thaw() // a stop needs its connections
		p.stop()
	case 3:
		// kfake keeps a member for ever whose connection is gone when its first join is answered; a
		// broker gives it a session.
		if p.group.Membership().Generation < 0 {
			return
		}
		h.live = slices.Delete(h.live, i, i+1)
		p.kill()
	case 4:
		h.thaws = append(h.thaws, p.net.freeze())
	case 5:
		h.thaw()
	case 6:
		key := keys[h.random.IntN(len(keys))]
		h.cluster.fault(kfake.Fault{
			Keys: []kmsg.Key{key}, Err: answers[h.random.IntN(len(answers))], TopLevel: key != kmsg.OffsetCommit,
			Count: 1 + h.random.IntN(5),
		})
	case 7:
		p.net.interrupt()
	case 8:
		p.group.Rejoin("a test wants it")
		h.cluster.broker.Cluster().RehashCoordinators()
	}
}

func (h *history) thaw() {
	for _, f := range h.thaws {
		f()
	}
	h.thaws = nil
}

// calm ends all faults; then the members must agree.
func (h *history) calm() {
	h.thaw()
	pass(90 * time.Second) // faults that are left are met meanwhile
	if len(h.live) > 0 {
		h.cluster.until("each task runs once", func() bool {
			n := 0
			for _, p := range h.live {
				n += p.count()
			}
			return n == 7
		})
	}
	for _, p := range h.live {
		p.longest()
	}
	pass(30 * time.Second)
	for _, p := range h.live {
		require.Less(h.cluster.t, p.longest(), time.Second)
		require.NoError(h.cluster.t, p.group.Healthy())
		require.InDelta(h.cluster.t, 7/float64(len(h.live)), p.count(), 1)
	}
	for _, p := range h.live {
		p.stop()
	}
}
