package app_test

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// TestUncommittedTime: a process dies when the changelog has all of an epoch and the offsets have nothing of it. The last
// record of the epoch lies so far ahead that the rows of the others expire by it. They are processed again, with commits
// between them and perhaps another crash, and their rows must be there until the record that lies ahead has come again.
func TestUncommittedTime(t *testing.T) {
	for name, w := range map[string]window.Any{
		"windows":           window.Tumbling(time.Minute).Grace(0),
		"windows on close":  window.Tumbling(time.Minute).Grace(0).OnClose(),
		"sessions":          window.Sessions(time.Minute).Grace(0),
		"sessions on close": window.Sessions(time.Minute).Grace(0).OnClose(),
	} {
		for stores, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
			for _, crashes := range []int{0, 1, 2} {
				t.Run(fmt.Sprintf("%s %s, %d crashes between", name, stores, crashes), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { uncommittedTime(t, w, opts, crashes) })
				})
			}
		}
	}
}

func uncommittedTime(t *testing.T, w window.Any, opts []store.Option, crashes int) {
	opts = append(opts, store.Retention(time.Hour))
	var far atomic.Bool
	program := func(slow time.Duration) *topology.Topology {
		b := stream.NewBuilder()
		each := stream.Peek(stream.From(b, in), func(r stream.Record[string, string]) {
			far.Store(far.Load() || r.Key == "far")
			time.Sleep(slow)
		})
		counts := countText(table.CountWindows(stream.GroupByKey(each), w, "s", opts...))
		stream.To(stream.FilterRecords(counts, func(r stream.Record[string, string]) bool { return !r.Tombstone }), out)
		return build(t, b)
	}
	b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
	cfg := config(t, b)
	cfg.CommitInterval = 100 * time.Millisecond
	put := func(key string, at time.Duration) {
		r := broker.Record{Key: []byte(key), Value: []byte("v"), Time: time.UnixMilli(at.Milliseconds())}
		require.NoError(t, b.Produce(t.Context(), "in", r))
	}
	for i := range 3 {
		put("a", time.Duration(i)*time.Second)
	}
	runToEnd(t, program(0), cfg)
	for i := range 50 { // a worker begins with 16 at once
		put("a", time.Duration(3+i)*time.Second)
	}
	put("far", 30*24*time.Hour)
	require.True(t, runUntil(t, program(0), cfg, func(p crashpoint.Point) bool { return p == crashpoint.SendAcked && far.Load() }))
	sent := len(committedRecords(t, b, "out")) // perhaps: the process could have died before they were accepted
	for range crashes {
		require.True(t, runUntilCrash(t, program(time.Second), cfg, crashpoint.SettleDone, 2))
		require.Less(t, committed(t, b, "app", "in"), int64(53), "the record that lies ahead has not come again")
	}
	runToEnd(t, program(time.Second), cfg)
	put("end", 60*24*time.Hour)
	runToEnd(t, program(0), cfg)
	last := values(committedRecords(t, b, "out")[sent:])
	// Each of the records counts once or more often: at least once.
	var n int
	fmt.Sscan(last["a"], &n)
	assert.GreaterOrEqual(t, n, 53, "%v", last)
}

// TestUncommittedTime_Versions: the same of a join with a table that has versions. The versions that the records found the
// first time are there when they come again, also where the stream is far ahead of the table: versions expire by the table's
// time.
func TestUncommittedTime_Versions(t *testing.T) {
	for stores, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		for _, crashes := range []int{0, 1, 2} {
			for _, committed := range []time.Duration{time.Second, 2 * time.Hour} {
				t.Run(fmt.Sprintf("%s, %d crashes between, stream at %v", stores, crashes, committed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { uncommittedVersions(t, opts, crashes, committed) })
				})
			}
		}
	}
}

