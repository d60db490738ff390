package app_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// A broker refuses records after they were sent: the policy of production decides, and offsets wait for what comes of that.
func TestProduceError_GoesToPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		policy failure.Policy
		err    string
	}{
		"stop":        {failure.Stop(), "too large"},
		"skip":        {failure.Skip(), ""},
		"dead letter": {failure.DeadLetter("dead"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("dead", 1))
				b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "out", Err: kerr.MessageTooLarge, Count: 1})
				cfg := config(t, b)
				cfg.OnProduceError = c.policy
				write(t, b, "in", 0, 1)
				m := start(t, upper(t), cfg)
				if c.err != "" {
					require.ErrorContains(t, <-m.done, c.err)
					assert.Zero(t, committed(t, b, "app", "in"))
					return
				}
				time.Sleep(time.Second)
				write(t, b, "in", 1, 1)
				await(t, b, "out", 1)
				if name == "dead letter" {
					letters := await(t, b, "dead", 1)
					assert.Equal(t, "V0", string(letters[0].Value), "what was to be written")
				}
				m.stop()
				assert.EqualValues(t, 2, committed(t, b, "app", "in"))
				assert.EqualValues(t, 1, m.Stats().Dropped["record could not be written"])
			})
		})
	}
}

// A row that its changelog would refuse fails where the record is at hand.
func TestProduceError_RowTooLargeForChangelog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("dead", 1))
		builder := stream.NewBuilder()
		joined := table.Aggregate(stream.GroupByKey(stream.From(builder, in)), "joined",
			func() string { return "" }, func(_, v, a string) string { return a + v })
		stream.To(table.ToStream(joined), out)
		cfg := config(t, b)
		cfg.TopicConfig = map[string]string{"max.message.bytes": "1000"}
		cfg.OnProduceError = failure.DeadLetter("dead")
		m := start(t, build(t, builder), cfg)
		long := strings.Repeat("x", 500)
		for _, v := range []string{long, long, "y"} {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte(v)}))
		}
		letters := await(t, b, "dead", 1)
		assert.Equal(t, long, string(letters[0].Value))
		assert.Contains(t, headers(letters[0]), "does not fit the changelog")
		rs := await(t, b, "out", 2)
		assert.Equal(t, long+"y", string(rs[1].Value))
		m.stop()
		assert.EqualValues(t, 3, committed(t, b, "app", "in"))
	})
}

// A record that is not of the sink which chooses its topics is nothing for the policy of that sink to skip: a row of a store, a
// record on its way to the next sub-topology, and a dead letter are the only copy there is.
func TestProduceError_NothingElseGoesToChoosingSink(t *testing.T) {
	for topic, value := range map[string]string{"app-n-changelog": "good", "app-by-repartition": "good", "dead": "bad"} {
		t.Run(topic, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("dead", 1))
				builder := stream.NewBuilder()
				checked := stream.TryMapValues(stream.From(builder, in), func(_ context.Context, r stream.Record[string, string]) (string, error) {
					if r.Value == "bad" {
						return "", errors.New("is bad")
					}
					return r.Value, nil
				}).OnError(failure.DeadLetter("dead"))
				counted := table.ToStream(table.Count(stream.GroupByKey(checked), "n"))
				again := stream.Repartition(stream.MapValues(counted, func(n int64) string { return strconv.FormatInt(n, 10) }), "by")
				stream.ToFunc(stream.Merge(checked, again), out, func(stream.Record[string, string]) string { return "out" }).OnError(failure.Skip())
				m := start(t, build(t, builder), config(t, b))
				write(t, b, "in", 0, 1)
				await(t, b, "out", 2)
				time.Sleep(time.Second) // until the commit
				b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.MessageTooLarge, Count: 1})
				require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte(value)}))
				require.ErrorContains(t, <-m.done, "too large")
				assert.EqualValues(t, 1, committed(t, b, "app", "in"))
			})
		})
	}
}
