package group

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app = "app"

// cluster is a cluster and the processes of an application, in one bubble.
type cluster struct {
	t       *testing.T
	broker  *broker.Broker
	brokers []string
	dial    broker.Dialer
	graph   *graph.Graph
	every   time.Duration // between commits of a task

	mu      sync.Mutex
	running map[graph.TaskID]map[*process]bool
	doubles []string // tasks that ran at two members that were both allowed to send
	all     []*process
}

// simulate runs f with three brokers and a topic "in" of four partitions, which the application
// reads.
func simulate(t *testing.T, f func(w *cluster)) {
	t.Helper()
	simulateGraph(t, plain("in"), f)
}

func simulateGraph(t *testing.T, g *graph.Graph, f func(w *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.New(broker.Brokers(3), broker.Virtual(), broker.Topic("in", 4))
		require.NoError(t, err)
		defer b.Close()
		w := &cluster{
			t: t, broker: b, brokers: b.Brokers(), dial: b.Dialer(), graph: g, every: 50 * time.Millisecond,
			running: map[graph.TaskID]map[*process]bool{},
		}
		defer w.closeAll()
		f(w)
		w.mu.Lock()
		defer w.mu.Unlock()
		assert.Empty(t, w.doubles)
	})
}

// closeAll shows what a failed test left, and ends it.
func (w *cluster) closeAll() {
	for _, p := range w.all {
		if w.t.Failed() {
			w.t.Logf("%s: %d tasks, membership %+v, health %v\n%s",
				p.name, p.count(), p.group.Membership(), p.group.Healthy(), strings.Join(p.log, "\n"))
		}
		if !p.ended {
			p.net.disconnect()
			p.cancel()
			_ = p.end()
		}
	}
}

// plain is a topology that reads topics in one sub-topology each.
func plain(names ...string) *graph.Graph {
	g := &graph.Graph{}
	for i, name := range names {
		n := &graph.Node{Name: name, Kind: graph.Source, Subtopology: i, Source: &graph.SourceSpec{Topics: []string{name}}}
		g.Nodes = append(g.Nodes, n)
		g.Subtopologies = append(g.Subtopologies, &graph.Subtopology{ID: i, Nodes: []*graph.Node{n}})
	}
	return g
}

func matching(pattern string) *graph.Graph {
	g := plain("pattern")
	g.Nodes[0].Source = &graph.SourceSpec{Pattern: pattern}
	return g
}

func (w *cluster) until(what string, f func() bool) time.Duration {
	w.t.Helper()
	begin := time.Now()
	for !f() {
		if time.Since(begin) > 3*time.Minute {
			require.FailNow(w.t, "not in time: "+what)
		}
		time.Sleep(5 * time.Millisecond) // virtual: what else goes on decides how long that is
	}
	return time.Since(begin)
}

// pass lets virtual time go by.
func pass(d time.Duration) { time.Sleep(d) }

// fault has the brokers answer one or more requests with an error.
func (w *cluster) fault(f kfake.Fault) *kfake.FaultHandle { return w.broker.Cluster().Fault(f) }
