//go:build kafka

package kafkatest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// On a real Kafka: a static member that is started again has the tasks that it had, whether it was the leader or not, and the other
// one notices nothing. So does one with another program, whose sub-topologies have other numbers. A second process with the same id
// ends the first.
func TestKafkaStaticMembers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	topics(t, ctx, n)
	var mu sync.Mutex
	var assigned [2][]string
	var cfgs [2]millstream.Config
	var members [2]*member
	for i := range members {
		cfgs[i] = childConfig{Application: "static", Broker: n.Addr, StateDir: t.TempDir()}.app()
		cfgs[i].InstanceID, cfgs[i].SessionTimeout = fmt.Sprintf("pod-%d", i), 5*time.Minute
		cfgs[i].Events.Assigned = func(tasks []string) {
			mu.Lock()
			defer mu.Unlock()
			assigned[i] = append(assigned[i], strings.Join(tasks, " "))
		}
		members[i] = run(t, cfgs[i])
		eventually(t, "it runs", func() bool { return members[i].Ready() == nil })
	}
	for _, m := range members {
		m.has(tasks / 2)
	}
	ids := func(m *member) (out []string) {
		for _, task := range m.Tasks() {
			out = append(out, task.ID)
		}
		return out
	}
	f := feed(t, n, 1)
	for restarted := range members {
		other := 1 - restarted
		had, others := ids(members[restarted]), ids(members[other])
		mu.Lock()
		assigned = [2][]string{}
		mu.Unlock()
		members[restarted].stop()
		began := time.Now()
		members[restarted] = run(t, cfgs[restarted])
		members[restarted].has(tasks / 2)
		t.Logf("member %d has its tasks again after %v", restarted, time.Since(began))
		time.Sleep(5 * time.Second) // for the join that follows
		assert.Equal(t, had, ids(members[restarted]))
		assert.Equal(t, others, ids(members[other]))
		mu.Lock()
		for i, want := range map[int][]string{restarted: had, other: others} {
			assert.Empty(t, slices.DeleteFunc(assigned[i], func(tasks string) bool { return tasks == strings.Join(want, " ") }), i)
		}
		mu.Unlock()
	}
	f.more(t, 1000)

	// Another program: a sub-topology before those of counting.
	members[0].stop()
	b := stream.NewBuilder()
	stream.ForEach(stream.From(b, counts), func(stream.Record[string, int64]) {})
	byValue := stream.GroupBy(stream.From(b, lines), func(_, v string) string { return v })
	stream.To(table.ToStream(table.Count(byValue, "words")), counts)
	top, err := b.Build()
	require.NoError(t, err)
	app, err := millstream.New(top, cfgs[0])
	require.NoError(t, err)
	runCtx, stop := context.WithCancel(ctx)
	members[0] = &member{app, t, stop, make(chan error, 1)}
	go func() { members[0].done <- app.Run(runCtx) }()
	eventually(t, "all tasks of both programs", func() bool {
		return members[0].Ready() == nil && members[1].Ready() == nil && len(members[0].Tasks())+len(members[1].Tasks()) == tasks+partitions
	})
	sum, _ := f.end(t)
	eventually(t, "everything is counted once", func() bool { return assert.ObjectsAreEqual(sum, latest(t, ctx, n, "counts")) })

	cfgs[1].StateDir = t.TempDir()
	second := run(t, cfgs[1])
	require.ErrorContains(t, <-members[1].done, `another process has joined the group with the same Config.InstanceID, "pod-1"`)
	eventually(t, "the second process runs", func() bool { return second.Ready() == nil && len(second.Tasks()) > 0 })
	second.stop()
	members[0].stop()
}
