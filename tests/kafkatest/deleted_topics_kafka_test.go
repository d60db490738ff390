//go:build kafka

package kafkatest_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// An internal topic that was deleted is missed, with the disk and without, and the command in the error makes it. Brokers delete the offsets of a
// group with a topic: what a repartition topic's readers alone remember would be forgotten just then.
func TestKafkaMissingTopics_DeletedInternalTopics(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	topics(t, ctx, n)
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr))
	require.NoError(t, err)
	defer c.Close()
	for _, v := range []string{"a", "b", "a"} {
		require.NoError(t, c.ProduceSync(ctx, &kgo.Record{Topic: "lines", Key: []byte(v), Value: []byte(v)}).FirstErr())
	}
	cfg := childConfig{Application: "deleted", Broker: n.Addr, StateDir: t.TempDir()}.app()
	toEnd(t, ctx, cfg)
	assert.Equal(t, map[string]int64{"a": 2, "b": 1}, latest(t, ctx, n, "counts"))
	refused := func() string {
		top, err := counting()
		require.NoError(t, err)
		app, err := millstream.New(top, cfg)
		require.NoError(t, err)
		err = app.RunToEnd(ctx)
		require.Error(t, err)
		t.Log(err)
		return err.Error()
	}
	tool := func(args ...string) {
		out, err := n.Tool(ctx, "org.apache.kafka.tools.TopicCommand", append([]string{"--bootstrap-server", n.Addr}, args...)...)
		require.NoError(t, err, out)
	}
	for _, topic := range []string{"deleted-words-changelog", "deleted-words-repartition"} {
		tool("--delete", "--topic", topic)
		text := refused()
		assert.Contains(t, text, topic)
		cfg.StateDir = t.TempDir()
		text = refused()
		assert.Contains(t, text, topic)
		command := regexp.MustCompile(`kafka-topics --bootstrap-server \S+ (--create [^;.]*(\.[a-z][^;. ]*)*)`).FindStringSubmatch(text)
		require.NotNil(t, command)
		tool(strings.Fields(command[1])...)
		toEnd(t, ctx, cfg)
	}
}
