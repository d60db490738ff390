package table_test

import (
	"fmt"
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

// manual drives a program that commits when the test says so.
func manual(t *testing.T, f func(b *stream.Builder), opts ...testdriver.Option) *testdriver.Driver {
	t.Helper()
	b := stream.NewBuilder()
	f(b)
	top, err := b.Build()
	require.NoError(t, err)
	return testdriver.New(t, top, append(opts, testdriver.ManualCommit())...)
}

func concatenated(opts ...store.Option) func(b *stream.Builder) text {
	return func(b *stream.Builder) text {
		return table.Aggregate(stream.GroupByKey(stream.From(b, texts)), "agg", table.Zero, func(_, v, a string) string { return a + v }, opts...).
			DeleteWhen(func(_, a string) bool { return strings.HasSuffix(a, "!") })
	}
}

func TestUntilCommit_SendsOneUpdatePerKey(t *testing.T) {
	for name, f := range map[string]func(b *stream.Builder) text{
		"Aggregate": concatenated(store.UntilCommit()),
		"in memory": concatenated(store.UntilCommit(), store.InMemory()),
		"Materialize": func(b *stream.Builder) text {
			return table.Materialize(concatenated()(b), "kept", store.UntilCommit())
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := manual(t, func(b *stream.Builder) { stream.To(table.ToStream(f(b)), results) })
			send(d, texts, "a=1@5", "b=1@2", "a=2@3", "c=1@4")
			assert.Empty(t, taken(d, results))
			d.Commit()
			assert.Equal(t, "b=1@2 a=12@5 c=1@4", taken(d, results), "in the order of the last writes, with the rows' times")
			send(d, texts, "c=2@9", "b=!@6", "d=1@7", "d=!@8", "e=1@1")
			d.Commit()
			assert.Equal(t, "c=12@9 b@6 e=1@1", taken(d, results), "d came and went")
			d.Commit()
			assert.Empty(t, taken(d, results))
			send(d, texts, "b=1@1", "c=!@3")
			send(d, texts, "c=3@2")
			d.Commit()
			assert.Equal(t, "b=1@1 c=3@2", taken(d, results))
		})
	}
}

func TestUntilCommit_TablesOfATopic(t *testing.T) {
	for name, f := range map[string]func(b *stream.Builder) text{
		"From":    func(b *stream.Builder) text { return table.From(b, texts, "t", store.UntilCommit()) },
		"ToTable": func(b *stream.Builder) text { return table.ToTable(stream.From(b, texts), "t", store.UntilCommit()) },
		"Materialize": func(b *stream.Builder) text {
			return table.Materialize(table.From(b, texts, "src", store.OnDemand()), "t", store.UntilCommit())
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := manual(t, func(b *stream.Builder) { stream.To(table.ToStream(f(b)), results) })
			send(d, texts, "a=1@1", "b=1@9", "b@8", "a=2@0", "z@4")
			d.Commit()
			assert.Equal(t, "a=2@0", taken(d, results), "the latest to arrive; what came and went, and what was never there, is not sent")
			send(d, texts, "a=3@1", "a@2")
			d.Commit()
			assert.Equal(t, "a@2", taken(d, results))
		})
	}
}

func TestUntilCommit_HeadersOfTheNewestRecord(t *testing.T) {
	d := manual(t, func(b *stream.Builder) { stream.To(table.ToStream(concatenated(store.UntilCommit())(b)), results) })
	in := testdriver.Input(d, texts)
	in.At(ms0(9)).Header("h", []byte("1")).Send("a", "1")
	in.At(ms0(7)).Header("h", []byte("2")).Header("n", nil).Send("a", "2")
	in.At(ms0(8)).Header("h", []byte("3")).Send("b", "1")
	in.Send("b", "2")
	d.Commit()
	out := testdriver.Output(d, results).Read()
	require.Len(t, out, 2)
	assert.Equal(t, stream.Headers{{Name: "h", Value: []byte("2")}, {Name: "n"}}, out[0].Headers)
	assert.EqualValues(t, 9, out[0].Time.UnixMilli(), "the row's")
	assert.Empty(t, out[1].Headers)
}

