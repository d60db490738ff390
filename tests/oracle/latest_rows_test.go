package oracle

import (
	"cmp"
	"fmt"
	"math/rand/v2"
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
)

// Oracles that need no model of an operator: what stands in a store, or comes out, is compared after each record with the latest
// rows of its inputs, in one long history. The models of the other files know more (times, headers, drops, order), and are more to write.

// randomHistory returns the source of a test's history, by -seed.
func randomHistory(t *testing.T, number uint64) *rand.Rand {
	base := *seed
	if base == 0 {
		base = rand.Uint64N(1 << 32)
	}
	t.Logf("-seed %d", base)
	return rand.New(rand.NewPCG(base, number))
}

func driverOf(t *testing.T, build func(b *stream.Builder), opts ...testdriver.Option) *testdriver.Driver {
	t.Helper()
	b := stream.NewBuilder()
	build(b)
	top, err := b.Build()
	require.NoError(t, err)
	return testdriver.New(t, top, opts...)
}

// tableOf is a table of texts without a store of its own where none is needed.
func tableOf(b *stream.Builder, name string) table.KTable[string, string] {
	return table.From(b, topic(name), name+"-rows", store.OnDemand())
}

// restartOrWipe now and then lets the driver begin again from its files, or from changelogs alone.
func restartOrWipe(d *testdriver.Driver, r *rand.Rand, oneIn int) {
	switch r.IntN(oneIn) {
	case 0:
		d.Restart()
	case 1:
		d.Wipe()
	}
}

func storedRows[V any](t *testing.T, d *testdriver.Driver, of table.KTable[string, V]) map[string]V {
	t.Helper()
	rows := map[string]V{}
	for r, err := range of.Store().In(d).All() {
		require.NoError(t, err)
		rows[r.Key] = r.Value
	}
	return rows
}

// A count, whatever order records, commits, crashes and lost disks come in, is what was sent: state and offsets are committed together,
// and the store is its changelog.
func TestOracleCount_UnderCrashes(t *testing.T) {
	r := randomHistory(t, 1)
	for range 50 {
		var n table.KTable[string, int64]
		d := driverOf(t, func(b *stream.Builder) { n = table.Count(stream.GroupByKey(from(b, "in")), "n") },
			testdriver.Partitions(1+r.IntN(3)), testdriver.ManualCommit())
		in := testdriver.Input(d, topic("in"))
		want := map[string]int64{}
		for range r.IntN(60) {
			switch r.IntN(12) {
			case 0:
				d.Restart()
			case 1:
				d.Wipe()
			case 2, 3:
				d.Commit()
			default:
				k := fmt.Sprint(r.IntN(5))
				in.At(time.UnixMilli(int64(r.IntN(100)))).Send(k, "")
				want[k]++
			}
		}
		assert.Equal(t, want, storedRows(t, d, n))
		d.Commit()
		changelog := testdriver.Output(d, stream.NewTopic("testdriver-n-changelog", serde.String, serde.Int64))
		assert.Equal(t, want, testdriver.Table(changelog))
	}
}

// An aggregation, and a filter of it, are what follows from the whole history of the key.
func TestOracleAggregate_AndFilter(t *testing.T) {
	r := randomHistory(t, 2)
	deleted := func(_, agg string) bool { return strings.HasSuffix(agg, "d") }
	odd := func(_, agg string) bool { return len(agg)%2 == 1 }
	var agg table.KTable[string, string]
	d := driverOf(t, func(b *stream.Builder) {
		agg = table.Aggregate(stream.GroupByKey(from(b, "in")), "agg", table.Zero,
			func(_, v, a string) string { return a + v }).DeleteWhen(deleted)
		toOut(agg, "out")
		toOut(table.Filter(agg, odd), "odd")
	})
	var history []stream.Record[string, string]
	for range 400 {
		x := stream.Record[string, string]{Key: string(rune('a' + r.IntN(4))), Value: string(rune('a' + r.IntN(5))), Time: time.UnixMilli(r.Int64N(100))}
		switch r.IntN(12) {
		case 0:
			x.Tombstone, x.Value = true, ""
		case 1:
			x.NoKey, x.Key = true, ""
		}
		history = append(history, x)
		testdriver.Input(d, topic("in")).SendRecord(x)
		if r.IntN(50) == 0 {
			d.Restart()
		}
		want, at, row, changed := aggregateOf(history, x.Key, deleted)
		got := testdriver.Output(d, topic("out")).Read()
		if x.NoKey || x.Tombstone || !changed {
			require.Empty(t, got)
			continue
		}
		require.Len(t, got, 1)
		require.Equal(t, fmt.Sprint(x.Key, want, !row, at), fmt.Sprint(got[0].Key, got[0].Value, got[0].Tombstone, got[0].Time.UnixMilli()))
		v, ok, err := agg.Store().In(d).Get(x.Key)
		require.NoError(t, err)
		require.Equal(t, row, ok)
		require.Equal(t, want, v)
	}
	rows := map[string]string{}
	for _, k := range []string{"a", "b", "c", "d"} {
		if v, _, row, _ := aggregateOf(history, k, deleted); row && odd(k, v) {
			rows[k] = v
		}
	}
	require.Equal(t, rows, testdriver.Table(testdriver.Output(d, topic("odd"))))
}

