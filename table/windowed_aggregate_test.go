package table_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

type (
	windowedTable[V any] = table.KTable[window.Key[string], V]
	windowedText         = windowedTable[string]
)

// named renders a windowed key as key[start,end].
func named(k window.Key[string]) string {
	return fmt.Sprintf("%s[%d,%d]", k.Key, k.Start.UnixMilli(), k.End.UnixMilli())
}

// shown writes a windowed table to results.
func shown[V any](t windowedTable[V]) {
	s := stream.MapRecordValues(table.ToStream(t), func(r stream.Record[window.Key[string], V]) (string, bool) {
		return fmt.Sprint(r.Value), !r.Tombstone
	})
	stream.To(stream.MapKeys(s, func(k window.Key[string]) string { return named(k) }), results)
}

func tumbling(grace int64) window.Time  { return window.Tumbling(ms(10)).Grace(ms(grace)) }
func byKey(b *stream.Builder) groupedAs { return stream.GroupByKey(stream.From(b, texts)) }

type groupedAs = stream.Grouped[string, string]

func joinedIn(b *stream.Builder, w window.Any, opts ...store.Option) windowedText {
	return table.ReduceWindows(byKey(b), w, "win", func(agg, v string) string { return agg + v }, opts...)
}

const tooLate = "record too late: its window is closed"

func TestAggregateWindows(t *testing.T) {
	reduced := func(w window.Any) func(b *stream.Builder) {
		return func(b *stream.Builder) { shown(joinedIn(b, w)) }
	}
	for _, tt := range []struct {
		name    string
		f       func(b *stream.Builder)
		in      string
		want    string
		dropped map[string]int
	}{
		{"a window takes records until its end and the grace period are over", reduced(tumbling(5)),
			"a=1@9 a=2@14 a=3@9 a=4@15 a=5@9",
			"a[0,10]=1@9 a[10,20]=2@14 a[0,10]=13@9 a[10,20]=24@15", map[string]int{tooLate: 1}},
		{"stream time is that of all keys", reduced(tumbling(0)),
			"a=1@0 b=1@10 a=2@9 b=2@9", "a[0,10]=1@0 b[10,20]=1@10", map[string]int{tooLate: 2}},
		{"a record may be late for one of its windows", reduced(window.Hopping(ms(10), ms(5))),
			"a=1@3 a=2@10 a=3@9", "a[0,10]=1@3 a[5,15]=2@10 a[10,20]=2@10 a[5,15]=23@10", map[string]int{tooLate: 1}},
		{"records without a value move stream time, but are not folded", reduced(tumbling(0)),
			"a=1@0 a@10 a=2@9 =3@99", "a[0,10]=1@0", map[string]int{"record without value": 1, tooLate: 1, "record without key": 1}},
		{"a count takes them", func(b *stream.Builder) { shown(table.CountWindows(byKey(b), tumbling(0), "win")) },
			"a=1@0 a@3 a@10 a=2@9", "a[0,10]=1@0 a[0,10]=2@3 a[10,20]=1@10", map[string]int{tooLate: 1}},
		{"but not in sliding windows, where they do not even move stream time", func(b *stream.Builder) { shown(table.CountWindows(byKey(b), window.Sliding(ms(10)), "win")) },
			"a=1@20 a@99 a=2@20", "a[10,20]=1@20 a[10,20]=2@20", map[string]int{"record without value": 1}},
		{"unlimited windows are never late, and know nothing of what was before", reduced(window.Unlimited(time.UnixMilli(10))),
			"a=1@9 a=2@10 a=3@99999 a=4@11", "a[10,9223372036854775807]=2@10 a[10,9223372036854775807]=23@99999 a[10,9223372036854775807]=234@99999", map[string]int{}},
		{"sessions are replaced when they grow, and merged", reduced(window.Sessions(ms(5)).Grace(ms(100))),
			"a=1@0 a=2@10 a=3@5 b=4@5 a=5@5",
			"a[0,0]=1@0 a[10,10]=2@10 a[0,0]@0 a[10,10]@10 a[0,10]=123@10 b[5,5]=4@5 a[0,10]@10 a[0,10]=1235@10", map[string]int{}},
		{"a late record may join a session that is open", reduced(window.Sessions(ms(5))),
			"a=1@10 b=1@15 a=2@5 a=3@4 a=4@9", "a[10,10]=1@10 b[15,15]=1@15 a[10,10]@10 a[5,10]=12@10 a[5,10]@10 a[4,10]=123@10 a[4,10]@10 a[4,10]=1234@10", map[string]int{}},
		{"and else it is late", reduced(window.Sessions(ms(5))),
			"a=1@10 b=1@16 a=2@4 a=3@10", "a[10,10]=1@10 b[16,16]=1@16", map[string]int{tooLate: 2}},
		{"a row may be deleted and begins again", func(b *stream.Builder) {
			shown(joinedIn(b, tumbling(5)).DeleteWhen(func(k window.Key[string], v string) bool {
				return k.Key == "a" && strings.HasSuffix(v, "x")
			}))
		}, "a=1@3 a=x@2 a=2@1 b=x@1", "a[0,10]=1@3 a[0,10]@3 a[0,10]=2@1 b[0,10]=x@1", map[string]int{}},
		{"so may a session", func(b *stream.Builder) {
			shown(joinedIn(b, window.Sessions(ms(5))).DeleteWhen(func(_ window.Key[string], v string) bool { return strings.HasSuffix(v, "x") }))
		}, "a=1@3 a=x@4 a=2@5", "a[3,3]=1@3 a[3,3]@3 a[3,4]@4 a[5,5]=2@5", map[string]int{}},
		{"sliding windows are made as records come", reduced(window.Sliding(ms(10)).Grace(ms(50))),
			"a=A@5 a=B@12 a=C@30 a=D@25 a=E@20",
			"a[0,10]=A@5 a[6,16]=B@12 a[2,12]=AB@12 a[20,30]=C@30 a[20,30]=CD@30 a[15,25]=D@25 a[26,36]=C@30 " +
				"a[20,30]=CDE@30 a[15,25]=DE@25 a[13,23]=E@20 a[10,20]=BE@20 a[21,31]=CD@30", map[string]int{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, tt.f)
			send(d, texts, strings.Fields(tt.in)...)
			assert.Equal(t, tt.want, taken(d, results))
			assert.Equal(t, tt.dropped, d.Dropped())
		})
	}
}

