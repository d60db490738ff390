package topics

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster with an admin, in a bubble.
type world struct {
	t     *testing.T
	ctx   context.Context
	b     *broker.Broker
	admin kafka.Admin
}

// simulate runs f with topics given as "name:partitions".
func simulate(t *testing.T, topics []string, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.New(broker.Virtual(), broker.Brokers(3))
		require.NoError(t, err)
		defer b.Close()
		for _, s := range topics {
			name, n, _ := strings.Cut(s, ":")
			var count int
			_, err := fmt.Sscan(n, &count)
			require.NoError(t, err)
			require.NoError(t, b.CreateTopic(name, count))
		}
		c, err := sarama.New(sarama.Config{Brokers: b.Brokers(), Dialer: b.Dialer()})
		require.NoError(t, err)
		defer c.Close()
		admin, err := c.Admin()
		require.NoError(t, err)
		defer admin.Close()
		f(&world{t: t, ctx: t.Context(), b: b, admin: admin})
	})
}

func (w *world) plan(g *graph.Graph) (*Deployment, error) {
	return New(g, Config{Application: "app"}, w.admin).Deploy(w.ctx)
}

// refused plans g and returns the text of the error, which must be one that no retry cures.
func (w *world) refused(g *graph.Graph) string {
	w.t.Helper()
	_, err := w.plan(g)
	require.ErrorIs(w.t, err, ErrInvalid)
	return err.Error()
}

// builder makes graphs, a sub-topology per call of sub.
type builder struct{ g *graph.Graph }

func build() *builder { return &builder{&graph.Graph{}} }

func (b *builder) topic(name string, partitions int) *builder {
	b.g.Topics = append(b.g.Topics, &graph.Topic{Name: name, Partitions: partitions, Pos: "main.go:" + fmt.Sprint(len(b.g.Topics)+1)})
	return b
}

// sub adds a sub-topology: "<topic" reads, "~pattern" reads by pattern, ">topic" writes an internal
// topic, "=store" keeps state.
func (b *builder) sub(parts ...string) *builder {
	s := &graph.Subtopology{ID: len(b.g.Subtopologies)}
	b.g.Subtopologies = append(b.g.Subtopologies, s)
	internal := func(name string) bool {
		for _, t := range b.g.Topics {
			if t.Name == name {
				return true
			}
		}
		return false
	}
	for _, p := range parts {
		n := &graph.Node{Name: fmt.Sprint(p, s.ID), Subtopology: s.ID}
		switch name := p[1:]; p[0] {
		case '<':
			n.Kind, n.Source = graph.Source, &graph.SourceSpec{Topics: []string{name}, Internal: internal(name)}
		case '~':
			n.Kind, n.Source = graph.Source, &graph.SourceSpec{Pattern: name}
		case '>':
			n.Kind, n.Sink = graph.Sink, &graph.SinkSpec{Topic: name, Internal: internal(name)}
		case '=':
			st := &graph.Store{Name: name, Changelog: true, Subtopology: s.ID}
			b.g.Stores = append(b.g.Stores, st)
			s.Stores = append(s.Stores, st)
			continue
		}
		b.g.Nodes = append(b.g.Nodes, n)
		s.Nodes = append(s.Nodes, n)
	}
	return b
}

func (b *builder) together(topics ...string) *builder {
	b.g.CoPartitioned = append(b.g.CoPartitioned, topics)
	return b
}

