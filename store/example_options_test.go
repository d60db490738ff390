package store_test

import (
	"fmt"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
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
	var rows store.KeyValueRef[string, store.Stamped[string]]
	d := testdriver.New(example{}, build(func(b *stream.Builder) {
		rows = table.From(b, orders, "orders", store.KeepHeaders()).Stamped()
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
	fmt.Println(len(testdriver.Output(d, counts).Take()))
	d.Commit()
	for _, r := range testdriver.Output(d, counts).Take() {
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