// aggregateOf folds the history of a key. changed reports whether the last record of it has changed anything.
func aggregateOf(history []stream.Record[string, string], key string, deleted func(k, v string) bool) (agg string, at int64, row, changed bool) {
	for _, x := range history {
		if changed = !x.NoKey && !x.Tombstone && x.Key == key; !changed {
			continue
		}
		ms := x.Time.UnixMilli()
		if row {
			ms = max(ms, at)
		} else {
			agg = ""
		}
		at, agg = ms, agg+x.Value
		if row = !deleted(key, agg); !row {
			agg = ""
		}
	}
	return agg, at, row, changed
}

// Aggregations of rows, over several partitions and lost disks, are those of the rows that there are.
func TestOracleAggregateRows_OverPartitions(t *testing.T) {
	r := randomHistory(t, 3)
	in := stream.NewTopic("numbers", serde.String, serde.Int64)
	var count, sum table.KTable[string, int64]
	d := driverOf(t, func(b *stream.Builder) {
		group := func(_ string, n int64) (string, int64, bool) { return fmt.Sprint(n % 4), n, n%7 != 0 }
		g := table.GroupBy(table.From(b, in, "rows"), group).Named("g")
		count = table.CountRows(g, "count").DeleteWhen(func(_ string, n int64) bool { return n == 0 })
		sum = table.AggregateRows(g, "sum", table.Zero,
			func(_ string, n, sum int64) int64 { return sum + n }, func(_ string, n, sum int64) int64 { return sum - n })
	}, testdriver.Partitions(3))
	now := map[string]int64{}
	for range 400 {
		x := stream.Record[string, int64]{Key: string(rune('a' + r.IntN(8))), Value: r.Int64N(50), Time: time.UnixMilli(r.Int64N(100))}
		if now[x.Key] = x.Value; r.IntN(4) == 0 {
			x = x.Deleted()
			delete(now, x.Key)
		}
		testdriver.Input(d, in).SendRecord(x)
		restartOrWipe(d, r, 60)
		wantCount, wantSum := map[string]int64{}, map[string]int64{}
		for _, n := range now {
			if n%7 != 0 {
				wantCount[fmt.Sprint(n%4)]++
				wantSum[fmt.Sprint(n%4)] += n
			}
		}
		for _, k := range []string{"0", "1", "2", "3"} {
			n, ok, err := count.Store().In(d).Get(k)
			require.NoError(t, err)
			require.Equal(t, wantCount[k] > 0, ok)
			require.Equal(t, wantCount[k], n)
			s, _, err := sum.Store().In(d).Get(k)
			require.NoError(t, err)
			require.Equal(t, wantSum[k], s)
		}
	}
}