func TestDeploy(t *testing.T) {
	simulate(t, []string{"clicks:6", "users:3", "other:2"}, func(w *world) {
		g := build().topic("by-user-repartition", 0).
			sub("<clicks", ">by-user-repartition").
			sub("<by-user-repartition", "<users", "=counts", "=joined").together("by-user-repartition", "users").g
		g.Stores[1].Changelog = false
		p, err := w.plan(g)
		require.NoError(t, err)

		assert.Equal(t, []string{"app-by-user-repartition"}, p.Repartition)
		assert.True(t, p.IsRepartition("app-by-user-repartition"))
		assert.False(t, p.IsRepartition("clicks"))
		assert.Equal(t, []string{"app-by-user-repartition", "clicks", "users"}, p.Subscription())
		assert.Equal(t, 6, p.Subtopologies[0].TaskCount)
		assert.Equal(t, 3, p.Subtopologies[1].TaskCount, "as many as users has: they are joined")
		assert.Equal(t, 3, p.Topics["app-by-user-repartition"].Partitions)
		assert.NotZero(t, p.Topics["app-counts-changelog"].ID)
		assert.Equal(t, []string{"counts", "joined"}, p.Descriptions()[1].Stores)
		assert.Equal(t, g.Nodes[2], p.Source("app-by-user-repartition"))
		assert.Nil(t, p.Source("other"))

		tasks := p.Tasks()
		require.Len(t, tasks, 9)
		assert.Equal(t, Task{
			ID:         graph.TaskID{Subtopology: 1, Partition: 2},
			Inputs:     []kafka.TopicPartition{{Topic: "app-by-user-repartition", Partition: 2}, {Topic: "users", Partition: 2}},
			Changelogs: map[string]kafka.TopicPartition{"counts": {Topic: "app-counts-changelog", Partition: 2}},
		}, tasks[8])
		assert.Empty(t, p.Task(graph.TaskID{Subtopology: 7}).Inputs)
	})
}

func TestDeploy_GlobalTopicsAreNotInTheSubscription(t *testing.T) {
	simulate(t, []string{"clicks:6", "names:3"}, func(w *world) {
		g := build().sub("<clicks", "=counts").sub("<names", "=names").g
		g.Subtopologies[1].Global, g.Stores[1].Global, g.Stores[1].SourceTopic, g.Stores[1].Changelog = true, true, "names", false
		p, err := w.plan(g)
		require.NoError(t, err)
		assert.Equal(t, []string{"clicks"}, p.Subscription())
		assert.Zero(t, p.Subtopologies[1].TaskCount)
		assert.Empty(t, p.Descriptions()[1], "no member has anything to say of it")
		assert.Len(t, p.Tasks(), 6)
		assert.Equal(t, 3, p.Topics["names"].Partitions)
		assert.NotContains(t, p.Topics, "app-names-changelog")

		g.Nodes[1].Source.Topics = []string{"nobody"}
		assert.Contains(t, w.refused(g), `"nobody"`)
	})
}

func TestDeploy_SourceAsChangelogMustNotDelete(t *testing.T) {
	simulate(t, []string{"rows:2"}, func(w *world) {
		require.NoError(t, w.b.CreateTopic("kept", 2, "cleanup.policy=compact"))
		g := build().sub("<rows", "=rows").sub("<kept", "=kept").g
		for _, s := range g.Stores {
			s.SourceTopic, s.Changelog = s.Name, false
		}
		text := w.refused(g)
		assert.Contains(t, text, `topic "rows" has cleanup.policy=delete, but store "rows"`)
		assert.NotContains(t, text, `"kept"`)
		for _, s := range g.Stores {
			s.Global = true // a global table is what its topic holds
		}
		_, err := w.plan(g)
		require.NoError(t, err)
	})
}