// What Kafka Streams does otherwise, here and below, is in docs/differences.md.
func TestSlidingWindow_NextOfBothSidesIsSentOnce(t *testing.T) {
	d := drive(t, func(b *stream.Builder) { shown(joinedIn(b, window.Sliding(ms(10)), store.Retention(time.Hour))) })
	send(d, texts, "a=1@30", "a=2@41")
	assert.Equal(t, "a[20,30]=1@30 a[31,41]=2@41", taken(d, results))
}

func TestAggregateWindows_ResultsDoNotDependOnRetention(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		w        window.Any
		want     string
		late     int
	}{
		{"sliding windows", "a=1@20 a=2@40 a=3@29 a=4@30 a=5@35", window.Sliding(ms(10)),
			"a[10,20]=1@20 a[30,40]=2@40 a[30,40]=24@40 a[31,41]=2@40 a[31,41]=25@40 a[30,40]=245@40 a[36,46]=2@40", 4},
		{"sessions", "a=A@0 a=B@10 a=C@5 a=D@30 a=E@14 a=F@16 a=G@15", window.Sessions(ms(5)).Grace(ms(10)),
			"a[0,0]=A@0 a[10,10]=B@10 a[0,0]@0 a[10,10]@10 a[0,10]=ABC@10 a[30,30]=D@30 a[16,16]=F@16 a[0,10]@10 a[16,16]@16 a[0,16]=ABCFG@16", 1},
	} {
		for _, opts := range [][]store.Option{nil, {store.Retention(time.Hour)}, {store.InMemory()}, {store.InMemory(), store.Retention(time.Hour)}} {
			d := drive(t, func(b *stream.Builder) { shown(joinedIn(b, tt.w, opts...)) })
			send(d, texts, strings.Fields(tt.in)...)
			assert.Equal(t, tt.want, taken(d, results), "%s, %d options", tt.name, len(opts))
			assert.Equal(t, tt.late, d.Dropped()[tooLate])
		}
	}
}

