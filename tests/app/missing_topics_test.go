package app_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// countIn counts the records of topic in by key in a store of that name, after a step that changes the key where rekeyed says so, and
// beside other stores.
func countIn(t *testing.T, store string, rekeyed bool, others ...string) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	s := stream.From(b, in)
	for _, name := range others {
		table.Count(stream.GroupByKey(s), name)
	}
	grouped := stream.GroupByKey(s)
	if rekeyed {
		grouped = stream.GroupBy(s, func(k, _ string) string { return k })
	}
	stream.To(table.ToStream(table.Count(grouped, store)), counts)
	return build(t, b)
}

func deleteTopics(t *testing.T, b *broker.Broker, names ...string) {
	t.Helper()
	administer(t, b, func(a kafka.Admin) error { return a.DeleteTopics(t.Context(), names...) })
}

// evolves runs a version of a program, has something done, and runs another version, on the same disk or on another one. It returns what
// the second Run returned, what it logged, and the counts that came out.
type evolution struct {
	first, second *topology.Topology
	between       func(t *testing.T, b *broker.Broker)
	otherDisk     bool
}

func (e evolution) run(t *testing.T) (log string, last map[string]int64, err error) {
	b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
	cfg := config(t, b)
	put := func(keys ...string) {
		for _, k := range keys {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: broker.ByKey, Key: []byte(k), Value: []byte("v")}))
		}
	}
	put("a", "b", "c", "a")
	runToEnd(t, e.first, cfg)
	if e.between != nil {
		e.between(t, b)
	}
	if e.otherDisk {
		cfg.StateDir = t.TempDir()
	}
	r := logTo(&cfg)
	put("a", "b")
	app, err := millstream.New(e.second, cfg)
	require.NoError(t, err)
	began := time.Now()
	err = app.RunToEnd(noSync(t.Context()))
	assert.Less(t, time.Since(began), time.Minute)
	return r.String(), latest(t, b, "counts"), err
}

// A topic that is new to the program is made; one that the application has had is not made again.
func TestMissingTopics_InternalTopicsAreRememberedWithOffsets(t *testing.T) {
	const repartition, changelog = "app-counts-repartition", "app-counts-changelog"
	deleted := func(names ...string) func(*testing.T, *broker.Broker) {
		return func(t *testing.T, b *broker.Broker) { deleteTopics(t, b, names...) }
	}
	more := map[string]int64{"a": 3, "b": 2, "c": 1}
	anew := map[string]int64{"a": 1, "b": 1, "c": 1} // c's is of the first program
	for _, c := range []struct {
		name          string
		first, second *topology.Topology
		between       func(*testing.T, *broker.Broker)
		missing       []string // in the error
		want          map[string]int64
	}{
		{name: "nothing changed", first: countIn(t, "counts", false), second: countIn(t, "counts", false), want: more},
		{name: "a store was added", first: countIn(t, "counts", false), second: countIn(t, "counts", false, "seen"), want: more},
		{name: "a store was renamed", first: countIn(t, "counts", false), second: countIn(t, "totals", false), want: anew},
		{name: "a step was put in front", first: countIn(t, "counts", false), second: countIn(t, "counts", true), want: more},
		{name: "a step was taken away", first: countIn(t, "counts", true), second: countIn(t, "counts", false), want: more},
		{name: "a changelog was deleted", first: countIn(t, "counts", false), second: countIn(t, "counts", false), between: deleted(changelog), missing: []string{changelog, `store "counts"`}},
		{name: "a changelog behind a repartition topic was deleted", first: countIn(t, "counts", true), second: countIn(t, "counts", true), between: deleted(changelog), missing: []string{changelog}},
		{name: "a repartition topic was deleted", first: countIn(t, "counts", true), second: countIn(t, "counts", true), between: deleted(repartition), missing: []string{repartition}},
		{name: "all internal topics were deleted", first: countIn(t, "counts", true), second: countIn(t, "counts", true), between: deleted(repartition, changelog),
			missing: []string{repartition, changelog}},
		{name: "a store was renamed and the changelog of the other one deleted", first: countIn(t, "counts", false), second: countIn(t, "totals", false), between: deleted(changelog), want: anew},
		{name: "a deleted changelog was made by hand", first: countIn(t, "counts", false), second: countIn(t, "counts", false), want: anew,
			between: func(t *testing.T, b *broker.Broker) {
				deleted(changelog)(t, b)
				require.NoError(t, b.CreateTopic(changelog, 2, "cleanup.policy=compact"))
			}},
	} {
		for _, otherDisk := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, other disk %v", c.name, otherDisk), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log, last, err := evolution{c.first, c.second, c.between, otherDisk}.run(t)
					assert.NotContains(t, log, "internal topics are made")
					if c.missing == nil {
						require.NoError(t, err)
						assert.Equal(t, c.want, last)
						return
					}
					require.Error(t, err)
					for _, s := range append(c.missing, `group "app"`, "kafka-topics --bootstrap-server localhost:9092 --create", "reset the application") {
						assert.ErrorContains(t, err, s)
					}
				})
			})
		}
	}
}