func TestInternalTopics_ConfiguredAsInKafkaStreams(t *testing.T) {
	simulate(t, []string{"in:2"}, func(w *world) {
		g := build().topic("r-repartition", 5).sub("<in", ">r-repartition").sub("<r-repartition", "=s").g
		g.Stores[0].Config = map[string]string{"max.message.bytes": "2000000"}
		p := New(g, Config{Application: "app", Replication: 3, TopicConfig: map[string]string{"min.insync.replicas": "2", "max.message.bytes": "1"}}, w.admin)
		plan, err := p.Deploy(w.ctx)
		require.NoError(t, err)
		assert.Equal(t, 5, plan.Topics["app-r-repartition"].Partitions)
		assert.Equal(t, 5, plan.Topics["app-s-changelog"].Partitions)
		for topic, want := range map[string]map[string]string{
			"app-r-repartition": {"cleanup.policy": "delete", "retention.ms": "-1", "segment.bytes": "52428800", "message.timestamp.type": "CreateTime",
				"min.insync.replicas": "2", "max.message.bytes": "1"},
			"app-s-changelog": {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime", "min.insync.replicas": "2", "max.message.bytes": "2000000"},
		} {
			got, err := w.admin.TopicConfig(w.ctx, topic)
			require.NoError(t, err)
			for k, v := range want {
				assert.Equal(t, v, got[k], "%s of %s", k, topic)
			}
		}
		again, err := p.Deploy(w.ctx)
		require.NoError(t, err)
		assert.Equal(t, plan.Topics, again.Topics)
	})
}

func TestInternalTopics_ChangelogRetention(t *testing.T) {
	for _, c := range []struct {
		kind     graph.StoreKind
		want     map[string]string
		short    string // of the settings that must not be less
		compact  string // what that means nothing for
		keepsFor time.Duration
		says     string
	}{
		{graph.Window, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1"}, "retention.ms", "compact", time.Hour, "3600000 ms"},
		{graph.Session, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1"}, "retention.ms", "compact", time.Hour, "3600000 ms"},
		{graph.Versioned, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1", "min.compaction.lag.ms": "9223372036854775807"},
			"min.compaction.lag.ms", "", time.Millisecond, "1 ms"},
		{graph.Versioned, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1"}, "retention.ms", "", time.Millisecond, "ever"},
	} {
		simulate(t, []string{"in:1"}, func(w *world) {
			g := build().sub("<in", "=s").g
			g.Stores[0].Kind, g.Stores[0].Retention = c.kind, c.keepsFor
			_, err := New(g, Config{Application: "app"}, w.admin).Deploy(w.ctx)
			require.NoError(t, err)
			w.configured("app-s-changelog", c.want)
			g.Stores[0].Config = map[string]string{c.short: "0"}
			_, err = New(g, Config{Application: "short", Brokers: []string{"b1:9092", "b2:9092"}}, w.admin).Deploy(w.ctx)
			require.ErrorContains(t, err, c.short+"=0, but its store keeps rows for "+c.says)
			require.ErrorContains(t, err, "kafka-configs --bootstrap-server b1:9092,b2:9092 --alter --entity-type topics --entity-name short-s-changelog --add-config "+c.short+"=")
			if c.compact != "" {
				g.Stores[0].Config["cleanup.policy"] = c.compact
				_, err = New(g, Config{Application: "compact"}, w.admin).Deploy(w.ctx)
				assert.NoError(t, err)
			}
		})
	}
}

// An input that has got more partitions leaves the repartition topic behind it as it is, with the
// state that is placed by it.
func TestInternalTopics_RepartitionKeepsItsPartitions(t *testing.T) {
	simulate(t, []string{"in:2", "small:1"}, func(w *world) {
		g := build().topic("r-repartition", 0).sub("<in", ">r-repartition").sub("<r-repartition", "=s").g
		_, err := w.plan(g)
		require.NoError(t, err)
		w.grow("in", 5)
		p, err := w.plan(g)
		require.NoError(t, err)
		assert.Equal(t, []int{5, 2}, []int{p.Subtopologies[0].TaskCount, p.Subtopologies[1].TaskCount})

		g.CoPartitioned = [][]string{{"r-repartition", "small"}}
		g.Nodes = append(g.Nodes, build().sub("<small").g.Nodes...)
		text := w.refused(g)
		assert.Contains(t, text, `"app-r-repartition" has 2 partitions, but the topology needs 1`)
	})
}

func (w *world) grow(topic string, partitions int) {
	w.t.Helper()
	require.NoError(w.t, w.b.AddPartitions(w.ctx, topic, partitions))
}

func (w *world) configured(topic string, want map[string]string) {
	w.t.Helper()
	got, err := w.admin.TopicConfig(w.ctx, topic)
	require.NoError(w.t, err)
	for k, v := range want {
		assert.Equal(w.t, v, got[k], "%s of %s", k, topic)
	}
}

// What Config.TopicConfig says of deletion is not for versioned stores, whose latest versions never
// get old.
func TestInternalTopics_VersionsIgnoreConfiguredRetention(t *testing.T) {
	simulate(t, []string{"in:1"}, func(w *world) {
		g := build().sub("<in", "=v", "=w").g
		g.Stores[0].Kind, g.Stores[1].Kind, g.Stores[1].Retention = graph.Versioned, graph.Window, time.Second
		_, err := New(g, Config{Application: "app", TopicConfig: map[string]string{"retention.ms": "5000", "retention.bytes": "7"}}, w.admin).Deploy(w.ctx)
		require.NoError(t, err)
		w.configured("app-v-changelog", map[string]string{"retention.ms": "-1", "retention.bytes": "-1"})
		w.configured("app-w-changelog", map[string]string{"retention.ms": "5000", "retention.bytes": "7"})
	})
}

// refuseConfigs makes the cluster one that does not know some settings of topics.
func (w *world) refuseConfigs(unknown ...string) {
	k := w.b.Cluster()
	k.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		req := r.(*kmsg.CreateTopicsRequest)
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, x := range req.Topics {
			for _, c := range x.Configs {
				if slices.Contains(unknown, c.Name) {
					s := kmsg.NewCreateTopicsResponseTopic()
					s.Topic, s.ErrorCode, s.ErrorMessage = x.Topic, kerr.InvalidConfig.Code, kmsg.StringPtr("Unknown topic config name: "+c.Name)
					resp.Topics = append(resp.Topics, s)
				}
			}
		}
		return resp, nil, len(resp.Topics) > 0
	})
}

// Brokers before Kafka 3.6 have another setting for the times that they take, and refuse to create
// a topic with one that they do not know.
func TestInternalTopics_AcceptAnyTimestamp(t *testing.T) {
	const longest = "9223372036854775807"
	const after, before, difference = "message.timestamp.after.max.ms", "message.timestamp.before.max.ms", "message.timestamp.difference.max.ms"
	for name, c := range map[string]struct {
		unknown []string
		want    map[string]string
	}{
		"as in Kafka 3.6": {nil, map[string]string{after: longest, before: longest}},
		"older":           {[]string{after, before}, map[string]string{after: "", difference: longest}},
		"knows none":      {[]string{after, before, difference}, map[string]string{after: "", before: "", difference: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, []string{"in:1"}, func(w *world) {
				w.refuseConfigs(c.unknown...)
				_, err := w.plan(build().topic("r-repartition", 2).sub("<in", ">r-repartition").sub("<r-repartition", "=s").g)
				require.NoError(t, err)
				w.configured("app-r-repartition", c.want)
				w.configured("app-s-changelog", c.want)
			})
		})
	}
	simulate(t, []string{"in:1"}, func(w *world) {
		w.refuseConfigs("no.such.setting")
		_, err := New(build().sub("<in", "=s").g, Config{Application: "app", TopicConfig: map[string]string{"no.such.setting": "1"}}, w.admin).Deploy(w.ctx)
		require.ErrorContains(t, err, "Unknown topic config name: no.such.setting")
	})
}

// Topics of a Java application, or of an earlier version of this library, lose by the broker's
// clock what a store still has.
func TestInternalTopics_TighterSettingsAreAltered(t *testing.T) {
	tight := func(w *world) *graph.Graph {
		require.NoError(t, w.b.CreateTopic("app-w-changelog", 1, "cleanup.policy=compact,delete", "retention.ms=90000000", "retention.bytes=1000",
			"message.timestamp.after.max.ms=3600000"))
		require.NoError(t, w.b.CreateTopic("app-v-changelog", 1, "cleanup.policy=compact", "min.compaction.lag.ms=90000000"))
		require.NoError(t, w.b.CreateTopic("app-r-repartition", 1, "cleanup.policy=delete", "message.timestamp.difference.max.ms=5"))
		require.NoError(t, w.b.CreateTopic("app-t-changelog", 1, "cleanup.policy=compact", "retention.ms=5"))
		g := build().topic("r-repartition", 1).sub("<in", ">r-repartition").sub("<r-repartition", "=w", "=v", "=t").g
		g.Stores[0].Kind, g.Stores[0].Retention = graph.Window, time.Hour
		g.Stores[1].Kind, g.Stores[1].Retention = graph.Versioned, time.Hour
		return g
	}
	simulate(t, []string{"in:1"}, func(w *world) {
		g := tight(w)
		_, err := w.plan(g)
		require.NoError(t, err)
		w.configured("app-w-changelog", map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1",
			"message.timestamp.after.max.ms": "9223372036854775807"})
		w.configured("app-v-changelog", map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1", "min.compaction.lag.ms": "9223372036854775807"})
		w.configured("app-r-repartition", map[string]string{"retention.ms": "-1", "message.timestamp.difference.max.ms": "9223372036854775807"})
		w.configured("app-t-changelog", map[string]string{"cleanup.policy": "compact", "retention.ms": "5"})
	})
	simulate(t, []string{"in:1"}, func(w *world) { // may not: it says how, and goes on
		g := tight(w)
		w.b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.IncrementalAlterConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		var log bytes.Buffer
		_, err := New(g, Config{Application: "app", Brokers: []string{"b:1"}, Logger: slog.New(slog.NewTextHandler(&log, nil))}, w.admin).Deploy(w.ctx)
		require.NoError(t, err)
		w.configured("app-w-changelog", map[string]string{"retention.ms": "90000000"})
		assert.Contains(t, log.String(), `level=WARN`)
		assert.Contains(t, log.String(), `command="kafka-configs --bootstrap-server b:1 --alter --entity-type topics --entity-name app-v-changelog --add-config `+
			`cleanup.policy=[compact,delete],min.compaction.lag.ms=9223372036854775807,retention.ms=-1"`)
		assert.Contains(t, log.String(), "--entity-name app-w-changelog --add-config message.timestamp.after.max.ms=9223372036854775807,retention.bytes=-1,retention.ms=-1\"")
		assert.NotContains(t, log.String(), "app-t-changelog")
	})
	simulate(t, []string{"in:1"}, func(w *world) { // may not, and rows would go that are no day old
		g := tight(w)
		g.Stores[0].Retention = 26 * time.Hour
		w.b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.IncrementalAlterConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		assert.Contains(t, w.refused(g), "retention.ms=90000000, but its store keeps rows for 93600000 ms")
	})
}

func TestDeploy_Errors(t *testing.T) {
	cases := []struct {
		name   string
		topics []string
		g      *graph.Graph
		want   []string
	}{
		{"all topics that are missing are named", []string{"b:1"}, build().sub("<a", "<b").sub("<c").g, []string{`"a", "c"`, "do not exist"}},
		{"topics that are joined have other counts", []string{"a:4", "b:6"}, build().sub("<a", "<b").together("a", "b").g,
			[]string{`topic "a" has 4 partitions`, `topic "b" has 6`}},
		{"a topic that a pattern matches has another count", []string{"log-a:4", "log-b:3", "b:4"}, build().sub("~log-.*", "<b").together("b", "log-.*").g,
			[]string{`topic "b" has 4 partitions`, `topic "log-b" has 3`}},
		{"a number given to a repartition topic does not fit what it is joined with", []string{"in:2", "table:3"},
			build().topic("r-repartition", 4).sub("<in", ">r-repartition").sub("<r-repartition", "<table").together("r-repartition", "table").g,
			[]string{`"app-r-repartition" has 4`, `"table" has 3`}},
		{"a repartition topic without an input", nil,
			build().topic("r-repartition", 0).sub("~none-.*", ">r-repartition").sub("<r-repartition").g, []string{`"app-r-repartition"`, "main.go:1", "give it a number"}},
		{"a changelog has another count", []string{"in:2", "app-s-changelog:3"}, build().sub("<in", "=s").g,
			[]string{`"app-s-changelog" has 3 partitions`, "only 2"}},
		{"an input has more partitions than the changelog of its store", []string{"in:3", "app-s-changelog:2"}, build().sub("<in", "=s").g,
			[]string{`"app-s-changelog" has 2 partitions`, "now has 3", "Repartition with 2 partitions"}},
		{"a changelog that deletes, and a repartition topic of another count", []string{"in:2", "app-s-changelog:2", "app-r-repartition:1"},
			build().topic("r-repartition", 2).sub("<in", "=s", ">r-repartition").sub("<r-repartition").g,
			[]string{`"app-s-changelog" has cleanup.policy=delete, but needs compact`, `"app-r-repartition" has 1 partitions`}},
		{"two patterns that match a topic", []string{"log-a:1"}, build().sub("~log-.*").sub("~.*-a").g, []string{`"log-a"`, `"log-.*"`, `".*-a"`}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, c.topics, func(w *world) {
				got := w.refused(c.g)
				for _, s := range c.want {
					assert.Contains(t, got, s)
				}
			})
		})
	}
}

