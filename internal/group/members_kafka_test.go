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
	"github.com/millstream-go/millstream/internal/kafkatest"
)

// Members of a group on a real Kafka come, die and go, tasks that are kept run on, and Kafka's own tool shows who reads what.
func TestKafkaMembers(t *testing.T) {
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
	w := &world{
		t: t, brokers: []string{n.Addr}, dial: (&net.Dialer{}).DialContext, g: plain("in"), every: 50 * time.Millisecond, running: map[graph.TaskID]map[*process]bool{},
	}
	defer w.bury()
	show := func() string {
		out, err := n.Tool(ctx, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
			"--bootstrap-server", n.Addr, "--describe", "--group", app)
		require.NoError(t, err)
		return out
	}

	a, b := w.pair()
	assert.Equal(t, 2, strings.Count(show(), a.g.Membership().Member))
	assert.Equal(t, 2, strings.Count(show(), b.g.Membership().Member))

	d := w.start("c")
	d.has(1)
	b.g.Rejoin("a test wants it")
	pass(4 * time.Second)
	assert.Equal(t, 4, a.count()+b.count()+d.count())
	d.stop()
	a.has(2)
	b.has(2)
	pass(2 * time.Second)
	t.Logf("longest pauses of commits: %v and %v", a.longest(), b.longest())
	assert.Zero(t, a.lost+b.lost)

	// While b is dead and not given up, another member joins: the coordinator makes all wait for b, and a's tasks run on.
	b.kill()
	e := w.start("e")
	e.has(2)
	took := a.longest()
	t.Logf("longest pause while a dead member was waited for: %v", took)
	assert.Less(t, took, 2*time.Second)
	assert.Zero(t, a.lost)

	thaw := e.net.freeze()
	a.has(4)
	assert.ErrorIs(t, e.g.Allowed(), ErrSession)
	thaw()
	e.loses(2)
	e.has(2)
	a.has(2)
	a.stop()
	e.has(4)
	assert.Equal(t, 4, strings.Count(show(), e.g.Membership().Member))
	e.stop()
	assert.Empty(t, w.doubles)
}
