package millstream_test

import (
	"bytes"
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
func TestRefusedRecordsGoToTheirPolicy(t *testing.T) {
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
func TestRowTooLargeForItsChangelog(t *testing.T) {
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

// Another process writes into a changelog: the owner notices when it writes next, and writes its own rows again.
func TestForeignWriteIsWrittenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := config(t, b)
		m := start(t, simple(t), cfg)
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("a")}, broker.Record{Key: []byte("a"), Value: []byte("1")}, broker.Record{Key: []byte("b"), Value: []byte("1")}))
		await(t, b, "counts", 2)
		time.Sleep(time.Second)
		wrong := bytes.Repeat([]byte{9}, 8)
		require.NoError(t, b.Produce(t.Context(), "app-counts-changelog", broker.Record{Key: []byte("a"), Value: wrong}, broker.Record{Key: []byte("z"), Value: wrong}))
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("b"), Value: []byte("1")}))
		time.Sleep(time.Second)
		m.stop()
		rs, err := b.Read(t.Context(), "app-counts-changelog")
		require.NoError(t, err)
		last := map[string][]byte{}
		for _, r := range rs {
			last[string(r.Key)] = r.Value
		}
		assert.Equal(t, byte(1), last["a"][7], "its own row again")
		assert.Equal(t, byte(2), last["b"][7])
		assert.Nil(t, last["z"], "deleted: the owner has no such row")
	})
}