func TestInternalTopics_BrokerTimestampsAreRefused(t *testing.T) {
	simulate(t, []string{"in:1"}, func(w *world) {
		require.NoError(t, w.b.CreateTopic("app-s-changelog", 1, "cleanup.policy=compact", "message.timestamp.type=LogAppendTime"))
		assert.Contains(t, w.refused(build().sub("<in", "=s").g), "LogAppendTime")
	})
}

func TestCountPartitions(t *testing.T) {
	cases := []struct {
		name   string
		topics []string
		b      *builder
		want   map[string]int
	}{
		{"as many as the largest input of the writer", []string{"a:2", "b:5"},
			build().topic("r-repartition", 0).sub("<a", "<b", ">r-repartition").sub("<r-repartition"), map[string]int{"r": 5}},
		{"through a chain, in any order", []string{"a:3"},
			build().topic("z-repartition", 0).topic("y-repartition", 0).topic("x-repartition", 0).
				sub("<y-repartition", ">x-repartition").sub("<z-repartition", ">y-repartition").sub("<a", ">z-repartition").sub("<x-repartition"),
			map[string]int{"x": 3, "y": 3, "z": 3}},
		{"two writers", []string{"a:3", "b:4"},
			build().topic("r-repartition", 0).sub("<a", ">r-repartition").sub("<b", ">r-repartition").sub("<r-repartition"), map[string]int{"r": 4}},
		{"a number given wins, and passes on", []string{"a:3"},
			build().topic("q-repartition", 7).topic("r-repartition", 0).sub("<a", ">q-repartition").sub("<q-repartition", ">r-repartition").sub("<r-repartition"),
			map[string]int{"q": 7, "r": 7}},
		{"joined ones take the larger", []string{"a:3", "b:5"},
			build().topic("q-repartition", 0).topic("r-repartition", 0).sub("<a", ">q-repartition").sub("<b", ">r-repartition").
				sub("<q-repartition", "<r-repartition").together("q-repartition", "r-repartition"), map[string]int{"q": 5, "r": 5}},
		{"joined with one that has a number", []string{"a:3", "b:5"},
			build().topic("q-repartition", 2).topic("r-repartition", 0).sub("<a", ">q-repartition").sub("<b", ">r-repartition").
				sub("<q-repartition", "<r-repartition").together("q-repartition", "r-repartition"), map[string]int{"q": 2, "r": 2}},
		{"joined with a user's topic, and what follows agrees", []string{"a:8", "table:3"},
			build().topic("q-repartition", 0).topic("r-repartition", 0).sub("<a", ">q-repartition").
				sub("<q-repartition", "<table", ">r-repartition").together("q-repartition", "table").sub("<r-repartition"),
			map[string]int{"q": 3, "r": 3}},
		{"a cycle takes what is known", []string{"a:4"},
			build().topic("r-repartition", 0).sub("<a", "<r-repartition", ">r-repartition"), map[string]int{"r": 4}},
		{"a pattern", []string{"log-a:2", "log-b:6", "xlog-c:9", "app-s-changelog:9"},
			build().topic("r-repartition", 0).sub("~.*log.*[ab]", ">r-repartition").sub("<r-repartition"), map[string]int{"r": 6}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, c.topics, func(w *world) {
				p, err := w.plan(c.b.g)
				require.NoError(t, err)
				for name, n := range c.want {
					assert.Equal(t, n, p.Topics["app-"+name+"-repartition"].Partitions, name)
				}
			})
		})
	}
}