// TestUntilCommit_OldValueIsWhatWasSentLast: a filter after it knows whether its rows have changed.
func TestUntilCommit_OldValueIsWhatWasSentLast(t *testing.T) {
	d := manual(t, func(b *stream.Builder) {
		agg := concatenated(store.UntilCommit())(b)
		stream.To(table.ToStream(table.Filter(agg, func(_, a string) bool { return len(a)%2 == 0 })), results)
	})
	send(d, texts, "a=1@1", "a=2@2", "a=3@3")
	d.Commit()
	assert.Empty(t, taken(d, results), "no row before, none now")
	send(d, texts, "a=4@4")
	d.Commit()
	assert.Equal(t, "a=1234@4", taken(d, results))
	send(d, texts, "a=5@5", "a=6@6", "a=7@7")
	d.Commit()
	assert.Equal(t, "a@7", taken(d, results))
}

// TestUntilCommit_ChainFlushesInOneCommit: through tables that hold back themselves, and through a
// repartition topic.
func TestUntilCommit_ChainFlushesInOneCommit(t *testing.T) {
	d := manual(t, func(b *stream.Builder) {
		first := table.Count(stream.GroupByKey(stream.From(b, texts)), "first", store.UntilCommit())
		even := stream.GroupBy(table.ToStream(first), func(_ string, n int64) string { return fmt.Sprint(n%2 == 0) })
		second := table.Count(stream.GroupByKey(table.ToStream(first)), "direct", store.UntilCommit())
		third := table.Count(even, "parity", store.UntilCommit())
		stream.To(stream.MapValues(table.ToStream(second), func(n int64) string { return fmt.Sprint("direct ", n) }), results)
		stream.To(table.ToStream(third), sums)
	})
	for range 5 {
		send(d, texts, "a=x@1", "b=x@2", "a=x@3")
	}
	assert.Empty(t, taken(d, results))
	d.Commit()
	assert.Equal(t, "b=direct 1@2 a=direct 1@3", taken(d, results))
	assert.Equal(t, "false=1@2 true=1@3", taken(d, sums))
	d.Restart()
	send(d, texts, "a=x@4", "a=x@5")
	d.Commit()
	assert.Equal(t, "a=direct 2@5", taken(d, results))
	assert.Equal(t, "true=2@5", taken(d, sums))
}

func TestUntilCommit_SurvivesCrash(t *testing.T) {
	for name, crash := range map[string]func(*testdriver.Driver){"crash": (*testdriver.Driver).Restart, "disk lost": (*testdriver.Driver).Wipe} {
		t.Run(name, func(t *testing.T) {
			d := manual(t, func(b *stream.Builder) { stream.To(table.ToStream(concatenated(store.UntilCommit())(b)), results) }, testdriver.Partitions(3))
			send(d, texts, "a=1@1", "b=1@2", "c=1@3", "d=1@4")
			d.Commit()
			assert.Len(t, strings.Fields(taken(d, results)), 4)
			send(d, texts, "a=2@5", "b=!@6", "e=1@7")
			crash(d)
			assert.Empty(t, taken(d, results))
			d.Commit()
			assert.ElementsMatch(t, []string{"a=12@5", "b@6", "e=1@7"}, strings.Fields(taken(d, results)))
		})
	}
}

// TestUntilCommit_JoinReadsTheNewestRow: what is held back is what is sent, not the store.
func TestUntilCommit_JoinReadsTheNewestRow(t *testing.T) {
	asks := stream.NewTopic("asks", serde.String, serde.String)
	d := manual(t, func(b *stream.Builder) {
		agg := concatenated(store.UntilCommit())(b)
		stream.To(join.StreamTable(stream.From(b, asks), agg, "j", func(v, row string) string { return row }), results)
	})
	send(d, texts, "a=1@1", "a=2@2")
	testdriver.Input(d, asks).At(ms0(3)).Send("a", "")
	assert.Equal(t, "a=12@3", taken(d, results))
}

