//go:build kafka

package group

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// Members of a group on a real Kafka come, die and go, tasks that are kept run on, and Kafka's own
// tool shows who reads what.
func TestKafkaGroup(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{Properties: map[string]string{"group.initial.rebalance.delay.ms": "0"}})
	c, err := sarama.New(sarama.Config{Brokers: []string{n.Addr}})
	require.NoError(t, err)
	defer c.Close()
	admin, err := c.Admin()
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.CreateTopic(ctx, kafka.TopicSpec{Name: "in", Partitions: 4}))
	w := &cluster{
		t: t, brokers: []string{n.Addr}, dial: (&net.Dialer{}).DialContext, graph: plain("in"),
		every: 50 * time.Millisecond, running: map[graph.TaskID]map[*process]bool{},
	}
	defer w.closeAll()
	show := func() string {
		out, err := n.Tool(ctx, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
			"--bootstrap-server", n.Addr, "--describe", "--group", app)
		require.NoError(t, err)
		return out
	}

	// A member that is dead is waited for longer than a busy machine may stop another one.
	const sessionTimeout = 30 * time.Second
	session := func(c *Config) { c.SessionTimeout = sessionTimeout }
	a, b := w.pair(session)
	assert.Equal(t, 2, strings.Count(show(), a.group.Membership().Member))
	assert.Equal(t, 2, strings.Count(show(), b.group.Membership().Member))

	d := w.start("c", session)
	d.has(1)
	before := b.group.Membership().Generation
	b.group.Rejoin("a test wants it")
	w.until("the group has rebalanced, and each task runs", func() bool {
		return b.group.Membership().Generation > before && a.count()+b.count()+d.count() == 4
	})
	d.stop()
	a.has(2)
	b.has(2)
	pass(2 * time.Second)
	t.Logf("longest pauses of commits: %v and %v", a.longest(), b.longest())
	assert.Zero(t, a.lostTasks+b.lostTasks)

	// While b is dead and not given up, another member joins: the coordinator makes all wait for b,
	// and a's tasks run on.
	b.kill()
	e := w.start("e", session)
	e.has(2)
	took := a.longest()
	t.Logf("longest pause while a dead member was waited for: %v", took)
	assert.Less(t, took, sessionTimeout, "not as long as it is waited for")
	assert.Zero(t, a.lostTasks)

	thaw := e.net.freeze()
	a.has(4)
	assert.ErrorIs(t, e.group.Allowed(), ErrSession)
	thaw()
	e.losesTasks(2)
	e.has(2)
	a.has(2)
	a.stop()
	e.has(4)
	assert.Equal(t, 4, strings.Count(show(), e.group.Membership().Member))
	e.stop()
	assert.Empty(t, w.doubles)
}