func uncommittedVersions(t *testing.T, opts []store.Option, crashes int, committed time.Duration) {
	opts = append(opts, store.Versions(time.Hour))
	rates := stream.NewTopic("rates", serde.String, serde.String)
	var last atomic.Bool // the last record of "in" was processed
	program := func(slow time.Duration) *topology.Topology {
		b := stream.NewBuilder()
		table := table.From(b, rates, "s", opts...)
		rated := join.StreamTableLeft(stream.From(b, in), table, "rated", func(v, rate string, _ bool) string {
			last.Store(last.Load() || v == "last")
			time.Sleep(slow)
			return rate
		})
		stream.To(rated, out)
		return build(t, b)
	}
	b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("rates", 1), broker.Topic("out", 1))
	cfg := config(t, b)
	cfg.CommitInterval = 100 * time.Millisecond
	put := func(topic, key, value string, at time.Duration) {
		r := broker.Record{Key: []byte(key), Value: []byte(value), Time: time.UnixMilli(at.Milliseconds())}
		require.NoError(t, b.Produce(t.Context(), topic, r))
	}
	put("rates", "k", "old", 0)
	put("in", "k", "v", committed)
	runToEnd(t, program(0), cfg)
	put("rates", "k", "new", time.Minute)
	put("rates", "far", "rate", 30*24*time.Hour)
	for i := range 40 {
		put("in", "k", "v", time.Duration(2+i)*time.Second)
	}
	put("in", "far", "last", 31*24*time.Hour)
	require.True(t, runUntil(t, program(0), cfg, func(p crashpoint.Point) bool { return p == crashpoint.SendAcked && last.Load() }))
	sent := len(committedRecords(t, b, "out"))
	for range crashes {
		require.True(t, runUntilCrash(t, program(time.Second), cfg, crashpoint.SettleDone, 2))
	}
	runToEnd(t, program(time.Second), cfg)
	again := committedRecords(t, b, "out")[sent:]
	require.GreaterOrEqual(t, len(again), 41)
	for _, r := range again[:40] {
		require.Equal(t, "old", string(r.Value), "at %v", r.Time.UnixMilli())
	}
}

// TestUncommittedTime_AfterKafkaStreams: Kafka Streams returns the entries beside offsets as they are, with offsets of its own. What it has
// put into a store since counts, although the entries are older.
func TestUncommittedTime_AfterKafkaStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		cfg := config(t, b)
		w := window.Tumbling(time.Minute).Grace(time.Hour)
		builder := stream.NewBuilder()
		counts := table.CountWindows(stream.GroupByKey(stream.From(builder, in)), w, "s", store.Retention(61*time.Minute))
		stream.To(countText(counts), out)
		program := build(t, builder)
		put := func(key string, at time.Duration) {
			r := broker.Record{Key: []byte(key), Value: []byte("v"), Time: time.UnixMilli(at.Milliseconds())}
			require.NoError(t, b.Produce(t.Context(), "in", r))
		}
		put("a", time.Second)
		runToEnd(t, program, cfg)
		sent := len(committedRecords(t, b, "out"))

		put("a", 5*time.Hour) // which Kafka Streams processes
		key := append([]byte("a"), make([]byte, 12)...)
		binary.BigEndian.PutUint64(key[1:], uint64((5 * time.Hour).Milliseconds()))
		row := broker.Record{Key: key, Value: binary.BigEndian.AppendUint64(nil, 1), Time: time.UnixMilli((5 * time.Hour).Milliseconds())}
		require.NoError(t, b.Produce(t.Context(), "app-s-changelog", row))
		commitAs(t, b, 2, (5 * time.Hour).Milliseconds())

		put("a", 2*time.Second)
		runToEnd(t, program, cfg)
		assert.Len(t, committedRecords(t, b, "out"), sent, "the window has expired long ago")
	})
}

// commitAs commits an offset of "in" and a time as Kafka Streams does: the other entries stay.
func commitAs(t *testing.T, b *broker.Broker, offset, at int64) {
	c, err := sarama.New(sarama.Config{Brokers: b.Brokers(), Dialer: b.Dialer()})
	require.NoError(t, err)
	defer c.Close()
	o, err := c.Offsets()
	require.NoError(t, err)
	defer o.Close()
	tp := kafka.TopicPartition{Topic: "in"}
	offsets, err := o.Fetch(t.Context(), "app", []kafka.TopicPartition{tp})
	require.NoError(t, err)
	_, entries, err := offsetmeta.Decode(offsets[tp].Metadata)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	offsets[tp] = kafka.OffsetMeta{Offset: offset, Metadata: offsetmeta.Encode(at, entries)}
	require.NoError(t, o.Commit(t.Context(), "app", "", -1, offsets))
}
