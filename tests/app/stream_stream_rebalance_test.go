package app_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// streamStreamJoins joins asks with answers, all of both, and what comes of it with the rates of its time, which come late.
func streamStreamJoins(t *testing.T, opts ...store.Option) *topology.Topology {
	b := stream.NewBuilder()
	topic := func(name string) stream.Topic[string, string] {
		return stream.NewTopic(name, serde.String, serde.String)
	}
	pairs := join.StreamStreamOuter(stream.From(b, topic("asks")), stream.From(b, topic("answers")), window.Within(time.Second), "pairs",
		func(ask, answer join.Maybe[string]) string { return ask.Or("none") + " " + answer.Or("none") }, opts...)
	stream.To(pairs, topic("pairs"))
	rates := table.From(b, topic("rates"), "rates", store.Versions(time.Hour))
	rated := join.StreamTableLeft(pairs, rates, "rated", func(pair, rate string, ok bool) string { return fmt.Sprint(pair, " ", rate, ok) },
		join.Grace(5*time.Second))
	stream.To(rated, topic("rated"))
	return build(t, b)
}

// TestStreamStream_Rebalance: each record has its result once, whoever keeps it when its partner comes, its window closes or
// its rate is there.
func TestStreamStream_Rebalance(t *testing.T) {
	for name, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("asks", 4), broker.Topic("answers", 4), broker.Topic("rates", 4),
					broker.Topic("pairs", 4), broker.Topic("rated", 4))
				var pairs, rated []string
				put := func(topic string, p int, value string, at int64) {
					r := broker.Record{Partition: int32(p), Key: []byte(keyOf(p, 4)), Value: []byte(value), Time: time.UnixMilli(at)}
					require.NoError(t, b.Produce(t.Context(), topic, r))
				}
				second := 0
				feed := func(seconds int, last bool) {
					for range seconds {
						at := int64(second) * 10_000
						for p := range 4 {
							ask, answer, rate := fmt.Sprint("ask", second), fmt.Sprint("answer", second), fmt.Sprint("rate", second)
							switch second % 3 {
							case 0:
								put("asks", p, ask, at)
								put("answers", p, answer, at+900)
								pairs = append(pairs, ask+" "+answer)
							case 1:
								put("asks", p, ask, at)
								answer = "none"
							case 2:
								put("answers", p, answer, at)
								ask = "none"
							}
							if second%3 != 0 {
								pairs = append(pairs, ask+" "+answer)
							}
							put("rates", p, rate, at) // of the time that has passed when it comes
							if !last {
								rated = append(rated, fmt.Sprint(ask, " ", answer, " ", rate, true))
							}
						}
						second++
						time.Sleep(200 * time.Millisecond)
					}
				}
				cfg := config(t, b)
				first := start(t, streamStreamJoins(t, opts...), cfg)
				feed(21, false)
				cfg.StateDir = t.TempDir()
				other := start(t, streamStreamJoins(t, opts...), cfg)
				feed(60, false)
				assert.NotEmpty(t, other.Tasks())
				first.stop()
				feed(60, false)
				feed(1, true) // a pair, which shows that the windows of all before it have closed
				other.stopAfter(20 * time.Second)
				assert.ElementsMatch(t, pairs, valuesIn(t, b, "pairs"))
				assert.ElementsMatch(t, rated, valuesIn(t, b, "rated"), "all but the last, which wait")
			})
		})
	}
}

func valuesIn(t *testing.T, b *broker.Broker, topic string) []string {
	rs, err := b.Read(t.Context(), topic)
	require.NoError(t, err)
	var out []string
	for _, r := range rs {
		out = append(out, string(r.Value))
	}
	slices.Sort(out)
	return out
}
