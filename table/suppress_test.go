package table_test

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func suppressNode(buffer table.Buffer, opts ...store.Option) func(b *stream.Builder) {
	return func(b *stream.Builder) {
		stream.To(table.ToStream(table.SuppressFor(table.From(b, texts, "t"), ms(10), "held", buffer, opts...)), results)
	}
}

func TestSuppressFor_SendsTheNewestWhenTheFirstIsOldEnough(t *testing.T) {
	d := drive(t, suppressNode(table.Unbounded()))
	send(d, texts, "a=1@0", "b=1@0", "a=2@5", "c=1@9")
	assert.Empty(t, taken(d, results))
	send(d, texts, "c@10")
	assert.Equal(t, "a=2@5 b=1@0", taken(d, results), "in the order of the first times, then of the keys")
	send(d, texts, "d=1@19")
	assert.Equal(t, "c@10", taken(d, results), "deletions too")
	send(d, texts, "e=1@3")
	assert.Equal(t, "e=1@3", taken(d, results), "what comes that late is due at once")
}

// TestSuppressFor_ContinuesAfterACrash: what is held back, its places, its bounds and stream time.
func TestSuppressFor_ContinuesAfterACrash(t *testing.T) {
	for name, crash := range map[string]func(*testdriver.Driver){"crash": (*testdriver.Driver).Restart, "disk lost": (*testdriver.Driver).Wipe} {
		for kind, opts := range map[string][]store.Option{"disk": nil, "memory": {store.InMemory()}} {
			t.Run(name+", "+kind, func(t *testing.T) {
				d := drive(t, suppressNode(table.MaxRecords(3), opts...))
				in := testdriver.Input(d, texts)
				in.At(time.UnixMilli(2)).Header("h", []byte("old")).Send("b", "1")
				send(d, texts, "a=1@3")
				in.At(time.UnixMilli(7)).Header("h", []byte("1")).Header("n", nil).Send("b", "2")
				crash(d)
				send(d, texts, "c=1@8")
				crash(d)
				send(d, texts, "d=1@4")
				out := testdriver.Output(d, results).Read()
				require.Len(t, out, 1, "the fourth is one too many")
				assert.Equal(t, "b", out[0].Key)
				assert.Equal(t, "2", out[0].Value)
				assert.EqualValues(t, 7, out[0].Time.UnixMilli())
				assert.Equal(t, stream.Headers{{Name: "h", Value: []byte("1")}, {Name: "n"}}, out[0].Headers)
				crash(d)
				send(d, texts, "a=2@1")
				assert.Empty(t, taken(d, results), "stream time is 8")
				send(d, texts, "z=1@14")
				assert.Equal(t, "a=2@1 d=1@4", taken(d, results))
				crash(d)
				assert.Empty(t, taken(d, results))
				send(d, texts, "z=2@1000")
				assert.Equal(t, "c=1@8 z=2@1000", taken(d, results))
			})
		}
	}
}

// TestSuppressFor_UncommittedChangesAreBufferedAgain: the buffer goes back to the last commit with
// everything else.
func TestSuppressFor_UncommittedChangesAreBufferedAgain(t *testing.T) {
	b := stream.NewBuilder()
	suppressNode(table.Unbounded())(b)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.ManualCommit())
	send(d, texts, "a=1@0", "b=1@1")
	d.Commit()
	send(d, texts, "a=2@2", "c=1@10")
	assert.Equal(t, "a=2@2", taken(d, results))
	d.Restart()
	assert.Equal(t, "a=2@2", taken(d, results), "the records are processed again")
	send(d, texts, "c=2@50")
	assert.Equal(t, "b=1@1 c=2@50", taken(d, results))
}

func TestSuppressFor_OneBufferPerPartition(t *testing.T) {
	b := stream.NewBuilder()
	suppressNode(table.MaxRecords(1))(b)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.Partitions(4))
	in := testdriver.Input(d, texts)
	for p := range int32(4) {
		in.Partition(p).At(time.UnixMilli(int64(p))).Send(fmt.Sprint("k", p), "v")
	}
	d.Restart()
	assert.Empty(t, taken(d, results))
	in.Partition(2).At(time.UnixMilli(100)).Send("late", "v")
	assert.Equal(t, "k2=v@2", taken(d, results), "the others' stream times have not moved")
}

