package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// quoted is a text that may be quoted in a topic and never is in a store. "!" cannot be read.
var quoted = serde.Func(
	func(b []byte, s string) ([]byte, error) { return append(b, s...), nil },
	func(b []byte) (string, error) {
		if string(b) == "!" {
			return "", errors.New("cannot be read")
		}
		return string(bytes.Trim(b, `"`)), nil
	})

// topicStores are a table and a read-only store, both restored from their topics.
func topicStores(t *testing.T) (*topology.Topology, store.KeyValueRef[string, string], store.KeyValueRef[string, string]) {
	rows := stream.NewTopic("rows", quoted, quoted).OnDecodeError(failure.Skip())
	limits := stream.NewTopic("limits", quoted, quoted).OnDecodeError(failure.Skip())
	ref := store.NewKeyValue("limits", serde.String, serde.String)
	b := stream.NewBuilder()
	tab := table.From(b, rows, "rows", store.SourceIsChangelog())
	stream.To(table.ToStream(tab), out)
	stream.ReadOnlyStore(b, limits, ref)
	return build(t, b), tab.Store(), ref
}

// fill writes a round of 100 rows to both topics, and deletes some of them.
func fill(t *testing.T, b *broker.Broker, round int) {
	t.Helper()
	for _, topic := range []string{"rows", "limits"} {
		rs := []broker.Record{{Partition: broker.ByKey, Key: []byte("!"), Value: []byte("x")}, {Partition: broker.ByKey, Key: []byte("k1"), Value: []byte("!")}}
		for i := range 100 {
			r := broker.Record{Partition: int32(i % 3), Key: fmt.Appendf(nil, `"k%d"`, i), Value: fmt.Appendf(nil, "v%d.%d", i, round)}
			if (i+round)%10 == 0 {
				r.Value = nil
			}
			rs = append(rs, r)
		}
		require.NoError(t, b.Produce(t.Context(), topic, rs...))
	}
}

// requireRows checks that a store has what fill wrote in a round.
func requireRows(t *testing.T, s store.ReadKeyValue[string, string], round int) {
	t.Helper()
	n := 0
	for r, err := range s.All() {
		require.NoError(t, err)
		assert.Equal(t, "v"+r.Key[1:]+fmt.Sprint(".", round), r.Value)
		n++
	}
	assert.Equal(t, 90, n)
}

// A store that is kept from a topic is there again after a restart, a move, a lost disk and a crash anywhere, without a changelog.
func TestSourceIsChangelog_RestoresFromTopic(t *testing.T) {
	for _, p := range append(crashpoint.Points(), 0) {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("rows", 3, compacted), broker.Topic("limits", 3, compacted), broker.Topic("out", 1))
				top, rows, limits := topicStores(t)
				cfg := config(t, b)
				for round := range 4 {
					fill(t, b, round)
					if runUntilCrash(t, top, cfg, p, round+1) {
						time.Sleep(15 * time.Second) // the session of the dead
					}
					if round == 2 {
						cfg.StateDir = t.TempDir()
					}
				}
				m := start(t, top, cfg)
				time.Sleep(15 * time.Second)
				require.NoError(t, m.Ready())
				requireRows(t, rows.In(m), 3)
				requireRows(t, limits.In(m), 3)
				m.stop()
				assert.Nil(t, b.Cluster().TopicInfo("app-rows-changelog"))
				assert.Nil(t, b.Cluster().TopicInfo("app-limits-changelog"))
			})
		})
	}
}

func TestSourceIsChangelog_RestartReadsFromCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("rows", 3, compacted), broker.Topic("limits", 3, compacted), broker.Topic("out", 1))
		top, rows, _ := topicStores(t)
		cfg := config(t, b)
		fill(t, b, 0)
		restored := func() int64 {
			m := start(t, top, cfg)
			time.Sleep(time.Second)
			m.stop()
			return m.Stats().Restored
		}
		assert.Zero(t, restored())
		assert.Zero(t, restored(), "the files are at the committed offsets")
		cfg.StateDir = t.TempDir()
		assert.EqualValues(t, 200, restored(), "another machine; what does not decode is skipped")

		first := start(t, top, cfg)
		fill(t, b, 1)
		time.Sleep(5 * time.Second)
		other := cfg
		other.StateDir = t.TempDir()
		second := start(t, top, other)
		time.Sleep(30 * time.Second)
		var n int64
		for _, m := range []*member{first, second} {
			require.NoError(t, m.Ready())
			have, err := rows.In(m).Len()
			require.NoError(t, err)
			assert.Positive(t, have, "tasks have moved")
			n += have
		}
		assert.EqualValues(t, 90, n)
		first.stop()
		time.Sleep(15 * time.Second)
		requireRows(t, rows.In(second), 1)
		second.stop()
	})
}

func TestSourceIsChangelog_TopicMustBeCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("rows", 3, compacted), broker.Topic("limits", 3, "cleanup.policy=compact,delete"), broker.Topic("out", 1))
		top, _, _ := topicStores(t)
		m := start(t, top, config(t, b))
		err := <-m.done
		require.ErrorContains(t, err, `topic "limits" has cleanup.policy=compact,delete, but store "limits", made at`)
		assert.ErrorContains(t, err, "source_is_changelog_test.go:")
		assert.NotContains(t, err.Error(), `"rows"`)
	})
}