// TestUntilCommit_MemoryIsBounded: with more keys than memory for them, all is sent early.
func TestUntilCommit_MemoryIsBounded(t *testing.T) {
	d := manual(t, func(b *stream.Builder) { stream.To(table.ToStream(concatenated(store.UntilCommit())(b)), results) })
	in, name := testdriver.Input(d, texts).At(ms0(1)), strings.Repeat("k", 5000)
	for i := range 1000 {
		in.Send(fmt.Sprint(name, i), "1")
		in.Send(fmt.Sprint(name, i), "2")
	}
	n := len(testdriver.Output(d, results).Read())
	assert.InDelta(t, 4<<20/5160, n, 2, "4 MB of keys have been sent")
	d.Commit()
	assert.InDelta(t, 1000-n, len(testdriver.Output(d, results).Read()), 1, "one key may be among both")
}

// TestUntilCommit_ProcessorsBehindSeeTheTimeOfTheRecord that was held back, for what they make of it.
func TestUntilCommit_ProcessorsBehindSeeTheTimeOfTheRecord(t *testing.T) {
	d := manual(t, func(b *stream.Builder) {
		s := table.ToStream(concatenated(store.UntilCommit())(b))
		p := stream.Process(s, "p", func(c *stream.Context[string, string]) (func(record) error, error) {
			return func(r record) error {
				c.Forward(record{Key: r.Key, Value: r.Value + " from " + r.Source().Topic})
				return nil
			}, nil
		})
		stream.To(p, results)
	})
	send(d, texts, "a=1@5", "b=1@70", "c=1@6")
	d.Commit()
	assert.Equal(t, "a=1 from texts@5 b=1 from texts@70 c=1 from texts@6", taken(d, results))
}

// said is a test that keeps what ended it.
type said struct {
	testing.TB
	fatal string
}

func (s *said) Fatalf(format string, args ...any) {
	s.fatal = fmt.Sprintf(format, args...)
	panic(s)
}

func TestUntilCommit_ErrorBehindNamesItsStep(t *testing.T) {
	b := stream.NewBuilder()
	agg := table.ToStream(concatenated(store.UntilCommit())(b))
	stream.To(stream.MapValues(agg, func(string) string { panic("broken") }).Named("breaks"), results)
	top, err := b.Build()
	require.NoError(t, err)
	s := &said{TB: t}
	d := testdriver.New(s, top, testdriver.ManualCommit())
	send(d, texts, "a=1@5")
	require.PanicsWithValue(t, s, d.Commit)
	assert.Contains(t, s.fatal, `map-values "breaks"`)
	assert.Contains(t, s.fatal, "panic: broken")
}

func TestUntilCommit_Mistakes(t *testing.T) {
	b := stream.NewBuilder()
	table.From(b, texts, "t", store.OnDemand(), store.UntilCommit())
	table.SuppressFor(table.From(b, texts, "u"), time.Second, "s", table.Unbounded(), store.UntilCommit())
	_, err := b.Build()
	require.Error(t, err)
	assert.Contains(t, err.Error(), "store.UntilCommit needs a store, which store.OnDemand leaves out")
	assert.Contains(t, err.Error(), "store.UntilCommit does not apply")
}

func TestUntilCommit_GroupsOfRows(t *testing.T) {
	d := manual(t, func(b *stream.Builder) {
		n := table.CountRows(byFirst(table.From(b, texts, "rows")), "n", store.UntilCommit()).DeleteWhen(func(_ string, n int64) bool { return n == 0 })
		stream.To(table.ToStream(n), sums)
	})
	send(d, texts, "a=x1@1", "b=y@2", "c=x@3", "b@4", "c=x2@5")
	d.Commit()
	assert.Equal(t, "x=2@5", taken(d, sums), "y came and went")
	send(d, texts, "a@6", "c@4")
	d.Commit()
	assert.Equal(t, "x@4", taken(d, sums))
}

// windowsText writes the changes of a windowed table.
func windowsText[V any](t table.KTable[windowKey, V]) {
	s := stream.MapRecords(table.ToStream(t), func(r stream.Record[windowKey, V]) record {
		k := fmt.Sprintf("%s[%d-%d]", r.Key.Key, r.Key.Start.UnixMilli(), r.Key.End.UnixMilli())
		return record{Key: k, Value: fmt.Sprint(r.Value), Tombstone: r.Tombstone, Time: r.Time, Headers: r.Headers}
	})
	stream.To(s, results)
}