func TestBuffer_StopWhenFull(t *testing.T) {
	for want, buffer := range map[string]table.Buffer{
		"3 of 2 records and 106 bytes":       table.MaxRecords(2).StopWhenFull(),
		"3 records and 106 of 80 bytes":      table.MaxBytes(80).StopWhenFull(),
		"3 of 2 records and 106 of 80 bytes": table.MaxRecords(2).Bytes(80).EmitEarly().StopWhenFull(),
	} {
		d := drive(t, suppressNode(buffer))
		send(d, texts, "a=1@0", "b=1@9")
		send(d, texts, "c=1@10") // a is due
		send(d, texts, "c=2@11")
		assert.Equal(t, "a=1@0", taken(d, results))
		err := testdriver.Input(d, texts).At(ms0(12)).SendErr(record{Key: "d", Value: "1"})
		require.Error(t, err)
		assert.Contains(t, err.Error(), want)
		assert.Contains(t, err.Error(), `suppress "held"`)
		assert.Contains(t, err.Error(), "suppress_test.go:")
	}
}

func ms0(n int64) time.Time { return time.UnixMilli(n) }

func TestBuffer_BoundedByBytesSendsTheOldest(t *testing.T) {
	d := drive(t, suppressNode(table.MaxBytes(70)))
	send(d, texts, "a=1@3", "b=1@2", "c=1@1")
	assert.Equal(t, "c=1@1", taken(d, results))
	send(d, texts, "a="+strings.Repeat("x", 100)+"@4")
	assert.Equal(t, "b=1@2 a="+strings.Repeat("x", 100)+"@4", taken(d, results), "until it fits")
}

// TestSuppressFor_JoinReadsWhatWasSent, whatever has happened in between.
func TestSuppressFor_JoinReadsWhatWasSent(t *testing.T) {
	asks := stream.NewTopic("asks", serde.String, serde.String)
	d := drive(t, func(b *stream.Builder) {
		held := table.SuppressFor(table.From(b, texts, "t"), ms(10), "held", table.Unbounded())
		// Computed from what suppress has sent.
		t := table.MapValues(held, func(v string) string { return v + "!" })
		stream.To(join.StreamTableLeft(stream.From(b, asks), t, "j", func(v, row string, ok bool) string { return fmt.Sprint(v, row, ok) }), results)
	})
	ask := func(key string) string {
		testdriver.Input(d, asks).At(ms0(0)).Send(key, "")
		return taken(d, results)
	}
	send(d, texts, "a=1@0")
	assert.Equal(t, "a=false@0", ask("a"))
	send(d, texts, "b=1@10")
	assert.Equal(t, "a=1!true@0", ask("a"))
	send(d, texts, "a=2@11", "a=3@12")
	assert.Equal(t, "a=1!true@0", ask("a"))
	d.Wipe()
	assert.Equal(t, "a=1!true@0", ask("a"))
	send(d, texts, "a@13")
	assert.Equal(t, "a=1!true@0", ask("a"))
	send(d, texts, "b=1@21")
	assert.Equal(t, "a=false@0", ask("a"))
}

// TestSuppressFor_ChangelogIsThatOfKafkaStreams: header and bytes, and a tombstone for what was sent.
func TestSuppressFor_ChangelogIsThatOfKafkaStreams(t *testing.T) {
	d := drive(t, suppressNode(table.Unbounded()))
	testdriver.Input(d, texts).At(ms0(5)).Header("h", []byte("1")).Send("a", "x")
	send(d, texts, "b=y@15")
	out := testdriver.Output(d, stream.NewTopic("testdriver-held-changelog", serde.String, serde.Bytes)).Read()
	require.Len(t, out, 3)
	three := stream.Headers{{Name: "v", Value: []byte{3}}}
	assert.Equal(t, three, out[0].Headers)
	topic := "00000005" + hex.EncodeToString([]byte("texts")) + "00000000"
	assert.Equal(t, "0000000000000005"+"0000000000000000"+topic+"00000001"+"0000000168"+"0000000131"+"ffffffff"+"ffffffff"+"0000000178"+"0000000000000005",
		hex.EncodeToString(out[0].Value))
	slices.SortFunc(out[1:], func(x, y stream.Record[string, []byte]) int { return cmp.Compare(x.Key, y.Key) })
	assert.True(t, out[1].Tombstone)
	assert.Empty(t, out[1].Headers)
	assert.Equal(t, three, out[2].Headers)
}