func TestAggregateWindows_LatenessSurvivesARestart(t *testing.T) {
	for name, crash := range map[string]func(*testdriver.Driver){"restart": (*testdriver.Driver).Restart, "disk lost": (*testdriver.Driver).Wipe} {
		for kind, w := range map[string]window.Any{"tumbling": tumbling(0), "sliding": window.Sliding(ms(9)), "sessions": window.Sessions(ms(9))} {
			t.Run(name+", "+kind, func(t *testing.T) {
				d := drive(t, func(b *stream.Builder) { shown(table.CountWindows(byKey(b), w, "win")) })
				send(d, texts, "a=1@0", "b=1@30")
				crash(d)
				taken(d, results)
				send(d, texts, "a=2@5")
				assert.Empty(t, taken(d, results))
				assert.Equal(t, map[string]int{tooLate: 1}, d.Dropped())
				send(d, texts, "b=2@30")
				assert.Contains(t, taken(d, results), "=2@30", "the rows are there")
			})
		}
	}
}

func TestOnClose(t *testing.T) {
	for _, tt := range []struct {
		name string
		w    window.Any
		in   []string // a record, and what it closes
	}{
		{"tumbling windows", tumbling(5).OnClose(), []string{
			"a=1@0", "", "b=2@3", "", "a=3@9", "", "a=4@14", "", "a=5@15", "a[0,10]=13@9 b[0,10]=2@3", "a=6@9", "", "b=7@24", "", "b=8@25", "a[10,20]=45@15",
		}},
		{"a jump in stream time loses no window, however short the retention", tumbling(5).OnClose(), []string{
			"a=1@20", "", "a=2@25", "", "c=3@60", "a[20,30]=12@25", "c=4@100000", "c[60,70]=3@60",
		}},
		{"hopping windows", window.Hopping(ms(10), ms(5)).OnClose(), []string{
			"a=1@7", "", "a=2@9", "", "a=3@12", "a[0,10]=12@9", "b=4@40", "a[5,15]=123@12 a[10,20]=3@12",
		}},
		{"sliding windows", window.Sliding(ms(10)).Grace(ms(5)).OnClose(), []string{
			"a=1@0", "", "a=2@4", "", "b=3@15", "", "b=4@16", "a[0,10]=12@4", "b=5@20", "a[1,11]=2@4", "c=6@500", "b[5,15]=3@15 b[6,16]=34@16 b[10,20]=345@20 b[16,26]=45@20 b[17,27]=5@20",
		}},
		{"sessions, those that were merged left out", window.Sessions(ms(5)).Grace(ms(5)).OnClose(), []string{
			"a=1@0", "", "a=2@8", "", "a=3@4", "", "b=4@17", "", "b=5@18", "", "b=6@19", "a[0,8]=123@8", "c=7@99", "b[17,19]=456@19",
		}},
		{"records without a value close windows, too", tumbling(0).OnClose(), []string{"a=1@0", "", "b@10", "a[0,10]=1@0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, crash := range []func(*testdriver.Driver){func(*testdriver.Driver) {}, (*testdriver.Driver).Restart, (*testdriver.Driver).Wipe} {
				for _, opts := range [][]store.Option{nil, {store.InMemory()}, {store.Retention(time.Hour)}} {
					d := drive(t, func(b *stream.Builder) { shown(joinedIn(b, tt.w, opts...)) })
					for i := 0; i < len(tt.in); i += 2 {
						send(d, texts, tt.in[i])
						assert.Equal(t, tt.in[i+1], taken(d, results), "after %s", tt.in[i])
						crash(d)
					}
				}
			}
		})
	}
}

