package stream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

// lookUp sends each record on with the row that its key has in a store.
func lookUp[R any](s strs, ref store.KeyValueRef[string, R]) strs {
	return stream.Process(s, "look-up", func(c *context1) (each, error) {
		rows := ref.In(c)
		return func(r rec) error {
			row, ok, err := rows.Get(r.Key)
			if !ok {
				c.Forward(stream.WithValue(r, r.Value+" none"))
				return err
			}
			c.Forward(stream.WithValue(r, fmt.Sprint(r.Value, " ", row)))
			return err
		}, nil
	}, ref)
}

func TestReadOnlyStore(t *testing.T) {
	limits := store.NewKeyValue("limits", serde.String, serde.String)
	from := text("limits-topic").OnDecodeError(failure.Skip())
	var out []string
	d := testdriver.New(t, build(t, func(b *stream.Builder) {
		s := lookUp(stream.From(b, in), limits) // before the store is made
		stream.ForEach(s, func(r rec) { out = append(out, render(r)) })
		stream.ReadOnlyStore(b, from, limits)
	}), testdriver.Partitions(3), testdriver.ManualCommit())
	set := testdriver.Input(d, from)
	set.Send("a", "1")
	set.Send("b", "2")
	set.Delete("b")
	set.SendValue("lost")
	d.Commit()
	ask := func() string {
		out = nil
		for i, k := range []string{"a", "b"} {
			testdriver.Input(d, in).At(time.UnixMilli(int64(i+1))).Send(k, "v")
		}
		return fmt.Sprint(out)
	}
	assert.Equal(t, "[a=v 1@1 b=v none@2]", ask())
	d.Restart()
	assert.Equal(t, "[a=v 1@1 b=v none@2]", ask())
	d.Wipe()
	assert.Equal(t, "[a=v 1@1 b=v none@2]", ask())
	assert.Equal(t, map[string]int{"record without key": 1}, d.Dropped())
	assert.Empty(t, d.Topics(), "there is no changelog")
}

func TestReadOnlyStore_RowsHaveTheTimesOfTheirRecords(t *testing.T) {
	seen := store.NewTimestamped("seen", serde.String, serde.Int64)
	from := stream.NewTopic("seen-topic", serde.String, serde.Int64)
	d := testdriver.New(t, build(t, func(b *stream.Builder) { stream.ReadOnlyTimestamped(b, from, seen) }))
	testdriver.Input(d, from).At(time.UnixMilli(7)).Send("a", 1)
	for range 2 {
		v, ok, err := seen.In(d).Get("a")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, store.Timestamped[int64]{Value: 1, Time: time.UnixMilli(7)}, v)
		d.Wipe()
	}
}

func TestReadOnlyStore_IsNotWrittenByOthers(t *testing.T) {
	limits := store.NewKeyValue("limits", serde.String, serde.String)
	d := testdriver.New(t, build(t, func(b *stream.Builder) {
		stream.ReadOnlyStore(b, text("limits-topic"), limits)
		stream.Process(stream.From(b, in), "writes", func(c *context1) (each, error) {
			s := limits.In(c)
			return func(r rec) error { return s.Delete(r.Key) }, nil
		}, limits)
	}))
	require.ErrorContains(t, testdriver.Input(d, in).SendErr(rec{Key: "a", Value: "v"}), `store "limits" is filled from topic "limits-topic"`)
}

func TestReadOnlyStore_ReadersArePartitionedAsItsTopic(t *testing.T) {
	limits := store.NewKeyValue("limits", serde.String, serde.String)
	top := build(t, func(b *stream.Builder) {
		stream.ReadOnlyStore(b, text("limits-topic"), limits)
		lookUp(stream.From(b, in), limits)
	})
	assert.Equal(t, [][]string{{"in", "limits-topic"}}, (*graph.Handle)(top).Graph().CoPartitioned)
	assert.Len(t, (*graph.Handle)(top).Graph().Subtopologies, 1)
}

func TestReadOnlyStore_Mistakes(t *testing.T) {
	for _, c := range []struct {
		name    string
		program func(b *stream.Builder)
		want    string
	}{
		{"a zero reference", func(b *stream.Builder) {
			stream.ReadOnlyStore(b, text("x"), store.KeyValueRef[string, string]{})
		}, "the reference to its store is zero"},
		{"no changelog to leave out", func(b *stream.Builder) {
			stream.ReadOnlyStore(b, text("x"), store.NewKeyValue("s", serde.String, serde.String, store.NoChangelog()))
		}, "has no changelog"},
		{"a topic that is read otherwise, too", func(b *stream.Builder) {
			stream.From(b, text("x"))
			stream.ReadOnlyStore(b, text("x"), store.NewKeyValue("s", serde.String, serde.String))
		}, `topic "x" is read as a read-only store, and as a stream at `},
		{"a function of times", func(b *stream.Builder) {
			stream.ReadOnlyStore(b, text("x").Timestamp(func(r rec, _ time.Time) (time.Time, bool) { return r.Time, true }),
				store.NewKeyValue("s", serde.String, serde.String))
		}, "Timestamp function"},
		{"no builder", func(*stream.Builder) {
			stream.ReadOnlyStore(nil, text("x"), store.NewKeyValue("s", serde.String, serde.String))
		}, "its builder is nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := stream.NewBuilder()
			c.program(b)
			_, err := b.Build()
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, "read_only_store_test.go:")
		})
	}
}

func ExampleGlobalStore() {
	names := stream.NewTopic("names", serde.String, serde.String)
	lengths := store.NewKeyValue("lengths", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.GlobalStore(b, names, "keep-lengths", func(t *topology.Task) (func(stream.Record[string, string]) error, error) {
		lengths := lengths.In(t)
		return func(r stream.Record[string, string]) error {
			if r.Tombstone {
				return lengths.Delete(r.Key)
			}
			return lengths.Put(r.Key, int64(len(r.Value)))
		}, nil
	}, lengths)

	top, _ := b.Build()
	d := testdriver.New(example{}, top)
	testdriver.Input(d, names).Send("a", "Anna")
	n, ok, err := lengths.In(d).Get("a")
	fmt.Println(n, ok, err)
	// Output: 4 true <nil>
}

func ExampleReadOnlyStore() {
	limits := store.NewKeyValue("limits", serde.String, serde.Int64)
	topic := stream.NewTopic("limits-topic", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.ReadOnlyStore(b, topic, limits)

	top, _ := b.Build()
	d := testdriver.New(example{}, top)
	testdriver.Input(d, topic).Send("anna", 100)
	n, ok, err := limits.In(d).Get("anna")
	fmt.Println(n, ok, err)
	// Output: 100 true <nil>
}

func ExampleReadOnlyTimestamped() {
	seen := store.NewTimestamped("seen", serde.String, serde.String)
	topic := stream.NewTopic("seen-topic", serde.String, serde.String)
	b := stream.NewBuilder()
	stream.ReadOnlyTimestamped(b, topic, seen)

	top, _ := b.Build()
	d := testdriver.New(example{}, top)
	testdriver.Input(d, topic).At(time.UnixMilli(1000).UTC()).Send("anna", "door")
	v, _, _ := seen.In(d).Get("anna")
	fmt.Println(v.Value, v.Time.UnixMilli())
	// Output: door 1000
}
