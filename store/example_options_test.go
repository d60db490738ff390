package store_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// example is the driver's view of an example: no test to end.
type example struct{}

func (example) Helper()                   {}
func (example) Cleanup(func())            {}
func (example) Errorf(f string, a ...any) { fmt.Printf(f+"\n", a...) }
func (example) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

var orders = stream.NewTopic("orders", serde.String, serde.String)

func build(program func(b *stream.Builder)) *topology.Topology {
	b := stream.NewBuilder()
	program(b)
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	return top
}

// A table that knows which request changed each row last.
func ExampleKeepHeaders() {
	var rows store.KeyValueRef[string, store.Timestamped[string]]
	d := testdriver.New(example{}, build(func(b *stream.Builder) {
		rows = table.From(b, orders, "orders", store.KeepHeaders()).TimestampedStore()
	}))
	testdriver.Input(d, orders).Header("request", []byte("r-17")).Send("o1", "two pears")
	row, _, err := rows.In(d).Get("o1")
	if err != nil {
		panic(err)
	}
	request, _ := row.Headers.Get("request")
	fmt.Printf("%s, by %s\n", row.Value, request)
	// Output: two pears, by r-17
}

// A Java application called its repartition topic and its store differently.
func ExampleName() {
	top := build(func(b *stream.Builder) {
		byText := stream.GroupBy(stream.From(b, orders), func(_, text string) string { return text })
		table.Count(byText, "by-text", store.Name("text-counts"))
	})
	for _, sub := range top.Subtopologies() {
		for _, n := range sub.Nodes {
			if n.Internal && n.Op == "sink" {
				fmt.Println("topic", n.Topics[0])
			}
		}
		for _, s := range sub.Stores {
			fmt.Println("store", s.Name)
		}
	}
	// Output:
	// topic by-text-repartition
	// store text-counts
}

// One update a key and commit, in place of each.
func ExampleUntilCommit() {
	counts := stream.NewTopic("counts", serde.String, serde.Int64)
	d := testdriver.New(example{}, build(func(b *stream.Builder) {
		n := table.Count(stream.GroupByKey(stream.From(b, orders)), "n", store.UntilCommit())
		stream.To(table.ToStream(n), counts)
	}), testdriver.ManualCommit())
	for _, key := range []string{"a", "b", "a", "a"} {
		testdriver.Input(d, orders).Send(key, "x")
	}
	fmt.Println(len(testdriver.Output(d, counts).Read()))
	d.Commit()
	for _, r := range testdriver.Output(d, counts).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// 0
	// b 1
	// a 3
}

// The topic is the table's changelog: nothing is written twice.
func ExampleSourceIsChangelog() {
	d := testdriver.New(example{}, build(func(b *stream.Builder) {
		table.From(b, orders, "orders", store.SourceIsChangelog())
	}))
	testdriver.Input(d, orders).Send("o1", "two pears")
	d.Wipe()
	v, _, err := store.NewTimestamped("orders", serde.String, serde.String).In(d).Get("o1")
	fmt.Println(v.Value, err, d.Topics())
	// Output: two pears <nil> []
}

// put returns the start of a processor that puts each record into a store.
func put(ref store.KeyValueRef[string, string]) func(*stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
	return func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		s := ref.In(c)
		return func(r stream.Record[string, string]) error { return s.Put(r.Key, r.Value) }, nil
	}
}

// with runs a program that puts each order into a store.
func with(ref store.KeyValueRef[string, string]) *testdriver.Driver {
	return testdriver.New(example{}, build(func(b *stream.Builder) {
		stream.Process(stream.From(b, orders), "put", put(ref), ref)
	}))
}

// A store whose rows have times: those of the records that put them, where the program says none.
func ExampleNewTimestamped() {
	seen := store.NewTimestamped("last-seen", serde.String, serde.String)
	putAll := func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		s := seen.In(c)
		return func(r stream.Record[string, string]) error {
			return s.Put(r.Key, store.Timestamped[string]{Value: r.Value})
		}, nil
	}
	d := testdriver.New(example{}, build(func(b *stream.Builder) { stream.Process(stream.From(b, orders), "keep", putAll, seen) }))
	testdriver.Input(d, orders).At(time.UnixMilli(90_000)).Send("o1", "two pears")
	row, ok, err := seen.In(d).Get("o1")
	fmt.Println(row.Value, row.Time.UTC().Format(time.TimeOnly), ok, err)
	// Output: two pears 00:01:30 true <nil>
}

// The rows are in memory only, and restored from the changelog when the task opens.
func ExampleInMemory() {
	recent := store.NewKeyValue("recent", serde.String, serde.String, store.InMemory())
	d := with(recent)
	testdriver.Input(d, orders).Send("o1", "two pears")
	d.Wipe()
	v, ok, err := recent.In(d).Get("o1")
	fmt.Println(v, ok, err, d.Topics())
	// Output: two pears true <nil> [testdriver-recent-changelog]
}

