//go:build kafka

package kafkatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// A topic of Kafka's defaults takes no times that are more than an hour ahead. The policy of production gets the input record, the error
// names the setting, and the dead letter is written with another time.
func TestKafkaRecordTimes_RefusedByTopic(t *testing.T) {
	addr := kafkatest.Start(t, kafkatest.Options{}).Addr
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10000
	for _, name := range []string{"in", "out", "dead"} {
		x := kmsg.NewCreateTopicsRequestTopic()
		x.Topic, x.NumPartitions, x.ReplicationFactor = name, 1, 1
		req.Topics = append(req.Topics, x)
	}
	_, err = cl.Request(t.Context(), req)
	require.NoError(t, err)
	records := []*kgo.Record{{Topic: "in", Value: []byte("ahead")}, {Topic: "in", Value: []byte("now")}}
	require.NoError(t, cl.ProduceSync(t.Context(), records...).FirstErr())

	b := stream.NewBuilder()
	in := stream.NewTopic("in", serde.String, serde.String).Timestamp(func(r stream.Record[string, string], _ time.Time) (time.Time, bool) {
		if r.Value == "ahead" {
			return time.Now().Add(48 * time.Hour), true
		}
		return r.Time, true
	})
	stream.To(stream.From(b, in), stream.NewTopic("out", serde.String, serde.String))
	top, err := b.Build()
	require.NoError(t, err)
	var reports []failure.Report
	var values []string
	app, err := millstream.New(top, millstream.Config{
		ApplicationID: "refused", Brokers: []string{addr}, StateDir: t.TempDir(), OnProduceError: failure.DeadLetter("dead"),
		Events: millstream.Events{Failure: func(r failure.Report) { reports, values = append(reports, r), append(values, string(r.Value)) }},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, app.RunToEnd(ctx))
	require.Equal(t, []string{"ahead"}, values)
	assert.ErrorContains(t, reports[0].Err, "message.timestamp.after.max.ms of the topic is 3600000")

	reader, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("out", "dead"))
	require.NoError(t, err)
	defer reader.Close()
	got := map[string]string{}
	for len(got) < 2 {
		f := reader.PollFetches(ctx)
		require.NoError(t, f.Err())
		f.EachRecord(func(r *kgo.Record) { got[r.Topic] += string(r.Value) })
	}
	assert.Equal(t, map[string]string{"out": "now", "dead": "ahead"}, got)
}