func TestOnClose_SessionsThatEndTogetherAreSentByKey(t *testing.T) {
	d := drive(t, func(b *stream.Builder) { shown(joinedIn(b, window.Sessions(ms(5)).OnClose())) })
	send(d, texts, "b=1@5", "b=2@9", "a=3@9", "c=4@8", "c=5@40")
	assert.Equal(t, "c[8,8]=4@8 a[9,9]=3@9 b[5,9]=12@9", taken(d, results))
}

func TestOnClose_SendsEachWindowOfItsPartition(t *testing.T) {
	b := stream.NewBuilder()
	shown(table.CountWindows(byKey(b), tumbling(0).OnClose(), "win"))
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.Partitions(2))
	send(d, texts, "a=1@0", "b=1@0", "c=1@0", "d=1@0")
	assert.Empty(t, taken(d, results))
	send(d, texts, "a=1@10")
	some := taken(d, results)
	assert.Contains(t, some, "a[0,10]=1@0")
	send(d, texts, "b=1@10", "c=1@10", "d=1@10")
	rest := taken(d, results)
	assert.Len(t, strings.Fields(some+" "+rest), 4, "each partition has its own stream time")
}

func TestAggregateWindows_Headers(t *testing.T) {
	for _, tt := range []struct {
		w    window.Any
		want []string
	}{
		{tumbling(0), []string{"a[0,10] 1", "a[10,20] 2"}},
		{tumbling(0).OnClose(), []string{"a[0,10] 2"}},
		{window.Sliding(ms(5)), []string{"a[0,5] 1", "a[5,10] 2"}},
		{window.Sessions(ms(5)), []string{"a[4,4] ", "a[10,10] "}},
		{window.Sessions(ms(5)).OnClose(), []string{"a[4,4] 2"}},
	} {
		d := drive(t, func(b *stream.Builder) { shown(table.CountWindows(byKey(b), tt.w, "win")) })
		in := testdriver.Input(d, texts)
		in.At(time.UnixMilli(4)).Header("h", []byte("1")).Send("a", "x")
		in.At(time.UnixMilli(10)).Header("h", []byte("2")).Send("a", "x")
		var got []string
		for _, r := range testdriver.Output(d, results).Read() {
			h, _ := r.Headers.Get("h")
			got = append(got, r.Key+" "+string(h))
		}
		assert.Equal(t, tt.want, got, "%+v", tt.w)
	}
}

// changes writes old and new values of a table to results, through a filter that only looks at them.
func changes(t windowedText, seen *[]string) {
	shown(table.Filter(t, func(_ window.Key[string], v string) bool {
		*seen = append(*seen, v)
		return true
	}))
}

// TestAggregateWindows_OldValues: a filter is asked about the new value of a change, then about the
// old one.
func TestAggregateWindows_OldValues(t *testing.T) {
	add := func(_, v, agg string) string { return agg + v }
	zero := func() string { return "." }
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder) windowedText
		in   string
		want string
	}{
		{"the first of a window has what zero returned", func(b *stream.Builder) windowedText {
			return table.AggregateWindows(byKey(b), tumbling(0), "win", zero, add)
		}, "a=1@0 a=2@1", ".1 . .12 .1"},
		{"a reduced one has none", func(b *stream.Builder) windowedText { return joinedIn(b, tumbling(0)) }, "a=1@0 a=2@1", "1 12 1"},
		{"sliding windows that are made of others are new", func(b *stream.Builder) windowedText {
			return joinedIn(b, window.Sliding(ms(10)).Grace(ms(10)))
		}, "a=1@20 a=2@25 a=3@22", "1 2 12 23 2 123 12 13 2"},
		{"a session that is replaced is gone, the new one was not there", func(b *stream.Builder) windowedText {
			return joinedIn(b, window.Sessions(ms(5)))
		}, "a=1@20 a=2@22", "1 1 12"},
		{"a session of one moment changes in place", func(b *stream.Builder) windowedText {
			return joinedIn(b, window.Sessions(ms(5)))
		}, "a=1@20 a=2@20", "1 12 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen []string
			d := drive(t, func(b *stream.Builder) { changes(tt.f(b), &seen) })
			send(d, texts, strings.Fields(tt.in)...)
			assert.Equal(t, tt.want, strings.Join(seen, " "))
		})
	}
}