// The rows are on the disk of this machine only: what is lost with it is lost.
func ExampleNoChangelog() {
	cache := store.NewKeyValue("cache", serde.String, serde.String, store.NoChangelog())
	d := with(cache)
	testdriver.Input(d, orders).Send("o1", "two pears")
	d.Restart()
	_, inStore, _ := cache.In(d).Get("o1")
	d.Wipe()
	_, still, _ := cache.In(d).Get("o1")
	fmt.Println(inStore, still, d.Topics())
	// Output: true false []
}

// Settings of the changelog, as the broker has them. Build refuses two values for one of them.
func ExampleTopicConfig() {
	counts := store.NewKeyValue("counts", serde.String, serde.String, store.TopicConfig("segment.ms", "600000"), store.TopicConfig("min.insync.replicas", "2"))
	build(func(b *stream.Builder) { stream.Process(stream.From(b, orders), "put", put(counts), counts) })

	b := stream.NewBuilder()
	table.From(b, orders, "orders", store.TopicConfig("segment.ms", "600000"), store.TopicConfig("segment.ms", "60000"))
	_, err := b.Build()
	fmt.Println(strings.Contains(err.Error(), `store.TopicConfig sets "segment.ms" twice: "600000" and "60000"`))
	// Output: true
}

// A table without a store: nothing that follows needs its rows.
func ExampleOnDemand() {
	top := build(func(b *stream.Builder) {
		long := table.Filter(table.From(b, orders, "orders", store.OnDemand()), func(_, v string) bool { return len(v) > 3 })
		stream.To(table.ToStream(long), stream.NewTopic("long-orders", serde.String, serde.String))
	})
	fmt.Println(len(top.Subtopologies()[0].Stores))
	// Output: 0
}

// Windows that can be read for a day, while their results are final after their grace period of a
// minute.
func ExampleRetention() {
	var counts store.WindowRef[string, int64]
	d := testdriver.New(example{}, build(func(b *stream.Builder) {
		w := window.Tumbling(time.Hour).Grace(time.Minute)
		counts = table.WindowStore(table.CountWindows(stream.GroupByKey(stream.From(b, orders)), w, "counts", store.Retention(24*time.Hour)))
	}))
	in := testdriver.Input(d, orders).At(time.UnixMilli(0)).Advancing(5 * time.Hour)
	in.Send("anna", "two pears")
	in.Send("anna", "an apple")
	for row, err := range counts.In(d).Fetch("anna", time.Time{}, time.Time{}) {
		fmt.Println(row.Start.UTC().Format(time.TimeOnly), row.Value, err)
	}
	// Output:
	// 00:00:00 1 <nil>
	// 05:00:00 1 <nil>
}

// A join of a stream with itself, on one store.
func ExampleShared() {
	top := build(func(b *stream.Builder) {
		s := stream.From(b, orders)
		again := join.StreamStream(s, s, window.Within(time.Minute), "again", func(a, b string) string { return a + ", " + b }, store.Shared())
		stream.ForEach(again, func(stream.Record[string, string]) {})
	})
	fmt.Println(len(top.Subtopologies()[0].Stores))
	// Output: 1
}

// A table that knows what its rows were.
func ExampleVersions() {
	var prices store.VersionedRef[string, string]
	d := testdriver.New(example{}, build(func(b *stream.Builder) {
		prices = table.VersionedStore(table.From(b, orders, "prices", store.Versions(24*time.Hour)))
	}))
	in := testdriver.Input(d, orders).At(time.UnixMilli(1000)).Advancing(time.Second)
	in.Send("pear", "3")
	in.Send("pear", "4")
	for _, ms := range []int64{1500, 2500} {
		v, _, err := prices.In(d).AsOf("pear", time.UnixMilli(ms))
		fmt.Println(v.Value, err)
	}
	// Output:
	// 3 <nil>
	// 4 <nil>
}

// A store that keeps all that is put for one key and time.
func ExampleDuplicates() {
	all := store.NewWindow("all", serde.String, serde.String, time.Minute, time.Hour, store.Duplicates())
	putAll := func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		s := all.In(c)
		return func(r stream.Record[string, string]) error { return s.Put(r.Key, r.Time, r.Value) }, nil
	}
	d := testdriver.New(example{}, build(func(b *stream.Builder) { stream.Process(stream.From(b, orders), "keep", putAll, all) }))
	in := testdriver.Input(d, orders).At(time.UnixMilli(0))
	in.Send("anna", "two pears")
	in.Send("anna", "an apple")
	for row, err := range all.In(d).Fetch("anna", time.Time{}, time.Time{}) {
		fmt.Println(row.Value, err)
	}
	// Output:
	// two pears <nil>
	// an apple <nil>
}
