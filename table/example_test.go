package table_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

var (
	texts   = stream.NewTopic("texts", serde.String, serde.String)
	results = stream.NewTopic("results", serde.String, serde.String)
	numbers = stream.NewTopic("numbers", serde.String, serde.Int64)
	sums    = stream.NewTopic("sums", serde.String, serde.Int64)
)

// show is what a driver needs of a test, for examples.
type show struct{}

func (show) Helper()                           {}
func (show) Cleanup(func())                    {}
func (show) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (show) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// run builds a program for an example.
func run(b *stream.Builder) *testdriver.Driver {
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	return testdriver.New(show{}, top)
}

// printed prints the records that came out.
func printed[V any](d *testdriver.Driver, t stream.Topic[string, V]) {
	for _, r := range testdriver.Output(d, t).Read() {
		if r.Tombstone {
			fmt.Println(r.Key, "deleted")
		} else {
			fmt.Println(r.Key, r.Value)
		}
	}
}

func ExampleFrom() {
	b := stream.NewBuilder()
	stream.To(table.ToStream(table.From(b, texts, "rows")), results)

	d := run(b)
	in := testdriver.Input(d, texts)
	in.Send("a", "1")
	in.Send("a", "2")
	in.Delete("a")
	printed(d, results)
	// Output:
	// a 1
	// a 2
	// a deleted
}

func ExampleToTable() {
	b := stream.NewBuilder()
	byLast := stream.SelectKey(stream.From(b, texts), func(_, v string) string { return v[len(v)-1:] })
	t := table.ToTable(byLast, "by-last-letter")
	stream.To(table.ToStream(t), results)

	d := run(b)
	testdriver.Input(d, texts).Send("", "pear")
	testdriver.Input(d, texts).Send("", "flour")
	v, ok, err := t.Store().In(d).Get("r")
	fmt.Println(v, ok, err)
	// Output: flour true <nil>
}

func ExampleToStream() {
	b := stream.NewBuilder()
	changes := table.ToStream(table.From(b, texts, "rows"))
	stream.To(stream.MapRecordValues(changes, func(r stream.Record[string, string]) (string, bool) {
		return fmt.Sprintf("gone: %v", r.Tombstone), true
	}), results)

	d := run(b)
	testdriver.Input(d, texts).Send("a", "1")
	testdriver.Input(d, texts).Delete("a")
	printed(d, results)
	// Output:
	// a gone: false
	// a gone: true
}

func ExampleFilter() {
	b := stream.NewBuilder()
	big := table.Filter(table.From(b, numbers, "rows"), func(_ string, n int64) bool { return n > 9 })
	stream.To(table.ToStream(big), sums)

	d := run(b)
	in := testdriver.Input(d, numbers)
	in.Send("a", 1) // no change: it was not in the result and is not now
	in.Send("a", 10)
	in.Send("a", 2)
	printed(d, sums)
	// Output:
	// a 10
	// a deleted
}

func ExampleFilterNot() {
	b := stream.NewBuilder()
	small := table.FilterNot(table.From(b, numbers, "rows"), func(_ string, n int64) bool { return n > 9 })
	stream.To(table.ToStream(small), sums)

	d := run(b)
	testdriver.Input(d, numbers).Send("a", 1)
	testdriver.Input(d, numbers).Send("a", 10)
	printed(d, sums)
	// Output:
	// a 1
	// a deleted
}

func ExampleMapValues() {
	b := stream.NewBuilder()
	upper := table.MapValues(table.From(b, texts, "rows"), strings.ToUpper)
	stream.To(table.ToStream(upper), results)

	d := run(b)
	testdriver.Input(d, texts).Send("a", "x")
	testdriver.Input(d, texts).Delete("a")
	printed(d, results)
	// Output:
	// a X
	// a deleted
}

func ExampleMapValuesWithKey() {
	b := stream.NewBuilder()
	named := table.MapValuesWithKey(table.From(b, texts, "rows"), func(k, v string) string { return k + "=" + v })
	stream.To(table.ToStream(named), results)

	d := run(b)
	testdriver.Input(d, texts).Send("a", "x")
	printed(d, results)
	// Output: a a=x
}

func ExampleMapRows() {
	b := stream.NewBuilder()
	state := table.MapRows(table.From(b, texts, "rows"), func(_, v string, row bool) (string, bool) {
		if !row {
			return "unknown", true // a deletion becomes a row
		}
		return v, v != "forget" // and a row a deletion
	})
	stream.To(table.ToStream(state), results)

	d := run(b)
	in := testdriver.Input(d, texts)
	in.Send("a", "known")
	in.Delete("a")
	in.Send("a", "forget")
	printed(d, results)
	// Output:
	// a known
	// a unknown
	// a deleted
}