func TestDeploy_PatternsFollowTheCluster(t *testing.T) {
	simulate(t, []string{"log-a:2", "log-named:3", "app-x-repartition:9"}, func(w *world) {
		p := New(build().sub("~log-.*|app-.*|__.*").sub("<log-named").g, Config{Application: "app"}, w.admin)
		plan, err := p.Deploy(w.ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{"log-a"}, plan.Subtopologies[0].Inputs, "neither what is named nor what is internal")
		assert.NotNil(t, plan.Source("log-later"))
		require.NoError(t, w.b.CreateTopic("log-later", 4))
		counts, err := p.Counts(w.ctx, []string{"log-named"}, true)
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"log-a": 2, "log-later": 4, "log-named": 3}, counts)
		plan, err = p.Deploy(w.ctx)
		require.NoError(t, err)
		assert.Equal(t, 4, plan.Subtopologies[0].TaskCount)
	})
}

// A pattern that matches nothing yet is no mistake: the topics come later.
func TestDeploy_PatternWithoutTopics(t *testing.T) {
	simulate(t, nil, func(w *world) {
		plan, err := w.plan(build().sub("~log-.*", "=s").g)
		require.NoError(t, err)
		assert.Empty(t, plan.Tasks())
	})
}

// Two members start at once: both find the topic missing, one creates it, the other goes on with
// it.
func TestDeploy_RaceOfTwoMembers(t *testing.T) {
	simulate(t, []string{"in:2"}, func(w *world) {
		h := w.b.Cluster()
		h.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
			h.SleepControl(func() { _ = w.b.CreateTopic("app-s-changelog", 2, "cleanup.policy=compact", "segment.bytes=12345678") })
			return nil, nil, false
		})
		p, err := w.plan(build().sub("<in", "=s").g)
		require.NoError(t, err)
		assert.Equal(t, 2, p.Topics["app-s-changelog"].Partitions)
		config, err := w.admin.TopicConfig(w.ctx, "app-s-changelog")
		require.NoError(t, err)
		assert.Equal(t, "12345678", config["segment.bytes"], "the other one's topic")
	})
}

