//go:build kafka

package takeover

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/tests/kafkatest"
)

var seed = flag.Uint64("seed", rand.Uint64(), "of the input")

// perBatch is how many records a batch has for each input.
const perBatch = 25

type environment struct {
	node  *kafkatest.Node
	java  string
	admin *kgo.Client
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	e := &environment{java: javaProgram(t)}
	e.node = kafkatest.Start(t, kafkatest.Options{JVM: []string{"-Xmx768m"}, Properties: map[string]string{
		// What Java leaves open when it is killed, Java waits for.
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
		// The sessions of streams groups.
		"group.streams.session.timeout.ms": "6000", "group.streams.min.session.timeout.ms": "6000",
		"group.streams.heartbeat.interval.ms": "1000", "group.streams.min.heartbeat.interval.ms": "1000",
	}})
	var err error
	e.admin, err = kgo.NewClient(kgo.SeedBrokers(e.node.Addr))
	require.NoError(t, err)
	t.Cleanup(e.admin.Close)
	return e
}

// closeAll moves time on until there is nothing missing. It does so again and again, since Kafka Streams looks at most once a
// second for what has no partner.
func (e *environment) closeAll(t *testing.T, ctx context.Context, w *writer, began time.Time, what func() string, running ...*process) {
	t.Helper()
	at, next := began.Add(time.Hour/2), time.Now()
	eventually(t, func() string {
		if now := time.Now(); now.After(next) {
			w.close(t, ctx, at)
			at, next = at.Add(time.Second), now.Add(time.Second)
		}
		return what()
	}, running...)
}

// partitions of each topic.
const partitions = 2

func (e *environment) createTopics(t *testing.T, ctx context.Context, names []string, prefix string) {
	t.Helper()
	r := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range names {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = prefix+name, partitions, 1
		r.Topics = append(r.Topics, topic)
	}
	answer, err := r.RequestWith(ctx, e.admin)
	require.NoError(t, err)
	for _, x := range answer.Topics {
		require.Zero(t, x.ErrorCode, x.Topic)
	}
}

// members says that a group has members; "" when it has none.
func (e *environment) members(ctx context.Context, group string) string {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Groups = []string{group}
	answer, err := r.RequestWith(ctx, e.admin)
	if err != nil { // there is no coordinator before the first group
		return err.Error()
	}
	for _, g := range answer.Groups {
		if len(g.Members) > 0 {
			return "the group is " + g.State
		}
	}
	return ""
}

// behind says which input the group has not committed to its end; "" when there is none.
func (e *environment) behind(t *testing.T, ctx context.Context, group, prefix string) string {
	t.Helper()
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	fetch.Groups = append(fetch.Groups, g)
	list := kmsg.NewPtrListOffsetsRequest()
	for _, name := range inputs {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = prefix + name
		for p := range int32(partitions) {
			x := kmsg.NewListOffsetsRequestTopicPartition()
			x.Partition, x.Timestamp, x.CurrentLeaderEpoch = p, -1, -1
			topic.Partitions = append(topic.Partitions, x)
		}
		list.Topics = append(list.Topics, topic)
	}
	committed, err := fetch.RequestWith(ctx, e.admin)
	if err != nil {
		return err.Error()
	}
	ends, err := list.RequestWith(ctx, e.admin)
	require.NoError(t, err)
	at := map[string]int64{}
	for _, g := range committed.Groups {
		for _, topic := range g.Topics {
			for _, p := range topic.Partitions {
				at[fmt.Sprint(topic.Topic, "-", p.Partition)] = p.Offset
			}
		}
	}
	for _, topic := range ends.Topics {
		for _, p := range topic.Partitions {
			require.Zero(t, p.ErrorCode)
			if name := fmt.Sprint(topic.Topic, "-", p.Partition); at[name] < p.Offset {
				return fmt.Sprintf("%s is committed to %d of %d", name, at[name], p.Offset)
			}
		}
	}
	return ""
}

// internalTopics returns the names of the internal topics of an application.
func (e *environment) internalTopics(t *testing.T, ctx context.Context, application string) (names []string) {
	t.Helper()
	r := kmsg.NewPtrMetadataRequest()
	r.Topics = nil // all
	answer, err := r.RequestWith(ctx, e.admin)
	require.NoError(t, err)
	for _, x := range answer.Topics {
		if strings.HasPrefix(*x.Topic, application+"-") {
			names = append(names, *x.Topic)
		}
	}
	slices.Sort(names)
	return names
}