func ExampleMaterialize() {
	b := stream.NewBuilder()
	long := table.Filter(table.From(b, texts, "rows", store.OnDemand()), func(_, v string) bool { return len(v) > 3 })
	kept := table.Materialize(long, "long-rows", store.InMemory())

	d := run(b)
	testdriver.Input(d, texts).Send("a", "pear")
	testdriver.Input(d, texts).Send("b", "fig")
	for row, err := range kept.Store().In(d).All() {
		fmt.Println(row.Key, row.Value, err)
	}
	// Output: a pear <nil>
}

func ExampleCount() {
	b := stream.NewBuilder()
	words := stream.FlatMapValues(stream.From(b, texts), strings.FieldsSeq)
	byWord := stream.GroupBy(words, func(_, word string) string { return word })
	stream.To(table.ToStream(table.Count(byWord, "word-counts")), sums)

	d := run(b)
	testdriver.Input(d, texts).Send("", "all streams lead to kafka")
	testdriver.Input(d, texts).Send("", "all streams")
	fmt.Println(testdriver.Table(testdriver.Output(d, sums)))
	// Output: map[all:2 kafka:1 lead:1 streams:2 to:1]
}

func ExampleReduce() {
	b := stream.NewBuilder()
	greatest := table.Reduce(stream.GroupByKey(stream.From(b, numbers)), "greatest", func(agg, n int64) int64 { return max(agg, n) })
	stream.To(table.ToStream(greatest), sums)

	d := run(b)
	in := testdriver.Input(d, numbers)
	in.Send("a", 3)
	in.Send("a", 7)
	in.Send("a", 5)
	printed(d, sums)
	// Output:
	// a 3
	// a 7
	// a 7
}

func ExampleAggregate() {
	b := stream.NewBuilder()
	letters := table.Aggregate(stream.GroupByKey(stream.From(b, texts)), "letters", table.Zero,
		func(_, v string, n int64) int64 { return n + int64(len(v)) })
	stream.To(table.ToStream(letters), sums)

	d := run(b)
	testdriver.Input(d, texts).Send("a", "pear")
	testdriver.Input(d, texts).Send("a", "fig")
	printed(d, sums)
	// Output:
	// a 4
	// a 7
}

func ExampleKTable_DeleteWhen() {
	b := stream.NewBuilder()
	stock := table.Aggregate(stream.GroupByKey(stream.From(b, numbers)), "stock", table.Zero,
		func(_ string, change, left int64) int64 { return left + change }).
		DeleteWhen(func(_ string, left int64) bool { return left == 0 })
	stream.To(table.ToStream(stock), sums)

	d := run(b)
	in := testdriver.Input(d, numbers)
	in.Send("pears", 2)
	in.Send("pears", -2)
	printed(d, sums)
	// Output:
	// pears 2
	// pears deleted
}

func ExampleKTable_Store() {
	b := stream.NewBuilder()
	n := table.Count(stream.GroupByKey(stream.From(b, texts)), "counts")

	d := run(b)
	testdriver.Input(d, texts).Send("a", "1")
	testdriver.Input(d, texts).Send("a", "2")
	v, ok, err := n.Store().In(d).Get("a")
	fmt.Println(v, ok, err)
	// Output: 2 true <nil>
}

func ExampleKTable_TimestampedStore() {
	b := stream.NewBuilder()
	n := table.Count(stream.GroupByKey(stream.From(b, texts)), "counts")

	d := run(b)
	testdriver.Input(d, texts).At(time.UnixMilli(5)).Send("a", "1")
	testdriver.Input(d, texts).At(time.UnixMilli(3)).Send("a", "2")
	v, _, err := n.TimestampedStore().In(d).Get("a")
	fmt.Println(v.Value, v.Time.UnixMilli(), err)
	// Output: 2 5 <nil>
}

// Prices change all the time; one change a minute and item is enough for those who read the topic.
func ExampleSuppressFor() {
	b := stream.NewBuilder()
	prices := table.From(b, texts, "prices")
	stream.To(table.ToStream(table.SuppressFor(prices, time.Minute, "prices-calm", table.MaxRecords(10_000))), results)

	d := run(b)
	in, start := testdriver.Input(d, texts), time.UnixMilli(0)
	in.At(start).Send("tea", "3.10")
	in.At(start.Add(20*time.Second)).Send("tea", "3.20")
	in.At(start.Add(50*time.Second)).Send("tea", "3.15")
	in.At(start.Add(60*time.Second)).Send("cake", "5.00")
	for _, r := range testdriver.Output(d, results).Read() {
		fmt.Println(r.Key, r.Value, r.Time.UTC().Format(time.TimeOnly))
	}
	// Output: tea 3.15 00:00:50
}

func ExampleGroupBy() {
	b := stream.NewBuilder()
	cities := table.From(b, texts, "cities") // of people
	byCity := table.GroupBy(cities, func(name, city string) (string, string, bool) { return city, name, city != "" })
	stream.To(table.ToStream(table.CountRows(byCity, "people-by-city")), sums)

	d := run(b)
	in := testdriver.Input(d, texts)
	in.Send("anna", "Rome")
	in.Send("ben", "Rome")
	in.Send("anna", "Oslo") // she moves
	in.Delete("ben")
	printed(d, sums)
	// Output:
	// Rome 1
	// Rome 2
	// Rome 1
	// Oslo 1
	// Rome 0
}