func TestDeploy_ClusterErrorsAreNotInvalid(t *testing.T) {
	simulate(t, []string{"in:2"}, func(w *world) {
		h := w.b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.PolicyViolation, Count: -1})
		_, err := w.plan(build().sub("<in", "=s").g)
		require.ErrorContains(t, err, `create internal topic "app-s-changelog"`)
		require.NotErrorIs(t, err, ErrInvalid)
		h.Remove()
		h = w.b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		_, err = w.plan(build().sub("<in", "=s").g)
		require.NoError(t, err, "who may not read a configuration cannot check it")
		h.Remove()
	})
}

func TestPurger_Committed(t *testing.T) {
	simulate(t, []string{"in:2"}, func(w *world) {
		p, err := w.plan(build().topic("r-repartition", 0).sub("<in", ">r-repartition").sub("<r-repartition").g)
		require.NoError(t, err)
		var records []broker.Record
		for i := range 10 {
			records = append(records, broker.Record{Partition: 1, Value: []byte{byte(i)}})
		}
		require.NoError(t, w.b.Produce(w.ctx, "app-r-repartition", records...))
		deletes := w.b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteRecords}, Observe: true, Count: -1})
		tp := kafka.TopicPartition{Topic: "app-r-repartition", Partition: 1}
		committed := map[kafka.TopicPartition]int64{tp: 7, {Topic: "in", Partition: 0}: 5, {Topic: "app-r-repartition", Partition: 0}: 0}
		u := NewPurger(w.admin, slog.New(slog.DiscardHandler))
		require.NoError(t, u.PurgeCommitted(w.ctx, p, committed))
		start, err := w.admin.ListOffsets(w.ctx, kafka.ReadUncommitted, map[kafka.TopicPartition]int64{tp: kafka.Earliest})
		require.NoError(t, err)
		assert.Equal(t, int64(7), start[tp])
		hits := deletes.Hits()
		require.NoError(t, u.PurgeCommitted(w.ctx, p, committed))
		assert.Equal(t, hits, deletes.Hits(), "nothing has moved")

		failing := w.b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteRecords}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		committed[tp] = 9
		require.Error(t, u.PurgeCommitted(w.ctx, p, committed))
		failing.Remove()
		require.NoError(t, u.PurgeCommitted(w.ctx, p, committed))
		start, err = w.admin.ListOffsets(w.ctx, kafka.ReadUncommitted, map[kafka.TopicPartition]int64{tp: kafka.Earliest})
		require.NoError(t, err)
		assert.Equal(t, int64(9), start[tp])
	})
}