// TestAggregateRows_OfWindowedTables: what is computed from a windowed table counts no window twice
// and none too seldom.
func TestAggregateRows_OfWindowedTables(t *testing.T) {
	for name, w := range map[string]window.Any{
		"tumbling": tumbling(100), "hopping": window.Hopping(ms(10), ms(3)).Grace(ms(100)),
		"sliding": window.Sliding(ms(10)).Grace(ms(100)), "sessions": window.Sessions(ms(5)).Grace(ms(100)),
		"emitted on close": window.Sliding(ms(10)).OnClose(),
	} {
		t.Run(name, func(t *testing.T) {
			rows := map[string]int64{} // what ToStream says
			d := drive(t, func(b *stream.Builder) {
				n := table.CountWindows(byKey(b), w, "win")
				stream.ForEach(table.ToStream(n), func(r stream.Record[window.Key[string], int64]) { rows[named(r.Key)] = r.Value })
				g := table.GroupBy(n, func(k window.Key[string], n int64) (string, int64, bool) { return k.Key, n, true })
				stream.To(table.ToStream(table.AggregateRows(g, "sum", table.Zero,
					func(_ string, n, sum int64) int64 { return sum + n }, func(_ string, n, sum int64) int64 { return sum - n })), sums)
			})
			send(d, texts, "a=1@20", "a=1@20", "a=1@27", "a=1@24", "a=1@9", "a=1@31", "a=1@42", "a=1@37", "a=1@31", "a=1@95")
			var want int64
			for _, n := range rows {
				want += n
			}
			var got int64
			for _, r := range testdriver.Output(d, sums).Read() {
				got = r.Value
			}
			assert.Equal(t, want, got)
		})
	}
}

func TestWindowedKeys_SerdeIsDerived(t *testing.T) {
	perKey := stream.NewTopic("per-key", window.TimeKey(serde.String, tumbling(0)), serde.Int64)
	d := func() *testdriver.Driver {
		b := stream.NewBuilder()
		n := table.CountWindows(stream.GroupBy(stream.From(b, texts), func(_, v string) string { return v }), tumbling(0), "win")
		kept := table.Materialize(table.Filter(n, func(window.Key[string], int64) bool { return true }), "kept") // a store with windowed keys
		stream.To(table.ToStream(kept), perKey)
		again := table.CountWindows(stream.GroupByKey(stream.From(b, perKey)), window.Tumbling(time.Second), "again") // and a window of windows
		stream.To(stream.MapKeys(table.ToStream(again), func(k window.Key[window.Key[string]]) string { return named(k.Key) + fmt.Sprint(k.End.UnixMilli()) }), sums)
		top, err := b.Build()
		require.NoError(t, err)
		return testdriver.New(t, top, testdriver.Partitions(8))
	}()
	for i := range 20 {
		send(d, texts, fmt.Sprintf("k=v%d@%d", i%3, i*5))
	}
	testdriver.Input(d, perKey).Send(window.Key[string]{Key: "v0", Start: time.UnixMilli(500), End: time.UnixMilli(510)}, 1)
	partitions := map[string]map[int32]bool{}
	for _, r := range d.Raw("per-key") {
		k := string(r.Key[:len(r.Key)-8])
		if partitions[k] == nil {
			partitions[k] = map[int32]bool{}
		}
		partitions[k][r.Partition] = true
	}
	require.Len(t, partitions, 3)
	for k, at := range partitions {
		assert.Len(t, at, 1, "all windows of %s are in one partition", k)
	}
	assert.Contains(t, taken(d, sums), "v0[90,100]1000=1@90")
}