func TestSuppressFor_FilterBehindKnowsWhatWasSent(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		held := table.SuppressFor(table.From(b, texts, "t"), ms(10), "held", table.Unbounded())
		stream.To(table.ToStream(table.Filter(held, startsWithX)), results)
	})
	send(d, texts, "a=x@0", "b=1@10", "a=1@11", "a=2@12", "b=2@22")
	assert.Equal(t, "a=x@0 a@12", taken(d, results), "what came in between was never sent")
	send(d, texts, "a=x@30", "a=3@31", "b@50")
	assert.Empty(t, taken(d, results), "no row before, none now")
}

// TestSuppressFor_OldValuesDoNotDependOnOtherSteps has another step group the rows of the same
// suppressed table, which sees the old values that Kafka Streams has.
func TestSuppressFor_OldValuesDoNotDependOnOtherSteps(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		suppressed := table.SuppressFor(table.From(b, texts, "t"), ms(10), "buffer", table.Unbounded())
		stream.To(table.ToStream(table.Filter(suppressed, startsWithX)), results)
		table.CountRows(table.GroupBy(suppressed, func(k, v string) (string, string, bool) { return v, k, true }), "n")
	})
	send(d, texts, "a=x@0", "b=1@10", "a=1@11", "a=2@12", "b=2@22")
	assert.Equal(t, "a=x@0 a@12", taken(d, results))
}

func TestSuppressFor_Mistakes(t *testing.T) {
	for want, f := range map[string]func(t text){
		"its table keeps versions": func(t text) {
			v := table.Materialize(t, "v", store.Versions(time.Hour))
			table.SuppressFor(table.Filter(v, startsWithX), ms(1), "s", table.Unbounded())
		},
		"its buffer is zero":            func(t text) { table.SuppressFor(t, ms(1), "s", table.Buffer{}) },
		"at most 0 records":             func(t text) { table.SuppressFor(t, ms(1), "s", table.MaxRecords(0)) },
		"at most -1 bytes":              func(t text) { table.SuppressFor(t, ms(1), "s", table.MaxBytes(-1)) },
		"buffers changes for -1ms":      func(t text) { table.SuppressFor(t, ms(-1), "s", table.Unbounded()) },
		"its name is empty":             func(t text) { table.SuppressFor(t, ms(1), "", table.Unbounded()) },
		"store.OnDemand does not apply": func(t text) { table.SuppressFor(t, ms(1), "s", table.Unbounded(), store.OnDemand()) },
		`store "t" exists`:              func(t text) { table.SuppressFor(t, ms(1), "t", table.Unbounded()) },
		"it already has the name \"s\"": func(t text) { table.SuppressFor(t, ms(1), "s", table.Unbounded()).Named("x") },
	} {
		b := stream.NewBuilder()
		f(table.From(b, texts, "t"))
		_, err := b.Build()
		require.Error(t, err, want)
		assert.Contains(t, err.Error(), want)
		assert.Contains(t, err.Error(), "suppress_test.go:")
	}
}

type windowKey = window.Key[string]

// finals writes the final results of t as key@start-end=value.
func finals[V any](t table.KTable[windowKey, V], opts ...store.Option) {
	s := table.ToStream(table.SuppressUntilClose(t, "final", table.Unbounded(), opts...))
	stream.To(stream.Map(s, func(k windowKey, v V) (string, string) {
		return fmt.Sprintf("%s[%d-%d]", k.Key, k.Start.UnixMilli(), k.End.UnixMilli()), fmt.Sprint(v)
	}), results)
}

func countsIn(b *stream.Builder, w window.Any, opts ...store.Option) table.KTable[windowKey, int64] {
	return table.CountWindows(stream.GroupByKey(stream.From(b, texts)), w, "n", opts...)
}