// What has expired goes from changelogs, each by itself: one that may not be deleted from is said
// once, and holds up no other.
func TestPurger_Expired(t *testing.T) {
	simulate(t, []string{"in:2"}, func(w *world) {
		g := build().sub("<in", "=a", "=b").g
		g.Stores[0].Kind, g.Stores[1].Kind = graph.Window, graph.Window
		p, err := w.plan(g)
		require.NoError(t, err)
		tp := func(store string) kafka.TopicPartition {
			return kafka.TopicPartition{Topic: "app-" + store + "-changelog", Partition: 1}
		}
		fill := func(store string) {
			var records []broker.Record
			for range 10 {
				records = append(records, broker.Record{Partition: 1, Key: []byte("k"), Value: []byte("v")})
			}
			require.NoError(t, w.b.Produce(w.ctx, tp(store).Topic, records...))
		}
		start := func(store string) int64 {
			at, err := w.admin.ListOffsets(w.ctx, kafka.ReadUncommitted, map[kafka.TopicPartition]int64{tp(store): kafka.Earliest})
			require.NoError(t, err)
			return at[tp(store)]
		}
		fill("a")
		fill("b")
		var log bytes.Buffer
		u := NewPurger(w.admin, slog.New(slog.NewTextHandler(&log, nil)))
		purge := func(a, b int64) (map[kafka.TopicPartition]int64, error) {
			return u.PurgeExpired(w.ctx, p, map[kafka.TopicPartition]int64{tp("a"): a, tp("b"): b})
		}
		refusing := w.b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteRecords}, Err: kerr.PolicyViolation, Topic: tp("a").Topic, Count: -1})
		for at := int64(1); at < 5; at++ {
			left, err := purge(at, at)
			require.NoError(t, err)
			assert.Empty(t, left)
			assert.Equal(t, []int64{0, at}, []int64{start("a"), start("b")})
		}
		assert.Equal(t, 1, strings.Count(log.String(), "cannot be deleted"))
		assert.Contains(t, log.String(), "topic=app-a-changelog")
		refusing.Remove()

		failing := w.b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteRecords}, Err: kerr.UnknownServerError, Topic: tp("b").Topic, Count: -1})
		left, err := purge(5, 5)
		require.Error(t, err)
		assert.Equal(t, map[kafka.TopicPartition]int64{tp("b"): 5}, left)
		failing.Remove()

		// The application is reset: the offset is that of a topic which is no more.
		require.NoError(t, w.admin.DeleteTopics(w.ctx, tp("b").Topic))
		require.NoError(t, w.b.CreateTopic(tp("b").Topic, 2))
		left, err = purge(9, 9)
		require.NoError(t, err)
		assert.Empty(t, left)
		assert.Zero(t, start("b"))
	})
}