func TestWindowedKeys_SerdeCanBeSet(t *testing.T) {
	type id string // has no serde of its own
	ids := serde.Func(func(dst []byte, v id) ([]byte, error) { return append(append(dst, '#'), v...), nil }, func(b []byte) (id, error) { return id(b[1:]), nil })
	d := drive(t, func(b *stream.Builder) {
		s := stream.MapKeys(stream.From(b, texts), func(k string) id { return id(k) })
		n := table.CountWindows(stream.GroupByKey(stream.AssumePartitioned(s)), tumbling(0), "win").WithSerdes(window.TimeKey(ids, tumbling(0)), nil)
		stream.To(stream.MapKeys(table.ToStream(n), func(k window.Key[id]) string { return string(k.Key) }), sums)
	})
	send(d, texts, "a=1@0")
	assert.Equal(t, "a=1@0", taken(d, sums))
	changelog := d.Raw("testdriver-win-changelog")
	require.Len(t, changelog, 1)
	assert.Equal(t, "#a", string(changelog[0].Key[:2]))
}

func TestAggregateWindows_ChangelogEndsWithWhatTheCommitDeletes(t *testing.T) {
	d := drive(t, func(b *stream.Builder) { shown(joinedIn(b, window.Sessions(ms(5)))) })
	send(d, texts, "a=1@0", "a=2@10", "a=3@5")
	var got []string
	for _, r := range d.Raw("testdriver-win-changelog") {
		got = append(got, fmt.Sprintf("%d-%d %s", r.Key[16], r.Key[8], r.Value))
	}
	assert.Equal(t, []string{"0-0 1", "10-10 2", "0-10 123", "0-0 ", "10-10 "}, got)
}

func TestAggregateWindows_TablesAreJoinedByKeyAndWindow(t *testing.T) {
	for _, tt := range []struct {
		w    window.Any
		want string
	}{
		{tumbling(100), "a[0,10]=1/1@2 a[0,10]=2/1@3"},
		{window.Sessions(ms(5)).Grace(ms(100)), "a[1,1]@1 a[1,2]=2/2@2"},
	} {
		d := drive(t, func(b *stream.Builder) {
			l := table.CountWindows(byKey(b), tt.w, "l")
			r := table.CountWindows(stream.GroupByKey(stream.From(b, questions)), tt.w, "r")
			shown(join.TableTable(l, r, func(l, r int64) string { return fmt.Sprint(l, "/", r) }))
		})
		if _, sessions := tt.w.(window.Session); sessions {
			send(d, questions, "a=x@1")
			send(d, texts, "a=1@1")
			assert.Equal(t, "a[1,1]=1/1@1", taken(d, results))
			send(d, questions, "a=x@2") // [1,1] is replaced by [1,2]
			send(d, texts, "a=1@2")
		} else {
			send(d, texts, "a=1@1")
			send(d, questions, "a=x@2", "b=x@2")
			send(d, texts, "a=1@3", "a=1@15")
		}
		assert.Contains(t, taken(d, results), tt.want)
	}
}

func TestWindowStore_RowsHaveTheBoundsOfTheirKeys(t *testing.T) {
	for _, tt := range []struct {
		w    window.Any
		want string
	}{
		{tumbling(0), "a 10 20 1@13"},
		{window.Unlimited(time.UnixMilli(5)), "a 5 9223372036854775807 1@13"},
	} {
		var n windowedTable[int64]
		d := drive(t, func(b *stream.Builder) { n = table.CountWindows(byKey(b), tt.w, "win") })
		send(d, texts, "a=x@13")
		var got []string
		for r, err := range table.WindowStore(n).In(d).All(time.UnixMilli(0), time.UnixMilli(100)) {
			require.NoError(t, err)
			got = append(got, fmt.Sprint(r.Key, " ", r.Start.UnixMilli(), " ", r.End.UnixMilli(), " ", r.Value, "@", r.Time.UnixMilli()))
		}
		assert.Equal(t, []string{tt.want}, got)
	}
}

func TestSessionStore_OfATable(t *testing.T) {
	var n windowedTable[int64]
	d := drive(t, func(b *stream.Builder) {
		n = table.CountWindows(byKey(b), window.Sessions(ms(5)), "win", store.Retention(time.Hour))
	})
	send(d, texts, "a=x@13", "b=x@14", "a=x@17", "a=x@40")
	var got []string
	for r, err := range table.SessionStore(n).In(d).Fetch("a") {
		require.NoError(t, err)
		got = append(got, fmt.Sprint(r.Key, " ", r.Start.UnixMilli(), " ", r.End.UnixMilli(), " ", r.Value))
	}
	assert.Equal(t, []string{"a 13 17 2", "a 40 40 1"}, got)
}

