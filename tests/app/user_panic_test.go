package app_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

func boom() string { panic("boom") }

// Whichever of a user's functions panics, Run returns an error that says where, and the process lives.
func TestUserPanic_EndsRunOnly(t *testing.T) {
	broken := serde.Func(func([]byte, string) ([]byte, error) { return []byte(boom()), nil }, func([]byte) (string, error) { return boom(), nil })
	in2 := stream.NewTopic("in2", serde.String, broken)
	copied := func(_ *stream.Builder, s stream.KStream[string, string]) { stream.To(s, out) }
	for _, c := range []struct {
		name, want string
		program    func(b *stream.Builder, s stream.KStream[string, string])
		change     func(*millstream.Events)
	}{
		{"a serde that decodes", "in2[0] offset 0", func(b *stream.Builder, _ stream.KStream[string, string]) { stream.From(b, in2) }, nil},
		{"a serde that encodes", "in[0] offset 0", func(_ *stream.Builder, s stream.KStream[string, string]) { stream.To(s, in2) }, nil},
		{"a topic's times", "in2[0] offset 0", func(b *stream.Builder, _ stream.KStream[string, string]) {
			stream.From(b, stream.NewTopic("in2", serde.String, serde.String).Timestamp(func(rec, time.Time) (time.Time, bool) {
				boom()
				return time.Time{}, false
			}))
		}, nil},
		{"a choice of topics", "in[0] offset 0", func(_ *stream.Builder, s stream.KStream[string, string]) {
			stream.ToFunc(s, out, func(rec) string { return boom() })
		}, nil},
		{"the beginning of an aggregate", `aggregate "a"`, func(_ *stream.Builder, s stream.KStream[string, string]) {
			table.Aggregate(stream.GroupByKey(s), "a", boom, func(_, _, a string) string { return a }, store.InMemory())
		}, nil},
		{"the start of a processor", `process "p"`, func(_ *stream.Builder, s stream.KStream[string, string]) {
			stream.Process(s, "p", func(*stream.Context[string, string]) (func(rec) error, error) { return nil, errors.New(boom()) })
		}, nil},
		{"an event of commits", "Config.Events.Commit", copied, func(e *millstream.Events) { e.Commit = func(millstream.CommitInfo) { boom() } }},
		{"an event of assignments", "Config.Events.Assigned", copied, func(e *millstream.Events) { e.Assigned = func([]string) { boom() } }},
		{"the first event of states", "Config.Events.State", copied, func(e *millstream.Events) {
			e.State = func(_, now millstream.State) {
				if now == millstream.Starting {
					boom()
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("in2", 1), broker.Topic("out", 1))
				write(t, k, "in", 0, 3)
				write(t, k, "in2", 0, 3)
				b := stream.NewBuilder()
				c.program(b, stream.From(b, in))
				cfg := config(t, k)
				if c.change != nil {
					c.change(&cfg.Events)
				}
				m := start(t, build(t, b), cfg)
				err := <-m.done
				require.ErrorContains(t, err, "panic: boom")
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, "user_panic_test.go")
				assert.Equal(t, millstream.Failed, m.State())
			})
		})
	}
}

func TestUserPanic_StopsAppAndCommitsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
		var states []millstream.State
		cfg := config(t, b)
		cfg.CommitInterval = time.Hour
		cfg.Events.State = func(_, now millstream.State) { states = append(states, now) }
		m := start(t, fragile(t), cfg)
		for range 10 {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: 0, Value: []byte("fine")}, broker.Record{Partition: 1, Value: []byte("fine")}))
		}
		await(t, b, "out", 20)
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: 1, Value: []byte("panic")}, broker.Record{Partition: 1, Value: []byte("never")}))
		err := <-m.done
		require.ErrorContains(t, err, "a poisoned record")
		assert.ErrorContains(t, err, "in[1] offset 10")
		assert.ErrorContains(t, err, "user_panic_test.go")
		assert.Equal(t, err, m.Live())
		assert.Equal(t, millstream.Failed, m.State())
		assert.Equal(t, []millstream.State{millstream.Starting, millstream.Restoring, millstream.Running, millstream.Stopping, millstream.Failed}, states)
		at := b.Cluster().GroupInfo("app").Commits["in"]
		assert.EqualValues(t, 10, at[0].Offset, "the other task is settled")
		assert.Less(t, at[1].Offset, int64(11), "the record that failed is not committed")
		assert.Empty(t, b.Cluster().GroupInfo("app").Members, "the group is left")
	})
}

// fragile panics at the value "panic".
func fragile(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	s := stream.MapValues(stream.From(b, in), func(v string) string {
		if v == "panic" {
			panic("a poisoned record")
		}
		return v
	})
	stream.To(s, out)
	return build(t, b)
}
