package testdriver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// wordCount is the program that everybody knows: two sub-topologies, a repartition topic, a store.
func wordCount(b *stream.Builder) table.KTable[string, int64] {
	words := stream.FlatMapValues(stream.From(b, in), strings.FieldsSeq)
	n := table.Count(stream.GroupBy(words, func(_, word string) string { return word }), "words")
	stream.To(table.ToStream(n), wordCounts)
	return n
}

var wordCounts = stream.NewTopic("word-counts", serde.String, serde.Int64)

func TestRestart_CountSurvivesRestartAndWipe(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		t.Run(fmt.Sprint(partitions, " partitions"), func(t *testing.T) {
			var n table.KTable[string, int64]
			d := testdriver.New(t, build(t, func(b *stream.Builder) { n = wordCount(b) }), testdriver.Partitions(partitions))
			i, o := testdriver.Input(d, in), testdriver.Output(d, wordCounts)
			i.Send("1", "to be or not to be")
			want := map[string]int64{"to": 2, "be": 2, "or": 1, "not": 1}
			assert.Equal(t, want, testdriver.Table(o))
			before := len(o.Read())
			assert.Equal(t, 6, before, "every update is emitted")
			d.Restart()
			i.SendValue("be")
			d.Wipe()
			i.SendValue("be")
			want["be"] = 4
			assert.Equal(t, want, testdriver.Table(o))
			assert.Len(t, o.Read(), 2)

			v, ok, err := n.Store().In(d).Get("be")
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, int64(4), v)
			assert.Equal(t, []string{"testdriver-words-changelog", "testdriver-words-repartition", "word-counts"}, d.Topics())
			assert.Equal(t, map[string]int64{"to": 2, "be": 4, "or": 1, "not": 1},
				testdriver.Table(testdriver.Output(d, stream.NewTopic("testdriver-words-changelog", serde.String, serde.Int64))))
		})
	}
}

// ticker is a program that forwards a tick every 10 ms of a clock, through a repartition topic.
func ticker(every func(c *stream.Context[string, string], d time.Duration, f func(time.Time) error) interface{ Stop() }) func(*stream.Builder) {
	return func(b *stream.Builder) {
		ticks := stream.Process(stream.From(b, in), "ticks", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
			every(c, 10*time.Millisecond, func(now time.Time) error {
				c.Forward(stream.Record[string, string]{Key: "tick", Value: fmt.Sprint(now.UnixMilli())})
				return nil
			})
			return func(stream.Record[string, string]) error { return nil }, nil
		})
		stream.To(stream.Repartition(ticks, "ticks"), out)
		other := stream.NewTopic("other", serde.String, serde.String)
		stream.To(stream.From(b, other), stream.NewTopic("other-out", serde.String, serde.String))
	}
}

func streamTime(c *stream.Context[string, string], d time.Duration, f func(time.Time) error) interface{ Stop() } {
	return c.EveryStreamTime(d, f)
}

func wallClock(c *stream.Context[string, string], d time.Duration, f func(time.Time) error) interface{ Stop() } {
	return c.EveryWallClock(d, f)
}

func TestStreamTime_IsSharedWithOnePartition(t *testing.T) {
	other := stream.NewTopic("other", serde.String, serde.String)
	d := testdriver.New(t, build(t, ticker(streamTime)))
	testdriver.Input(d, other).At(ms(25)).Send("k", "v")
	assert.Equal(t, []string{"tick=25@25"}, texts(testdriver.Output(d, out).Read()), "a record of another sub-topology moved it")
	d.Advance(time.Hour)
	assert.Nil(t, testdriver.Output(d, out).Read(), "wall clock is another clock")

	d = testdriver.New(t, build(t, ticker(streamTime)), testdriver.Partitions(2))
	testdriver.Input(d, other).At(ms(25)).Send("k", "v")
	assert.Nil(t, testdriver.Output(d, out).Read(), "with several, each task has its own")
	testdriver.Input(d, in).At(ms(3)).Send("k", "v")
	assert.Equal(t, []string{"tick=3@3"}, texts(testdriver.Output(d, out).Read()))
}

func TestStreamTime_SurvivesARestart(t *testing.T) {
	d := testdriver.New(t, build(t, ticker(streamTime)))
	i, o := testdriver.Input(d, in), testdriver.Output(d, out)
	i.At(ms(55)).Send("k", "v")
	d.Restart()
	o.Read()
	i.At(ms(12)).Send("k", "v")
	assert.Equal(t, []string{"tick=55@55"}, texts(o.Read()), "the record is late")
}

func TestAdvance_WallClockPunctuationsFireOnce(t *testing.T) {
	d := testdriver.New(t, build(t, ticker(wallClock)), testdriver.StartAt(ms(0)))
	o := testdriver.Output(d, out)
	testdriver.Input(d, in).At(ms(1000)).Send("k", "v")
	assert.Nil(t, o.Read())
	d.Advance(10 * time.Millisecond)
	d.Advance(35 * time.Millisecond)
	assert.Equal(t, []string{"tick=10@10", "tick=45@45"}, texts(o.Read()))
}