func TestAggregateWindows_RecordThatCannotBeStoredGoesToThePolicy(t *testing.T) {
	picky := serde.Func(func(d []byte, v string) ([]byte, error) {
		if strings.HasSuffix(v, "bad") {
			return nil, errors.New("not storable")
		}
		return append(d, v...), nil
	}, func(b []byte) (string, error) { return string(b), nil })
	for _, w := range []window.Any{tumbling(0), window.Sliding(ms(10)), window.Sessions(ms(10))} {
		d := drive(t, func(b *stream.Builder) {
			shown(joinedIn(b, w).WithSerdes(nil, picky).OnError(failure.Skip()))
		})
		send(d, texts, "a=1@20", "a=bad@20", "a=2@20")
		assert.Contains(t, taken(d, results), "=12@20")
		assert.Equal(t, map[string]int{"record could not be written": 1}, d.Dropped())
	}
}

func TestAggregateWindows_WindowMayBeAPointer(t *testing.T) {
	w := tumbling(0)
	d := drive(t, func(b *stream.Builder) { shown(joinedIn(b, &w)) })
	send(d, texts, "a=1@20")
	assert.Equal(t, "a[20,30]=1@20", taken(d, results))
}

func TestAggregateWindows_Mistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"an advance greater than the size", func(b *stream.Builder) { joinedIn(b, window.Hopping(ms(10), ms(11))) }, "its windows advance by 11ms"},
		{"a negative grace period", func(b *stream.Builder) { joinedIn(b, tumbling(-1)) }, "grace period of its windows is -1ms"},
		{"a zero window", func(b *stream.Builder) { joinedIn(b, window.Slide{}) }, "its window is zero"},
		{"no window", func(b *stream.Builder) { joinedIn(b, nil) }, "its window is nil"},
		{"a nil pointer", func(b *stream.Builder) { joinedIn(b, (*window.Session)(nil)) }, "its window is nil"},
		{"a type that embeds a window", func(b *stream.Builder) {
			joinedIn(b, struct{ window.Time }{tumbling(0)})
		}, "not a type that embeds it"},
		{"a retention that is too short", func(b *stream.Builder) { joinedIn(b, tumbling(5), store.Retention(ms(14))) }, "keeps windows for 14ms; it must be at least 15ms"},
		{"a retention of nothing", func(b *stream.Builder) { joinedIn(b, tumbling(5), store.Retention(0)) }, "store.Retention is 0s"},
		{"two retentions", func(b *stream.Builder) {
			joinedIn(b, tumbling(5), store.Retention(ms(20)), store.Retention(ms(30)))
		}, "given twice"},
		{"a retention of another store", func(b *stream.Builder) { table.Count(byKey(b), "n", store.Retention(ms(14))) }, "option store.Retention does not apply here"},
		{"no name", func(b *stream.Builder) { table.CountWindows(byKey(b), tumbling(0), "") }, "its name is empty"},
		{"no function", func(b *stream.Builder) {
			table.AggregateSessions(byKey(b), window.Sessions(ms(1)), "s", table.Zero[string], nil, nil)
		}, "its function 2 of 3 is nil"},
		{"a zero grouping", func(b *stream.Builder) {
			joinedIn(b, tumbling(0))
			table.CountWindows(groupedAs{}, tumbling(0), "n")
		}, "zero handle"},
		{"a key without serde", func(b *stream.Builder) {
			type id string
			s := stream.MapKeys(stream.From(b, texts), func(k string) id { return id(k) })
			table.CountWindows(stream.GroupByKey(stream.AssumePartitioned(s)), tumbling(0), "n")
		}, "no serde for its keys"},
		{"a topic without serde for the keys in windows", func(b *stream.Builder) {
			stream.To(table.ToStream(joinedIn(b, tumbling(0))), stream.NewTopic("out", window.TimeKey[string](nil, tumbling(0)), serde.String))
		}, "has no serde for its keys"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "windowed_aggregate_test.go:")
		})
	}
}