func TestUntilCommit_Windows(t *testing.T) {
	for name, w := range map[string]window.Any{
		"hopping": window.Hopping(ms(10), ms(5)), "sliding": window.Sliding(ms(3)), "sessions": window.Sessions(ms(4)),
	} {
		t.Run(name, func(t *testing.T) {
			d := manual(t, func(b *stream.Builder) {
				windowsText(table.CountWindows(stream.GroupByKey(stream.From(b, texts)), w, "n", store.UntilCommit()))
			})
			plain := drive(t, func(b *stream.Builder) {
				windowsText(table.CountWindows(stream.GroupByKey(stream.From(b, texts)), w, "n"))
			})
			all := map[string]string{}
			both := func(records ...string) {
				send(d, texts, records...)
				send(plain, texts, records...)
				for _, x := range strings.Fields(taken(plain, results)) {
					k, _, _ := strings.Cut(x, "]")
					all[k] = x
				}
			}
			both("a=v@5", "b=v@7", "b=v@8", "a=v@11", "b=v@12")
			d.Commit()
			got := taken(d, results)
			last := map[string]string{}
			for _, x := range strings.Fields(got) {
				k, _, _ := strings.Cut(x, "]")
				assert.NotContains(t, last, k, "one update for each window")
				last[k] = x
			}
			for k, x := range all {
				if strings.Contains(x, "=") {
					assert.Equal(t, x, last[k], "the last of all updates")
				} else {
					assert.NotContains(t, last, k, "came and went")
				}
			}
			d.Restart()
			both("a=v@13", "a=v@14")
			d.Commit()
			for _, x := range strings.Fields(taken(d, results)) {
				k, _, _ := strings.Cut(x, "]")
				assert.Equal(t, all[k], x)
			}
			if name == "sessions" {
				assert.Equal(t, "a[5-5]=1@5 a[11-11]=1@11 b[7-12]=3@12", got, "merged sessions come and go")
			}
		})
	}
}

func TestUntilCommit_SessionsHaveHeaders(t *testing.T) {
	d := manual(t, func(b *stream.Builder) {
		windowsText(table.CountWindows(stream.GroupByKey(stream.From(b, texts)), window.Sessions(ms(4)), "n", store.UntilCommit()))
	})
	in := testdriver.Input(d, texts)
	in.At(ms0(1)).Header("h", []byte("1")).Send("a", "v")
	in.At(ms0(3)).Header("h", []byte("2")).Send("a", "v")
	d.Commit()
	out := testdriver.Output(d, results).Read()
	require.Len(t, out, 1)
	assert.Equal(t, "a[1-3]", out[0].Key)
	assert.Equal(t, stream.Headers{{Name: "h", Value: []byte("2")}}, out[0].Headers)
}

func TestUntilCommit_Cogroups(t *testing.T) {
	others := stream.NewTopic("others", serde.String, serde.String)
	join := func(_, v, agg string) string { return agg + v }
	d := manual(t, func(b *stream.Builder) {
		c := table.Cogroup(table.Add(stream.GroupByKey(stream.From(b, texts)), join), table.Add(stream.GroupByKey(stream.From(b, others)), join))
		stream.To(table.ToStream(table.AggregateCogroup(c, "c", table.Zero, store.UntilCommit())), results)
		windowsText(table.AggregateCogroupWindows(c, window.Tumbling(ms(10)), "w", table.Zero, store.UntilCommit()))
	})
	send(d, texts, "a=1@1", "a=2@2")
	send(d, others, "a=3@3", "b=4@4")
	send(d, texts, "a=5@15")
	d.Commit()
	assert.ElementsMatch(t, []string{"a=1235@15", "b=4@4", "a[0-10]=123@3", "b[0-10]=4@4", "a[10-20]=5@15"}, strings.Fields(taken(d, results)))
}

// TestUntilCommit_FinalResultsOfWindows: what is sent at a commit is what closes windows then.
func TestUntilCommit_FinalResultsOfWindows(t *testing.T) {
	d := manual(t, func(b *stream.Builder) { finals(countsIn(b, window.Tumbling(ms(10)), store.UntilCommit())) })
	send(d, texts, "a=v@1", "a=v@2", "b=v@3", "b=v@12")
	assert.Empty(t, taken(d, results))
	d.Commit()
	assert.Equal(t, "a[0-10]=2@2 b[0-10]=1@3", taken(d, results))
}