// The topics of a foreign-key join are internal topics like others.
func TestMissingTopics_OfForeignKeyJoin(t *testing.T) {
	for _, name := range []string{"app-named-subscription-registration-topic", "app-named-subscription-response-topic", "app-named-subscription-store-changelog"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opts []broker.Option
				for _, topic := range []string{"orders", "customers", "costs", "named", "with-costs", "counts"} {
					opts = append(opts, broker.Topic(topic, 2))
				}
				b := broker.Start(t, append(opts, broker.Virtual())...)
				cfg := config(t, b)
				require.NoError(t, b.Produce(t.Context(), "orders", broker.Record{Key: []byte("o1"), Value: []byte("c1|1")}))
				runToEnd(t, foreignKeyJoins(t), cfg)
				deleteTopics(t, b, name)
				app, err := millstream.New(foreignKeyJoins(t), cfg)
				require.NoError(t, err)
				require.ErrorContains(t, app.RunToEnd(noSync(t.Context())), name)
			})
		})
	}
}

// Offsets of Kafka Streams and of earlier versions do not say which topics there were: they are made, with one warning, and remembered
// from then on.
func TestMissingTopics_OffsetsWithoutProgramWarnOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := evolution{first: countIn(t, "counts", false), second: countIn(t, "counts", false), between: func(t *testing.T, b *broker.Broker) {
			recommit(t, b, offsetmeta.Encode(1500, map[string]int64{"KSTREAM-AGGREGATE": 1400}))
			deleteTopics(t, b, "app-counts-changelog")
		}}
		log, last, err := e.run(t)
		require.NoError(t, err)
		assert.Equal(t, map[string]int64{"a": 1, "b": 1, "c": 1}, last)
		assert.Contains(t, log, "level=WARN")
		assert.Contains(t, log, "do not record whether they existed before")
		assert.Contains(t, log, "app-counts-changelog")
	})
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		runToEnd(t, countIn(t, "counts", false), cfg)
		recommit(t, b, "")
		log := logTo(&cfg)
		m := start(t, countIn(t, "counts", false), cfg)
		time.Sleep(10 * time.Second)
		require.NoError(t, m.Ready())
		m.stop()
		assert.NotContains(t, log.String(), "internal topics are made", "none was")
		deleteTopics(t, b, "app-counts-changelog")
		app, err := millstream.New(countIn(t, "counts", false), cfg)
		require.NoError(t, err)
		require.ErrorContains(t, app.RunToEnd(noSync(t.Context())), "app-counts-changelog", "no record was read since, and it is remembered all the same")
	})
}

// recommit writes the group's offsets of topic in again with other metadata.
func recommit(t *testing.T, b *broker.Broker, metadata string) {
	t.Helper()
	c, err := sarama.New(sarama.Config{Brokers: b.Brokers(), Dialer: b.Dialer()})
	require.NoError(t, err)
	defer c.Close()
	o, err := c.Offsets()
	require.NoError(t, err)
	defer o.Close()
	offsets, err := o.Fetch(t.Context(), "app", []kafka.TopicPartition{{Topic: "in"}, {Topic: "in", Partition: 1}})
	require.NoError(t, err)
	for tp, m := range offsets {
		require.GreaterOrEqual(t, m.Offset, int64(0))
		m.Metadata = metadata
		offsets[tp] = m
	}
	require.NoError(t, o.Commit(t.Context(), "app", "", -1, offsets))
}

