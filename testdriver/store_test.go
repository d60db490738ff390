package testdriver_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

var countsRef = store.NewKeyValue("counts", serde.String, serde.Int64)

func TestOpenStore_ReadsAndWrites(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " partitions"), func(t *testing.T) {
			plain := counts()
			plain.Kind = graph.Plain
			d := testdriver.New(t, withStep(t, count("counts"), plain), testdriver.Partitions(n))
			i, kv := testdriver.Input(d, in), countsRef.In(d)
			for k := range 9 {
				for range k + 1 {
					i.Send(strconv.Itoa(k), "")
				}
			}
			v, ok, err := kv.Get("4")
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, int64(5), v)

			require.NoError(t, kv.Put("4", 100))
			require.NoError(t, kv.Put("x", 7))
			require.NoError(t, kv.Delete("3"))
			d.Commit()
			d.Restart()
			i.Send("4", "")
			assert.Equal(t, "101", testdriver.Table(testdriver.Output(d, out))["4"], "the task sees what the test wrote")

			var keys []string
			for k, err := range kv.All() {
				require.NoError(t, err)
				keys = append(keys, k.Key)
			}
			assert.Equal(t, []string{"0", "1", "2", "4", "5", "6", "7", "8", "x"}, keys, "the partitions in one order")
			for row, err := range kv.Backward(store.Below("6")) {
				require.NoError(t, err)
				assert.Equal(t, "5", row.Key)
				break
			}
			rows, err := kv.Len()
			require.NoError(t, err)
			assert.Equal(t, int64(9), rows)
			_, ok, err = kv.Get("none")
			require.NoError(t, err)
			assert.False(t, ok)
		})
	}
}

func TestOpenStore_UnknownStoreIsAnError(t *testing.T) {
	d := testdriver.New(t, withStep(t, count("counts"), counts()))
	_, err := d.OpenStore("count")
	assert.EqualError(t, err, `testdriver: the program has no store "count": it has counts`)
	_, err = testdriver.New(t, build(t, upper)).OpenStore("count")
	assert.EqualError(t, err, `testdriver: the program has no store "count": it has none`)
}

func TestInput_RepartitionTopics(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		byValue := stream.MapKeys(stream.SelectKey(stream.From(b, in), func(_, v string) string { return v }), func(k string) string { return k })
		stream.To(stream.Repartition(byValue, "by-value", stream.Partitions(5)), out)
	})
	d := testdriver.New(t, top, testdriver.Partitions(2), testdriver.ApplicationID("app"))
	i := testdriver.Input(d, in)
	for k := range 20 {
		i.At(ms(int64(k))).Header("n", []byte{byte(k)}).Send(strconv.Itoa(k), strconv.Itoa(k%3))
	}
	moved := d.Raw("app-by-value-repartition")
	require.Len(t, moved, 20)
	home := map[string]int32{}
	for _, r := range moved {
		k := string(r.Key)
		if _, ok := home[k]; !ok {
			home[k] = r.Partition
		}
		assert.Equal(t, home[k], r.Partition, "a key has one partition")
		assert.Less(t, r.Partition, int32(5))
	}
	got := testdriver.Output(d, out).Read()
	require.Len(t, got, 20)
	for k, r := range got {
		assert.Equal(t, ms(int64(k)), r.Time, "time and headers go through")
		assert.Equal(t, stream.Headers{{Name: "n", Value: []byte{byte(k)}}}, r.Headers)
	}
	assert.Equal(t, []string{"app-by-value-repartition", "out"}, d.Topics())

	repartitioned := stream.NewTopic("app-by-value-repartition", serde.String, serde.String)
	testdriver.Input(d, repartitioned).Partition(4).Send("direct", "v")
	assert.Equal(t, "direct", testdriver.Output(d, out).ReadOne().Key, "internal topics can be written to")
	assert.Len(t, testdriver.Output(d, repartitioned).Read(), 21, "and read")
}

func TestPartitions_InvalidAreAnError(t *testing.T) {
	top := func() func(*stream.Builder) {
		return func(b *stream.Builder) {
			stream.To(stream.Repartition(stream.From(b, in), "again", stream.Partitions(4)), out)
		}
	}()
	for name, opt := range map[string]testdriver.Option{
		"Partitions(0): want at least 1":                                         testdriver.Partitions(0),
		`TopicPartitions("in", -1): want at least 1`:                             testdriver.TopicPartitions("in", -1),
		`TopicPartitions("testdriver-again-repartition", 2): the program sets 4`: testdriver.TopicPartitions("testdriver-again-repartition", 2),
	} {
		r := &recorder{}
		r.run(func() { testdriver.New(r, build(t, top), opt) })
		assert.Equal(t, []string{"testdriver: " + name}, r.said)
	}
	r := &recorder{}
	r.run(func() { testdriver.New(r, nil) })
	assert.Equal(t, []string{"testdriver: the topology is nil; did Build return an error?"}, r.said)
}

func TestDriver_ClockStandsStill(t *testing.T) {
	d := testdriver.New(t, build(t, upper))
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	assert.Equal(t, start, d.Now())
	testdriver.Input(d, in).Send("a", "b")
	d.Advance(time.Hour)
	assert.Equal(t, start.Add(time.Hour), d.Now())
	assert.True(t, testdriver.Output(d, out).ReadOne().Time.Equal(start), "the time of a record is when it was sent")
}

func TestDriver_EndOfTheTestEndsTheTasks(t *testing.T) {
	r := &recorder{}
	closed := 0
	top := withStep(t, func(_ *graph.Node, env graph.Env, out outlet) (outlet, error) {
		env.OnClose(func() error {
			closed++
			return fmt.Errorf("disk on fire")
		})
		return out, nil
	})
	d := testdriver.New(r, top)
	d.Restart()
	assert.Zero(t, closed, "a crash closes nothing")
	for _, f := range r.cleanup {
		f()
	}
	assert.Equal(t, 1, closed)
	require.Len(t, r.said, 1)
	assert.Contains(t, r.said[0], "disk on fire")
	r.run(func() { d.Advance(1) })
	assert.Equal(t, "testdriver: used after the end of the test", r.said[1])
}