// TestSuppressUntilClose_ResultsAreFinal at the very time at which a sliding window or a session
// may still change; Kafka Streams sends it then, and again.
func TestSuppressUntilClose_ResultsAreFinal(t *testing.T) {
	for _, tt := range []struct {
		name string
		w    window.Any
		in   []string
		want string
	}{
		{"sliding", window.Sliding(ms(10)), []string{"a=v@20", "b=v@20", "a=v@15", "a=v@20", "b=v@40", "c=v@41"},
			"a[10-20]=3@20 b[10-20]=1@20 a[16-26]=2@20 b[30-40]=1@40"},
		{"sessions", window.Sessions(ms(5)).Grace(0), []string{"a=v@0", "a=v@4", "b=v@9", "a=v@9", "b=v@40"}, "a[0-9]=3@9 b[9-9]=1@9"},
		{"tumbling: its end is no part of it", window.Tumbling(ms(10)).Grace(ms(5)), []string{"a=v@3", "a=v@14", "a=v@9", "a=v@15", "a=v@9", "b=v@25"},
			"a[0-10]=2@9 a[10-20]=2@15"},
	} {
		for name, crash := range map[string]func(*testdriver.Driver){
			"": func(*testdriver.Driver) {}, "crashes": (*testdriver.Driver).Restart, "disks lost": (*testdriver.Driver).Wipe,
		} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				d := drive(t, func(b *stream.Builder) { finals(countsIn(b, tt.w, store.Retention(time.Hour))) })
				for _, x := range tt.in {
					send(d, texts, x)
					crash(d)
				}
				assert.Equal(t, tt.want, taken(d, results))
			})
		}
	}
}

// TestSuppressUntilClose_OfTablesDerivedFromWindows: whatever stands between the windows and the
// suppression.
func TestSuppressUntilClose_OfTablesDerivedFromWindows(t *testing.T) {
	w := window.Tumbling(ms(10)).Grace(ms(5))
	for name, f := range map[string]func(b *stream.Builder) table.KTable[windowKey, int64]{
		"filter": func(b *stream.Builder) table.KTable[windowKey, int64] {
			return table.Filter(countsIn(b, w), func(_ windowKey, n int64) bool { return n != 3 })
		},
		"kept map": func(b *stream.Builder) table.KTable[windowKey, int64] {
			m := table.MapRows(countsIn(b, w), func(_ windowKey, n int64, row bool) (int64, bool) { return n, row && n != 3 })
			return table.Materialize(m, "kept")
		},
		"counted again": func(b *stream.Builder) table.KTable[windowKey, int64] {
			again := stream.GroupByKey(table.ToStream(countsIn(b, w)))
			return table.Count(again, "again").DeleteWhen(func(_ windowKey, n int64) bool { return n == 3 })
		},
		"deleted by the aggregation": func(b *stream.Builder) table.KTable[windowKey, int64] {
			return countsIn(b, w).DeleteWhen(func(_ windowKey, n int64) bool { return n == 3 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) { finals(f(b), store.InMemory()) })
			send(d, texts, "a=v@1", "a=v@2", "b=v@3", "a=v@4", "c=v@14", "b=v@5")
			d.Restart()
			assert.Empty(t, taken(d, results))
			send(d, texts, "c=v@15")
			assert.Equal(t, "b[0-10]=2@5", taken(d, results), "a window that is gone has no result")
		})
	}
}

// TestSuppressUntilClose_ChangelogIsThatOfKafkaStreams: keys with the start of their window, and
// the window's end as buffer time.
func TestSuppressUntilClose_ChangelogIsThatOfKafkaStreams(t *testing.T) {
	d := drive(t, func(b *stream.Builder) { finals(countsIn(b, window.Tumbling(ms(10)))) })
	send(d, texts, "a=v@253")
	out := testdriver.Output(d, stream.NewTopic("testdriver-final-changelog", serde.Bytes, serde.Bytes)).Read()
	require.Len(t, out, 1)
	assert.Equal(t, "61"+"00000000000000fa", hex.EncodeToString(out[0].Key))
	assert.Equal(t, "0000000000000104", hex.EncodeToString(out[0].Value[len(out[0].Value)-8:]))
}

