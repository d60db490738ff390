package task_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

// notingEngine is a store that notes what happens to it.
type notingEngine struct {
	*memtable.Engine
	events *[]string
}

func (e notingEngine) ReadAhead(keys [][]byte) {
	for _, k := range keys {
		*e.events = append(*e.events, "ahead "+string(k))
	}
	e.Engine.ReadAhead(keys)
}

func (e notingEngine) Get(key []byte) ([]byte, int64, bool, error) {
	*e.events = append(*e.events, "get "+string(key))
	return e.Engine.Get(key)
}

// The store gets the keys of records that wait before their look-ups, sixteen at a time.
func TestProcess_StoresGetTheKeysThatComeNext(t *testing.T) {
	stores := map[string]*[]string{}
	r := start(t, func(b *stream.Builder) {
		rows := table.From(b, stream.NewTopic("rows", serde.String, serde.String), "rows")
		clicks := stream.From(b, stream.NewTopic("clicks", serde.String, serde.String))
		stream.To(join.StreamTableLeft(clicks, rows, "with-row", func(v, row string, _ bool) string { return v + row }),
			stream.NewTopic("out", serde.String, serde.String))
		stream.From(b, stream.NewTopic("else", serde.String, serde.String)) // is a task of its own
	}, func(c *task.Config) {
		c.MaxIdle = -1
		c.OpenEngine = func(s *graph.Store) (storage.Engine, error) {
			stores[s.Name] = &[]string{}
			return notingEngine{memtable.New(nil), stores[s.Name]}, nil
		}
	})
	var records, want []string
	for i := range 20 {
		records = append(records, fmt.Sprintf("k%d=v@%d", i, i))
	}
	records[3] = "null=v@3"
	ahead := func(from, to int) {
		for i := from; i < to; i++ {
			if i != 3 {
				want = append(want, fmt.Sprintf("ahead k%d", i))
			}
		}
	}
	get := func(from, to int) {
		for i := from; i < to; i++ {
			if i != 3 {
				want = append(want, fmt.Sprintf("get k%d", i))
			}
		}
	}
	ahead(0, 16)
	get(0, 16)
	ahead(16, 20)
	get(16, 20)
	r.run(t, batch("clicks", 0, records...))
	require.Contains(t, stores, "rows")
	assert.Equal(t, want, *stores["rows"])

	*stores["rows"] = nil
	r.run(t, batch("clicks", 20, "alone=v@20"))
	assert.Equal(t, []string{"get alone"}, *stores["rows"], "a single look-up has nothing to share its wait with")
	for _, e := range r.Engines() {
		require.NoError(t, e.Close(false))
	}
}

// A store of windows gets the keys of the rows that the records that wait belong to: those that are looked up.
func TestProcess_WindowStoresGetTheRowsThatComeNext(t *testing.T) {
	for name, w := range map[string]window.Time{
		"tumbling": window.Tumbling(10 * time.Millisecond),
		"hopping":  window.Hopping(10*time.Millisecond, 5*time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			var events []string
			r := start(t, func(b *stream.Builder) {
				clicks := stream.From(b, stream.NewTopic("clicks", serde.String, serde.String))
				counts := table.CountWindows(stream.GroupByKey(clicks), w, "counts")
				stream.To(table.ToStream(counts), stream.NewTopic("out", window.TimeKey(serde.String, w), serde.Int64))
			}, func(c *task.Config) {
				c.MaxIdle = -1
				c.OpenEngine = func(s *graph.Store) (storage.Engine, error) {
					return segmented.Wrap(s, notingEngine{memtable.New(nil), &events})
				}
			})
			events = nil // those of the start
			var records []string
			for i := range 16 {
				records = append(records, fmt.Sprintf("k%d=v@%d", i%3, 100+3*i))
			}
			r.run(t, batch("clicks", 0, records...))
			require.GreaterOrEqual(t, len(events), 32)
			ahead, got := events[:16], []string{}
			for _, e := range events[16:] {
				key, ok := strings.CutPrefix(e, "get ")
				require.True(t, ok, "all of the look-ups come after all of the hints")
				got = append(got, "ahead "+key)
			}
			if name == "tumbling" {
				assert.Equal(t, ahead, got[len(got)-16:])
			}
			assert.Subset(t, got, ahead)
			for _, e := range r.Engines() {
				require.NoError(t, e.Close(false))
			}
		})
	}
}