func ExampleCountRows() {
	b := stream.NewBuilder()
	byValue := table.GroupBy(table.From(b, texts, "rows"), func(_, v string) (string, string, bool) { return v, v, true })
	n := table.CountRows(byValue, "counts").DeleteWhen(func(_ string, n int64) bool { return n == 0 })
	stream.To(table.ToStream(n), sums)

	d := run(b)
	testdriver.Input(d, texts).Send("a", "x")
	testdriver.Input(d, texts).Delete("a")
	printed(d, sums)
	// Output:
	// x 1
	// x deleted
}

func ExampleReduceRows() {
	b := stream.NewBuilder()
	all := table.GroupBy(table.From(b, numbers, "rows"), func(_ string, n int64) (string, int64, bool) { return "all", n, true })
	sum := table.ReduceRows(all, "sum", func(sum, n int64) int64 { return sum + n }, func(sum, n int64) int64 { return sum - n })
	stream.To(table.ToStream(sum), sums)

	d := run(b)
	in := testdriver.Input(d, numbers)
	in.Send("a", 5)
	in.Send("b", 7)
	in.Send("a", 6)
	printed(d, sums)
	// Output:
	// all 5
	// all 12
	// all 13
}

func ExampleAggregateRows() {
	b := stream.NewBuilder()
	byLast := table.GroupBy(table.From(b, texts, "rows"), func(_, v string) (string, string, bool) { return v[len(v)-1:], v, true })
	letters := table.AggregateRows(byLast, "letters", table.Zero,
		func(_, v string, n int64) int64 { return n + int64(len(v)) },
		func(_, v string, n int64) int64 { return n - int64(len(v)) })
	stream.To(table.ToStream(letters), sums)

	d := run(b)
	testdriver.Input(d, texts).Send("a", "pear")
	testdriver.Input(d, texts).Send("b", "flour")
	testdriver.Input(d, texts).Send("a", "fig")
	printed(d, sums)
	// Output:
	// r 4
	// r 9
	// r 5
	// g 3
}

// One mail an hour and customer, with what was bought in it, once nothing can be added any more.
func ExampleSuppressUntilClose() {
	b := stream.NewBuilder()
	hour := window.Tumbling(time.Hour).Grace(5 * time.Minute)
	bought := table.ReduceWindows(stream.GroupByKey(stream.From(b, texts)), hour, "bought", func(all, item string) string { return all + " " + item })
	final := table.SuppressUntilClose(bought, "bought-final", table.MaxBytes(64<<20).StopWhenFull())
	stream.To(stream.MapKeys(table.ToStream(final), window.Key[string].String), results)

	d := run(b)
	in, start := testdriver.Input(d, texts), time.UnixMilli(0)
	in.At(start.Add(10*time.Minute)).Send("anna", "tea")
	in.At(start.Add(62*time.Minute)).Send("anna", "milk")
	in.At(start.Add(50*time.Minute)).Send("anna", "cake") // late, and in time
	in.At(start.Add(65*time.Minute)).Send("ben", "tea")
	in.At(start.Add(59*time.Minute)).Send("anna", "jam") // too late
	printed(d, results)
	// Output: anna@1970-01-01T00:00:00Z/1970-01-01T01:00:00Z tea cake
}

func ExampleProcessValues() {
	rates := store.NewKeyValue("rates", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.Process(stream.From(b, numbers), "keep-rates", func(c *stream.Context[string, int64]) (func(stream.Record[string, int64]) error, error) {
		rates := rates.In(c)
		return func(r stream.Record[string, int64]) error { return rates.Put(r.Key, r.Value) }, nil
	}, rates)
	known := table.ProcessValues(table.From(b, texts, "prices"), "known", func(t *topology.Task) (func(string, string, bool) (string, bool, error), error) {
		rates := rates.In(t)
		return func(_, currency string, row bool) (string, bool, error) {
			rate, ok, err := rates.Get(currency)
			return fmt.Sprint(currency, " at ", rate), row && ok, err
		}, nil
	}, rates)
	stream.To(table.ToStream(known), results)

	d := run(b)
	testdriver.Input(d, numbers).Send("NOK", 11)
	testdriver.Input(d, texts).Send("pen", "NOK")
	testdriver.Input(d, texts).Send("pen", "XYZ")
	printed(d, results)
	// Output:
	// pen NOK at 11
	// pen deleted
}

// A dashboard that is redrawn once a second at most.
func ExampleThrottle() {
	b := stream.NewBuilder()
	visits := table.Count(stream.GroupByKey(stream.From(b, texts)), "visits")
	stream.To(table.ToStream(table.Throttle(visits, time.Second, "visits-calm")), sums)

	d := run(b)
	in := testdriver.Input(d, texts)
	for range 1000 {
		in.Send("home", "")
	}
	d.Advance(time.Second)
	printed(d, sums)
	// Output: home 1000
}