func TestDriver_RetriesTakeNoTime(t *testing.T) {
	calls := 0
	d := testdriver.New(t, build(t, func(b *stream.Builder) {
		s := stream.TryMapValues(stream.From(b, in), func(_ context.Context, r stream.Record[string, string]) (string, error) {
			if calls++; calls%3 != 0 {
				return "", errors.New("busy")
			}
			return r.Value, nil
		})
		stream.To(s, out)
	}), testdriver.OnProcessError(failure.Retry(2, time.Second, time.Second, failure.Skip())))
	testdriver.Input(d, in).Send("k", "v")
	assert.Equal(t, map[string]string{"k": "v"}, testdriver.Table(testdriver.Output(d, out)))
	assert.Equal(t, 3, calls)
	assert.Len(t, d.Failures(), 2)
	assert.Empty(t, d.Dropped())
}

func TestManualCommit_RequestOfAStepIsMet(t *testing.T) {
	seen := store.NewKeyValue("seen", serde.String, serde.String)
	d := testdriver.New(t, build(t, func(b *stream.Builder) {
		stream.ForEach(stream.Process(stream.From(b, in), "ask", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
			s := seen.In(c)
			return func(r stream.Record[string, string]) error {
				if r.Value == "now" {
					c.Commit()
				}
				return s.Put(r.Key, r.Value)
			}, nil
		}, seen), func(stream.Record[string, string]) {})
	}), testdriver.ManualCommit())
	i := testdriver.Input(d, in)
	i.Send("a", "later")
	assert.Empty(t, d.Raw("testdriver-seen-changelog"))
	i.Send("b", "now")
	assert.Len(t, d.Raw("testdriver-seen-changelog"), 2)
}

func TestPartitions_JoinedTopicsNeedTheSameNumber(t *testing.T) {
	left, right := stream.NewTopic("left", serde.String, serde.String), stream.NewTopic("right", serde.String, serde.String)
	program := func(b *stream.Builder) {
		rows := table.From(b, right, "rows")
		stream.To(join.StreamTable(stream.From(b, left), rows, "joined", func(v, row string) string { return v + row }), out)
	}
	r := &recorder{}
	r.run(func() {
		testdriver.New(r, build(t, program), testdriver.TopicPartitions("left", 2), testdriver.TopicPartitions("right", 3))
	})
	require.Len(t, r.said, 1)
	assert.Contains(t, r.said[0], `topic "left" has 2 partitions and topic "right" has 3`)

	d := testdriver.New(t, build(t, program), testdriver.Partitions(3))
	for _, k := range []string{"a", "b", "c", "d", "e"} {
		testdriver.Input(d, right).Send(k, strings.ToUpper(k))
		testdriver.Input(d, left).Send(k, k)
	}
	assert.Equal(t, map[string]string{"a": "aA", "b": "bB", "c": "cC", "d": "dD", "e": "eE"},
		testdriver.Table(testdriver.Output(d, out)))
}

func TestInput_TopicsOfAPatternAppearAtAnyTime(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		stream.To(stream.FromPattern(b, stream.NewPattern("p-.*", serde.String, serde.String)), out)
	})
	d := testdriver.New(t, top, testdriver.ManualCommit())
	o := testdriver.Output(d, out)
	for _, name := range []string{"p-1", "p-2"} {
		testdriver.Input(d, stream.NewTopic(name, serde.String, serde.String)).At(ms(5)).Send("k", name)
	}
	assert.Equal(t, []string{"k=p-1@5", "k=p-2@5"}, texts(o.Read()))
	d.Restart()
	assert.Equal(t, []string{"k=p-1@5", "k=p-2@5"}, texts(o.Read()), "found again after a restart")
	r := &recorder{}
	r.run(func() {
		testdriver.Input(testdriver.New(r, top), stream.NewTopic("q", serde.String, serde.String))
	})
	assert.Equal(t, []string{`testdriver: the program does not read topic "q"; it reads pattern p-.*`}, r.said)
}

func TestDropped_CountsByReason(t *testing.T) {
	d := testdriver.New(t, build(t, func(b *stream.Builder) {
		s := stream.TryMapValues(stream.From(b, in), func(_ context.Context, r stream.Record[string, string]) (string, error) {
			if r.Value == "" {
				return "", failure.Drop("no phone")
			}
			return r.Value, nil
		})
		table.Count(stream.GroupByKey(s), "n")
	}))
	i := testdriver.Input(d, in)
	i.Send("k", "")
	i.Send("k", "")
	i.SendValue("no key")
	i.Delete("k")
	i.Send("k", "v")
	assert.Equal(t, map[string]int{"no phone": 2, graph.NoKey: 1, graph.NoValue: 1}, d.Dropped())
	assert.Empty(t, d.Failures(), "a drop is no failure")
}