// Another member, of the same new version, has made an internal topic and committed what it
// remembers between this one's look at the topics and its look at the offsets: the topic is there,
// if not known to the first broker asked.
func TestDeploy_TopicOfAnotherMemberIsNotMissing(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration
		made  bool
	}{{"at once", 0, true}, {"some brokers know it later", 3 * time.Second, true}, {"never", 0, false}} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, []string{"in:2"}, func(w *world) {
				g := build().sub("<in", "=s").g
				entry, err := g.ProgramEntry(0)
				require.NoError(t, err)
				began := time.Now()
				config := Config{Application: "app", Committed: func(_ context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]kafka.OffsetMeta, error) {
					if c.made && c.after == 0 {
						_ = w.b.CreateTopic("app-s-changelog", 2, "cleanup.policy=compact") // twice is no matter
					}
					return map[kafka.TopicPartition]kafka.OffsetMeta{tps[0]: {Offset: 7, Metadata: offsetmeta.Encode(5, map[string]int64{entry: 0})}}, nil
				}}
				if c.after > 0 {
					time.AfterFunc(c.after, func() { _ = w.b.CreateTopic("app-s-changelog", 2, "cleanup.policy=compact") })
				}
				_, err = New(g, config, w.admin).Deploy(w.ctx)
				if c.made {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, ErrInvalid)
				assert.ErrorContains(t, err, "app-s-changelog")
				assert.InDelta(t, missingTopicWait.Seconds(), time.Since(began).Seconds(), 1)
			})
		})
	}
}