func TestSuppressUntilClose_Mistakes(t *testing.T) {
	w := window.Tumbling(ms(10))
	for want, f := range map[string]func(b *stream.Builder){
		"would send results before they are final": func(b *stream.Builder) { table.SuppressUntilClose(countsIn(b, w), "s", table.MaxRecords(5)) },
		"when it is full; give it StopWhenFull": func(b *stream.Builder) {
			table.SuppressUntilClose(countsIn(b, w), "s", table.MaxBytes(5).StopWhenFull().EmitEarly())
		},
		"its buffer is zero":       func(b *stream.Builder) { table.SuppressUntilClose(countsIn(b, w), "s", table.Buffer{}) },
		"of its table have no end": func(b *stream.Builder) { finals(countsIn(b, window.Unlimited(ms0(0)))) },
		"has no windows that close": func(b *stream.Builder) {
			finals(table.From(b, stream.NewTopic("w", window.SessionKey(serde.String), serde.String), "w"))
		},
	} {
		b := stream.NewBuilder()
		f(b)
		_, err := b.Build()
		require.Error(t, err, want)
		assert.Contains(t, err.Error(), want)
	}
	b := stream.NewBuilder()
	stream.To(table.ToStream(table.SuppressUntilClose(countsIn(b, w), "s", table.MaxBytes(1<<20).StopWhenFull())), stream.NewTopic("w", window.TimeKey(serde.String, w), serde.Int64))
	_, err := b.Build()
	require.NoError(t, err)
}

func throttled(b *stream.Builder) text {
	return table.Throttle(table.From(b, texts, "t"), time.Minute, "calm")
}

func TestThrottle_SendsAtEachIntervalOfTheClock(t *testing.T) {
	d := drive(t, func(b *stream.Builder) { stream.To(table.ToStream(throttled(b)), results) })
	send(d, texts, "a=1@5", "b=1@1", "a=2@3", "b@900000")
	assert.Empty(t, taken(d, results), "stream time does not matter")
	d.Advance(59 * time.Second)
	assert.Empty(t, taken(d, results))
	d.Advance(time.Second)
	assert.Equal(t, "a=2@3", taken(d, results), "b came and went")
	d.Advance(10 * time.Minute)
	assert.Empty(t, taken(d, results))
	send(d, texts, "a=3@7")
	d.Wipe()
	d.Advance(time.Minute)
	assert.Equal(t, "a=3@7", taken(d, results), "it survives a crash")
}

func TestThrottle_SendsNetChanges(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		calm := throttled(b)
		stream.To(table.ToStream(calm), results)
		stream.To(table.ToStream(table.AggregateRows(byFirst(calm), "agg", table.Zero, addText, removeText)), stream.NewTopic("groups", serde.String, serde.String))
	})
	send(d, texts, "a=x1@1", "b=y@2", "a=x2@3", "b@4")
	d.Advance(time.Minute)
	assert.Equal(t, "a=x2@3", taken(d, results), "b came and went")
	send(d, texts, "a=x3@5", "a=x4@6")
	d.Advance(time.Minute)
	groups := stream.NewTopic("groups", serde.String, serde.String)
	assert.Equal(t, "x=+2@3 x=+2-2+4@6", taken(d, groups), "what was added is taken away")
}

func TestThrottle_Mistakes(t *testing.T) {
	b := stream.NewBuilder()
	table.Throttle(table.From(b, texts, "t"), time.Microsecond, "s")
	_, err := b.Build()
	require.ErrorContains(t, err, "the shortest interval is 1ms")
}

// TestSuppressUntilClose_SessionMayComeAgainLonger when a late record joins it to one that is open,
// as in Kafka Streams.
func TestSuppressUntilClose_SessionMayComeAgainLonger(t *testing.T) {
	d := drive(t, func(b *stream.Builder) { finals(countsIn(b, window.Sessions(ms(5)), store.Retention(time.Hour))) })
	send(d, texts, "a=v@0", "a=v@4", "a=v@12", "a=v@8", "b=v@40")
	assert.Equal(t, "a[0-4]=2@4 a[0-12]=4@12", taken(d, results))
}
