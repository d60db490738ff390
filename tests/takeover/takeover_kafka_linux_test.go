//go:build kafka

package takeover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// An application is run by Java, Go, Java and Go in turn; and two side by side, on the same broker. There is input all the time: each takes over in mid-load, with open
// windows and sessions, records that wait, partners and foreign keys of which one side came before and one comes after.
func TestKafkaTakeover(t *testing.T) {
	e := newEnvironment(t)
	for _, g := range []millstream.Guarantee{millstream.AtLeastOnce, millstream.ExactlyOnce} {
		for _, killed := range []bool{false, true} {
			how := "stopped"
			if killed {
				how = "killed"
			}
			t.Run(fmt.Sprintf("%v/%s", g, how), func(t *testing.T) {
				t.Parallel()
				e.takeOver(t, g, killed)
			})
		}
	}
	t.Run("SideBySide", func(t *testing.T) {
		t.Parallel()
		e.sideBySide(t)
	})
}

// javaAgain are settings that Java has when it comes back: a group of the protocol of KIP-1071, and rows with headers.
var javaAgain = map[millstream.Guarantee][]string{
	millstream.AtLeastOnce: {"group.protocol=streams"},
	millstream.ExactlyOnce: {"dsl.store.format=headers"},
}

func (e *environment) takeOver(t *testing.T, g millstream.Guarantee, killed bool) {
	ctx := t.Context()
	application := strings.ToLower(strings.NewReplacer("/", "-", "TestKafka", "").Replace(t.Name()))
	prefix := application + "."
	e.createTopics(t, ctx, append(outputTopics(), inputs...), prefix)
	t.Log("seed", *seed)
	r := rand.New(rand.NewPCG(*seed, 1))
	began := time.Now().Add(-10 * time.Minute).Truncate(windowSize)
	w, out := newWriter(t, e.node.Addr, prefix), read(t, e.node.Addr, prefix)

	var written []record
	write := func(rs []record) {
		w.write(t, ctx, rs)
		written = append(written, rs...)
	}
	write(batch(r, began, 0, perBatch))
	dirs := map[string]string{"Java": t.TempDir(), "Go": t.TempDir()}
	c := comparison{}
	var p *process
	var internal []string // topics that the first has made
	complete := func() {
		t.Helper()
		eventually(t, func() string {
			if s := e.behind(t, ctx, application, prefix); s != "" {
				return s
			}
			return c.differ(out.of, model(written))
		}, p)
	}
	// Go is the last one always: when Kafka Streams 4.3.0 starts, it does not send what waits in a join with a grace period from before.
	phases := []string{"Java", "Go", "Java", "Go"}
	if killed && g == millstream.ExactlyOnce { // Java has the topics that Go has made
		phases = phases[1:]
	}
	for i, language := range phases {
		from := time.Now()
		s := settings{Application: application, Broker: e.node.Addr, StateDir: dirs[language], In: prefix, Out: prefix, Guarantee: g}
		if language == "Java" {
			// Java ends with an error as long as a member of another protocol is in the group.
			eventually(t, func() string { return e.members(ctx, application) })
			if i > 1 {
				s.Java = javaAgain[g]
			}
			p = startJava(t, e.java, s)
		} else {
			p = startGo(t, s)
		}
		complete()
		if i == 0 {
			internal = e.internalTopics(t, ctx, application)
		}
		t.Logf("%s has caught up after %v", language, time.Since(from).Round(time.Millisecond))
		first, second := batch(r, began, 2*i+1, perBatch), batch(r, began, 2*i+2, perBatch)
		before := out.count()
		for range 10 { // a load, not a burst
			write(first[:10])
			first = first[10:]
			time.Sleep(5 * time.Millisecond)
		}
		eventually(t, func() string {
			if out.count() == before {
				return "results of the load"
			}
			return ""
		}, p)
		last := i == len(phases)-1
		switch {
		case last:
		case killed:
			for !e.freeze(t, ctx, p, application, g) && len(first) > 5 {
				write(first[:5])
				first = first[5:]
				p.thaw(t)
			}
			p.kill()
			c.repeated = g == millstream.AtLeastOnce
		default:
			p.stop(t)
		}
		write(first)
		write(second)
	}
	complete()
	c.final = true
	e.closeAll(t, ctx, w, began, func() string { return c.differ(out.of, model(written)) }, p)
	p.stop(t)
	require.Empty(t, c.differ(out.of, model(written)))
	require.Equal(t, internal, e.internalTopics(t, ctx, application), "each has the topics that the other has")
}

// freeze stops a process for a moment, and reports whether it has to be killed in it: with exactly once, at one at which it has a
// transaction open.
func (e *environment) freeze(t *testing.T, ctx context.Context, p *process, application string, g millstream.Guarantee) bool {
	t.Helper()
	if g == millstream.AtLeastOnce {
		return true
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	open, err := kafkatest.HasOpenTransaction(ctx, e.admin, application+"-")
	require.NoError(t, err)
	t.Log(p.language, "is frozen, with a transaction open:", open)
	return open
}

func (p *process) thaw(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
}