// Topics of which it is known that they will be read or written are looked for at the start.
func TestMissingTopics_OfUsersAreNamedAtStart(t *testing.T) {
	topology := func(t *testing.T) *topology.Topology {
		b := stream.NewBuilder()
		checked := stream.TryMapValues(stream.From(b, in), func(_ context.Context, r stream.Record[string, string]) (string, error) { return r.Value, nil }).
			OnError(failure.Retry(2, time.Second, time.Second, failure.DeadLetter("letters")))
		stream.To(checked, out)
		return build(t, b)
	}
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual())
		cfg := config(t, b)
		cfg.OnDecodeError = failure.DeadLetter("unreadable")
		began := time.Now()
		err := <-start(t, topology(t), cfg).done
		require.ErrorContains(t, err, `topics "in", "letters" (dead letters of step "map-values-1", `)
		require.ErrorContains(t, err, `, "out" (written by "sink-1", `)
		require.ErrorContains(t, err, `topics_test.go:`)
		require.ErrorContains(t, err, `, "unreadable" (dead letters, by a policy of Config) do not exist`)
		assert.InDelta(t, 5, time.Since(began).Seconds(), 1)
	})
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1))
		m := start(t, topology(t), config(t, b))
		time.Sleep(3 * time.Second)
		require.NoError(t, b.CreateTopic("out", 1))
		require.NoError(t, b.CreateTopic("letters", 1))
		write(t, b, "in", 0, 1)
		await(t, b, "out", 1)
		m.stop()
	})
}

// What an earlier version has left is named at the start: a changelog, and records that nobody reads any more.
func TestMissingTopics_UnusedInternalTopicsAreNamedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2), broker.Topic("other-counts-changelog", 1))
		cfg := config(t, b)
		write(t, b, "in", 0, 5)
		runToEnd(t, countIn(t, "counts", true), cfg)
		log := logTo(&cfg)
		m := start(t, countIn(t, "counts", true), cfg)
		time.Sleep(10 * time.Second)
		m.stop()
		assert.NotContains(t, log.String(), "no step uses")

		write(t, b, "app-counts-repartition", 0, 3)
		m = start(t, countIn(t, "totals", false), cfg)
		time.Sleep(10 * time.Second)
		m.stop()
		assert.Contains(t, log.String(), `level=INFO msg="millstream: no step uses these internal topics any more; delete them when no earlier version of the program will run again" `+
			`application=app topics="[app-counts-changelog app-counts-repartition]"`)
		assert.Regexp(t, "level=WARN .*never processed.* topic=app-counts-repartition records=3", log.String())
		assert.NotContains(t, log.String(), "other-counts")
	})
}

// A topic that is deleted while the App runs ends it with an error that says which, what it was for and what to do, also when no record is
// on its way. A topic of a sink is needed by records only.
func TestMissingTopics_DeletedWhileAppRuns(t *testing.T) {
	for _, c := range []struct {
		topic         string
		says          []string
		whenWrittenTo bool
	}{
		{"in", []string{`task 0_`, `input topic "in" was deleted while the App was running`, "create it and start the App again"}, false},
		{"app-counts-repartition", []string{`app-counts-repartition[`, `internal topic "app-counts-repartition" was deleted while the App was running`, "start the App again, which says how to go on"}, false},
		{"app-counts-changelog", []string{`changelog "app-counts-changelog"`, `store "counts"`, "reset the application"}, false},
		{"counts", []string{`sink "sink-1" (`, `topic "counts", which this step writes, does not exist: create it`}, true},
	} {
		for _, records := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, records %v", c.topic, records), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
					m := start(t, countIn(t, "counts", true), config(t, b))
					write(t, b, "in", 0, 10)
					await(t, b, "counts", 10)
					time.Sleep(20 * time.Second)
					deleteTopics(t, b, c.topic)
					if records && c.topic != "in" {
						write(t, b, "in", 0, 10)
					}
					select {
					case err := <-m.done:
						for _, s := range c.says {
							require.ErrorContains(t, err, s)
						}
					case <-time.After(10 * time.Minute):
						assert.True(t, c.whenWrittenTo && !records, "it goes on")
						m.stop()
					}
				})
			})
		}
	}
}

func TestMissingTopics_InputIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("out", 2))
		m := start(t, upper(t), config(t, b))
		err := <-m.done
		require.ErrorContains(t, err, `"in"`)
		assert.ErrorIs(t, m.Run(t.Context()), millstream.ErrRunning)
	})
}