// What SuppressFor sends, and when, follows from the list of all changes.
func TestOracleSuppressFor_SendsWhatIsDue(t *testing.T) {
	r := randomHistory(t, 4)
	for range 20 {
		wait, most := r.Int64N(20), 1+r.IntN(6)
		buffer := table.Unbounded()
		if bounded := r.IntN(2) == 0; bounded {
			buffer = table.MaxRecords(most)
		} else {
			most = 1 << 30
		}
		d := driverOf(t, func(b *stream.Builder) {
			rows := table.From(b, topic("in"), "t")
			toOut(table.SuppressFor(rows, time.Duration(wait)*time.Millisecond, "suppressed", buffer), "out")
		})
		type pending struct {
			key   string
			first int64
			last  string
		}
		var buffered []pending
		var now int64
		for range 150 {
			x := stream.Record[string, string]{Key: string(rune('a' + r.IntN(8))), Value: fmt.Sprint(r.IntN(100)), Time: time.UnixMilli(max(now+r.Int64N(12)-8, 0))}
			at := x.Time.UnixMilli()
			now = max(now, at)
			if r.IntN(5) == 0 {
				x = x.Deleted()
			}
			testdriver.Input(d, topic("in")).SendRecord(x)
			if i := slices.IndexFunc(buffered, func(p pending) bool { return p.key == x.Key }); i >= 0 {
				buffered[i].last = keyValueTime(x)
			} else {
				buffered = append(buffered, pending{x.Key, at, keyValueTime(x)})
			}
			slices.SortFunc(buffered, func(x, y pending) int { return cmp.Or(cmp.Compare(x.first, y.first), cmp.Compare(x.key, y.key)) })
			var want, got []string
			for len(buffered) > 0 && (buffered[0].first <= now-wait || len(buffered) > most) {
				want = append(want, buffered[0].last)
				buffered = buffered[1:]
			}
			for _, x := range testdriver.Output(d, topic("out")).Read() {
				got = append(got, keyValueTime(x))
			}
			require.Equal(t, want, got, "after %s", keyValueTime(x))
			restartOrWipe(d, r, 30)
		}
	}
}

func keyValueTime(r stream.Record[string, string]) string {
	if r.Tombstone {
		return fmt.Sprintf("%s@%d", r.Key, r.Time.UnixMilli())
	}
	return fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Time.UnixMilli())
}

// Both joins of a stream with a table find the latest row that the table's topic has had.
func TestOracleStreamTable_FindsLatestRow(t *testing.T) {
	r := randomHistory(t, 5)
	d := driverOf(t, func(b *stream.Builder) {
		in, rows := from(b, "left"), table.From(b, topic("rows"), "rows")
		stream.To(join.StreamTable(in, rows, "inner", func(v, row string) string { return v + row }), topic("inner"))
		stream.To(join.StreamTableLeft(in, rows, "left", func(v, row string, ok bool) string { return fmt.Sprint(v, row, ok) }), topic("outer"))
	}, testdriver.Partitions(2))
	latest := map[string]string{}
	for i := range 400 {
		x := stream.Record[string, string]{Key: string(rune('a' + r.IntN(5))), Value: fmt.Sprint(i), Time: time.UnixMilli(r.Int64N(100))}
		if r.IntN(5) == 0 {
			x.Tombstone, x.Value = true, ""
		}
		if r.IntN(10) == 0 {
			x.NoKey, x.Key = true, ""
		}
		if r.IntN(50) == 0 {
			d.Restart()
		}
		if r.IntN(2) == 0 {
			testdriver.Input(d, topic("rows")).SendRecord(x)
			switch {
			case x.NoKey:
			case x.Tombstone:
				delete(latest, x.Key)
			default:
				latest[x.Key] = x.Value
			}
			continue
		}
		testdriver.Input(d, topic("left")).SendRecord(x)
		row, ok := latest[x.Key]
		if x.NoKey {
			row, ok = "", false
		}
		var inner, outer []string
		if !x.Tombstone {
			if ok {
				inner = []string{fmt.Sprint(x.Key, x.Value+row, x.Time.UnixMilli())}
			}
			outer = []string{fmt.Sprint(x.Key, fmt.Sprint(x.Value, row, ok), x.Time.UnixMilli())}
		}
		require.Equal(t, inner, valuesOf(d, "inner"))
		require.Equal(t, outer, valuesOf(d, "outer"))
	}
}

func valuesOf(d *testdriver.Driver, name string) (out []string) {
	for _, r := range testdriver.Output(d, topic(name)).Read() {
		out = append(out, fmt.Sprint(r.Key, r.Value, r.Time.UnixMilli()))
	}
	return out
}

// The three joins of tables, each in a store, are made of the latest rows of both sides.
func TestOracleTableTable_JoinsLatestRows(t *testing.T) {
	r := randomHistory(t, 6)
	either := func(s string, ok bool) string { return join.Maybe[string]{V: s, OK: ok}.Or("none") }
	joins := map[string]table.KTable[string, string]{}
	d := driverOf(t, func(b *stream.Builder) {
		lefts, rights := tableOf(b, "left"), tableOf(b, "right")
		joins["inner"] = table.Materialize(join.TableTable(lefts, rights, func(l, r string) string { return l + "+" + r }), "inner")
		joins["left"] = table.Materialize(join.TableTableLeft(lefts, rights,
			func(l, r string, ok bool) string { return l + "+" + either(r, ok) }), "left")
		joins["outer"] = table.Materialize(join.TableTableOuter(lefts, rights,
			func(l, r join.Maybe[string]) string { return l.Or("none") + "+" + r.Or("none") }), "outer")
	}, testdriver.Partitions(3))
	latest := map[string]map[string]string{"left": {}, "right": {}}
	for i := range 300 {
		side, key := []string{"left", "right"}[r.IntN(2)], string(rune('a'+r.IntN(5)))
		x := stream.Record[string, string]{Key: key, Value: fmt.Sprint(i), Time: time.UnixMilli(r.Int64N(100))}
		if latest[side][key] = x.Value; r.IntN(3) == 0 {
			x = x.Deleted()
			delete(latest[side], key)
		}
		testdriver.Input(d, topic(side)).SendRecord(x)
		if r.IntN(50) == 0 {
			d.Wipe()
		}
		for name, joined := range joins {
			l, left := latest["left"][key]
			r, right := latest["right"][key]
			want := either(l, left) + "+" + either(r, right)
			is := left && right || left && name != "inner" || right && name == "outer"
			got, ok, err := joined.Store().In(d).Get(key)
			require.NoError(t, err)
			require.Equal(t, is, ok, "%s, step %d", name, i)
			if is {
				require.Equal(t, want, got, "%s, step %d", name, i)
			}
		}
	}
}

// Both foreign-key joins, over many partitions, restarts and lost disks, are made of the latest rows of both sides.
func TestOracleForeignKey_JoinsLatestRows(t *testing.T) {
	r := randomHistory(t, 7)
	refersTo := func(_, v string) (string, bool) {
		fk, _, ok := strings.Cut(v, "|")
		return fk, ok
	}
	var inner, left table.KTable[string, string]
	d := driverOf(t, func(b *stream.Builder) {
		lefts, rights := tableOf(b, "left"), tableOf(b, "right")
		inner = table.Materialize(join.ForeignKey(lefts, rights, "inner", refersTo, func(l, r string) string { return l + "+" + r }), "inner-rows")
		left = table.Materialize(join.ForeignKeyLeft(lefts, rights, "outer", refersTo,
			func(l, r string, ok bool) string { return fmt.Sprint(l, "+", r, ok) }, store.InMemory()), "outer-rows")
	}, testdriver.TopicPartitions("left", 4), testdriver.TopicPartitions("right", 7))
	lefts, rights := map[string]string{}, map[string]string{}
	for i := range 300 {
		rows, name, key, value := lefts, "left", fmt.Sprint("k", r.IntN(8)), fmt.Sprint([]string{"", "f|", "ff|", "g|"}[r.IntN(4)], i)
		if r.IntN(3) == 0 {
			rows, name, key, value = rights, "right", []string{"f", "ff", "g"}[r.IntN(3)], fmt.Sprint("r", i)
		}
		x := stream.Record[string, string]{Key: key, Value: value, Time: time.UnixMilli(r.Int64N(100))}
		if rows[key] = value; r.IntN(4) == 0 {
			x = x.Deleted()
			delete(rows, key)
		}
		testdriver.Input(d, topic(name)).SendRecord(x)
		restartOrWipe(d, r, 40)
		wantInner, wantLeft := map[string]string{}, map[string]string{}
		for k, l := range lefts {
			fk, refers := refersTo("", l)
			row, ok := rights[fk]
			if ok = ok && refers; ok {
				wantInner[k] = l + "+" + row
			} else {
				row = ""
			}
			wantLeft[k] = fmt.Sprint(l, "+", row, ok)
		}
		require.Equal(t, wantInner, storedRows(t, d, inner), "step %d", i)
		require.Equal(t, wantLeft, storedRows(t, d, left), "step %d", i)
	}
}
