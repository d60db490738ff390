package stream_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/join"
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

// program runs what build makes of the topic "in", and sends it records written as "key=value";
// without "=" a record is a tombstone.
func program(build func(b *stream.Builder, in strs), records ...string) *testdriver.Driver {
	b := stream.NewBuilder()
	build(b, stream.From(b, in))
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	d := testdriver.New(example{}, top)
	for i, r := range records {
		testdriver.Input(d, in).SendRecord(record(r).At(time.UnixMilli(int64(i))))
	}
	return d
}

// show prints what comes out of f.
func show[K, V any](f func(in strs) stream.KStream[K, V], records ...string) *testdriver.Driver {
	return program(func(_ *stream.Builder, in strs) { printAll(f(in)) }, records...)
}

func printAll[K, V any](s stream.KStream[K, V]) {
	stream.ForEach(s, func(r stream.Record[K, V]) {
		line, _, _ := strings.Cut(render(r), "@")
		fmt.Println(line)
	})
}

func Example() {
	var (
		lines  = stream.NewTopic("lines", serde.None, serde.String)
		counts = stream.NewTopic("counts", serde.String, serde.Int64)
	)
	b := stream.NewBuilder()
	words := stream.FlatMapValues(stream.From(b, lines), strings.FieldsSeq)
	byWord := stream.GroupBy(words, func(_ serde.Void, word string) string { return word })
	stream.To(table.ToStream(table.Count(byWord, "word-counts")), counts)
	top, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	d := testdriver.New(example{}, top)
	testdriver.Input(d, lines).SendValue("to be or not to be")
	fmt.Println(testdriver.Table(testdriver.Output(d, counts)))
	// Output: map[be:2 not:1 or:1 to:2]
}

func ExampleBuilder_Build() {
	b := stream.NewBuilder()
	s := stream.From(b, stream.NewTopic("orders", serde.String, serde.Serde[string](nil)))
	stream.To(stream.Filter(s, nil), stream.NewTopic("a b", serde.String, serde.String))
	_, err := b.Build()
	for line := range strings.Lines(err.Error()) {
		_, mistake, _ := strings.Cut(strings.TrimSpace(line), "): ") // the position depends on where this runs
		fmt.Println(mistake)
	}
	// Output:
	// stream.From: topic "orders" has no serde for its values
	// stream.Filter: its function is nil
}

func ExampleFilter() {
	show(func(in strs) strs {
		return stream.Filter(in, func(_, v string) bool { return len(v) > 3 })
	}, "anna=hello", "bob=no")
	// Output: anna=hello
}

func ExampleFilterNot() {
	show(func(in strs) strs {
		return stream.FilterNot(in, func(_, v string) bool { return v == "bot" })
	}, "anna=human", "bob=bot")
	// Output: anna=human
}

func ExampleFilterRecords() {
	show(func(in strs) strs {
		return stream.FilterRecords(in, stream.HasValue[string, string])
	}, "anna=1", "bob")
	// Output: anna=1
}

func ExampleMap() {
	show(func(in strs) stream.KStream[string, int] {
		return stream.Map(in, func(k, v string) (string, int) { return v, len(k) })
	}, "anna=red", "bob=blue")
	// Output:
	// red=4
	// blue=3
}

func ExampleMapValues() {
	show(func(in strs) stream.KStream[string, int] {
		return stream.MapValues(in, func(v string) int { return len(v) })
	}, "anna=hello", "bob")
	// Output:
	// anna=5
	// bob
}

func ExampleMapValuesWithKey() {
	show(func(in strs) strs {
		return stream.MapValuesWithKey(in, func(k, v string) string { return k + " says " + v })
	}, "anna=hello")
	// Output: anna=anna says hello
}

func ExampleMapKeys() {
	show(func(in strs) strs { return stream.MapKeys(in, strings.ToUpper) }, "anna=hello", "bob")
	// Output:
	// ANNA=hello
	// BOB
}

func ExampleMapRecords() {
	show(func(in strs) strs {
		return stream.MapRecords(in, func(r stream.Record[string, string]) stream.Record[string, string] {
			if r.Value == "bye" {
				return r.Deleted()
			}
			return r.With("seen", []byte("1"))
		})
	}, "anna=hello", "bob=bye")
	// Output:
	// anna=hello
	// bob
}

func ExampleMapRecordValues() {
	show(func(in strs) stream.KStream[string, string] {
		return stream.MapRecordValues(in, func(r stream.Record[string, string]) (string, bool) {
			return strings.ToUpper(r.Value), r.Value != "bye"
		})
	}, "anna=hello", "bob=bye")
	// Output:
	// anna=HELLO
	// bob
}

func ExampleFlatMap() {
	show(func(in strs) stream.KStream[string, int] {
		return stream.FlatMap(in, func(_, v string) iter.Seq2[string, int] {
			counts := map[string]int{}
			for word := range strings.FieldsSeq(v) {
				counts[word]++
			}
			return maps.All(counts)
		})
	}, "line=so so so")
	// Output: so=3
}

func ExampleFlatMapValues() {
	show(func(in strs) strs { return stream.FlatMapValues(in, strings.FieldsSeq) }, "line=to be")
	// Output:
	// line=to
	// line=be
}

func ExampleFlatMapRecords() {
	show(func(in strs) strs {
		return stream.FlatMapRecords(in, func(r stream.Record[string, string]) iter.Seq[stream.Record[string, string]] {
			return slices.Values([]stream.Record[string, string]{r, stream.WithKey(r, "copy")})
		})
	}, "anna=hello")
	// Output:
	// anna=hello
	// copy=hello
}

func ExampleFlatMapRecordValues() {
	show(func(in strs) strs {
		return stream.FlatMapRecordValues(in, func(r stream.Record[string, string]) iter.Seq2[string, bool] {
			return func(yield func(string, bool) bool) {
				_ = yield(r.Value, true) && yield("", false) // the value, then a deletion
			}
		})
	}, "anna=hello")
	// Output:
	// anna=hello
	// anna
}

func ExampleSelectKey() {
	show(func(in strs) strs {
		return stream.SelectKey(in, func(_, v string) string { return v[:1] })
	}, "anna=red", "bob=blue")
	// Output:
	// r=red
	// b=blue
}

func ExamplePeek() {
	show(func(in strs) strs {
		return stream.Peek(in, func(r stream.Record[string, string]) { fmt.Println("saw", r.Key) })
	}, "anna=hello")
	// Output:
	// saw anna
	// anna=hello
}

func ExampleForEach() {
	program(func(_ *stream.Builder, in strs) {
		stream.ForEach(in, func(r stream.Record[string, string]) { fmt.Println(r.Key, r.Value) })
	}, "anna=hello")
	// Output: anna hello
}

func ExampleMerge() {
	more := stream.NewTopic("more", serde.String, serde.String)
	d := program(func(b *stream.Builder, in strs) { printAll(stream.Merge(in, stream.From(b, more))) }, "anna=hello")
	testdriver.Input(d, more).Send("bob", "hi")
	// Output:
	// anna=hello
	// bob=hi
}

func ExampleBranch() {
	program(func(_ *stream.Builder, in strs) {
		short, long := stream.Branch(in, func(r stream.Record[string, string]) bool { return len(r.Value) < 4 })
		printAll(stream.MapValues(short, func(v string) string { return "short " + v }))
		printAll(stream.MapValues(long, func(v string) string { return "long " + v }))
	}, "anna=hello", "bob=hi")
	// Output:
	// anna=long hello
	// bob=short hi
}

func ExampleSplit() {
	is := func(v string) func(stream.Record[string, string]) bool {
		return func(r stream.Record[string, string]) bool { return r.Value == v }
	}
	program(func(_ *stream.Builder, in strs) {
		of, rest := stream.Split(in, is("red"), is("blue"))
		printAll(of[0].Named("red"))
		printAll(stream.MapValues(rest, func(v string) string { return "neither red nor blue: " + v }))
	}, "anna=red", "bob=blue", "eve=green")
	// Output:
	// anna=red
	// eve=neither red nor blue: green
}

func ExampleGroupBy() {
	show(func(in strs) stream.KStream[string, int64] {
		byColour := stream.GroupBy(in, func(_, colour string) string { return colour })
		return table.ToStream(table.Count(byColour, "colours"))
	}, "anna=red", "bob=red")
	// Output:
	// red=1
	// red=2
}

func ExampleGroupByKey() {
	show(func(in strs) stream.KStream[string, int64] {
		return table.ToStream(table.Count(stream.GroupByKey(in), "visits"))
	}, "anna=/", "anna=/cart")
	// Output:
	// anna=1
	// anna=2
}

func ExampleRepartition() {
	d := show(func(in strs) strs {
		return stream.Repartition(stream.MapKeys(in, strings.ToUpper), "upper", stream.Partitions(4))
	}, "anna=hello")
	fmt.Println(d.Topics())
	// Output:
	// ANNA=hello
	// [testdriver-upper-repartition]
}

func ExampleRepartitionBy() {
	d := show(func(in strs) strs {
		first := func(r stream.Record[string, string], n int) int { return int(r.Key[0]) % n }
		return stream.RepartitionBy(in, "by-initial", first, stream.Partitions(26))
	}, "anna=hello")
	fmt.Println("partition", d.Raw("testdriver-by-initial-repartition")[0].Partition)
	// Output:
	// anna=hello
	// partition 19
}

func ExamplePartitionedLike() {
	byRegion := func(r stream.Record[string, string], n int) int { return int(r.Key[0]) % n }
	accounts := stream.NewTopic("accounts", serde.String, serde.String).Partitioner(byRegion)
	payments := stream.PartitionedLike(stream.NewTopic("payments", serde.String, serde.Int64), accounts)
	b := stream.NewBuilder()
	enriched := join.StreamTable(stream.From(b, payments), table.From(b, accounts, "accounts"), "enrich",
		func(cents int64, owner string) string { return fmt.Sprint(owner, " paid ", cents) })
	printAll(enriched)
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	d := testdriver.New(example{}, top, testdriver.Partitions(8))
	testdriver.Input(d, accounts).Send("eu-7", "Anna")
	testdriver.Input(d, payments).Send("eu-7", 250)
	// Output:
	// eu-7=Anna paid 250
}

func ExampleMergeRepartitions() {
	b := stream.NewBuilder(stream.MergeRepartitions())
	byWord := stream.SelectKey(stream.From(b, in), func(_, word string) string { return word })
	table.Count(stream.GroupByKey(byWord), "words")
	table.Count(stream.GroupByKey(stream.Filter(byWord, func(word, _ string) bool { return len(word) > 3 })), "long-words")
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	for _, sub := range top.Subtopologies() {
		for _, n := range sub.Nodes {
			if n.Internal {
				fmt.Println(n.Op, n.Topics)
			}
		}
	}
	// Output:
	// sink [words-repartition]
	// source [words-repartition]
}

func ExampleAssumePartitioned() {
	d := show(func(in strs) stream.KStream[string, int64] {
		trimmed := stream.AssumePartitioned(stream.MapKeys(in, strings.TrimSpace)) // the producer partitions by the trimmed key
		return table.ToStream(table.Count(stream.GroupByKey(trimmed), "visits", store.NoChangelog()))
	}, "anna =/")
	fmt.Println(len(d.Topics()), "topics")
	// Output:
	// anna=1
	// 0 topics
}

func ExampleFrom() {
	visits := stream.NewTopic("visits", serde.String, serde.String)
	d := program(func(b *stream.Builder, _ strs) { printAll(stream.From(b, visits)) })
	testdriver.Input(d, visits).Send("anna", "/cart")
	// Output: anna=/cart
}

func ExampleTo() {
	loud := stream.NewTopic("loud", serde.String, serde.String)
	d := program(func(_ *stream.Builder, in strs) {
		stream.To(stream.MapValues(in, strings.ToUpper), loud)
	}, "anna=hello")
	fmt.Println(testdriver.Output(d, loud).ReadOne().Value)
	// Output: HELLO
}

func ExampleFromPattern() {
	legacy := stream.NewPattern("legacy-.*", serde.String, serde.String)
	d := program(func(b *stream.Builder, _ strs) { printAll(stream.FromPattern(b, legacy)) })
	testdriver.Input(d, legacy.Topic("legacy-2019")).Send("anna", "hello")
	// Output: anna=hello
}

func ExampleToFunc() {
	d := program(func(_ *stream.Builder, in strs) {
		stream.ToFunc(in, stream.NewTopic("", serde.String, serde.String), func(r stream.Record[string, string]) string {
			return "colour-" + r.Value
		})
	}, "anna=red", "bob=blue")
	fmt.Println(d.Topics())
	// Output: [colour-blue colour-red]
}

func ExampleProcess() {
	seen := store.NewKeyValue("seen", serde.String, serde.String)
	show(func(in strs) strs {
		return stream.Process(in, "changes", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
			seen := seen.In(c)
			return func(r stream.Record[string, string]) error {
				old, ok, err := seen.Get(r.Key)
				if err != nil || ok && old == r.Value {
					return err
				}
				c.Forward(r)
				return seen.Put(r.Key, r.Value)
			}, nil
		}, seen)
	}, "anna=red", "anna=red", "anna=blue")
	// Output:
	// anna=red
	// anna=blue
}

func ExampleProcessValues() {
	show(func(in strs) strs {
		return stream.ProcessValues(in, "twice", func(c *stream.ValueContext[string]) (func(stream.Record[string, string]) error, error) {
			return func(r stream.Record[string, string]) error {
				c.Forward(r.Value)
				c.ForwardAt("again", r.Time.Add(time.Second))
				return nil
			}, nil
		})
	}, "anna=hello")
	// Output:
	// anna=hello
	// anna=again
}

func ExampleSide() {
	long := stream.NewOutput("long", serde.String, serde.Int64)
	program(func(_ *stream.Builder, in strs) {
		p := stream.Process(in, "measure", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
			long := long.In(c)
			return func(r stream.Record[string, string]) error {
				if len(r.Value) > 3 {
					long(stream.WithValue(r, int64(len(r.Value))))
				}
				c.Forward(r)
				return nil
			}, nil
		}, long)
		printAll(stream.Side(p, long))
	}, "anna=hello", "bob=hi")
	// Output: anna=5
}

var errBusy = errors.New("busy")

func ExampleTryMapValues() {
	calls := 0
	d := show(func(in strs) strs {
		return stream.TryMapValues(in, func(_ context.Context, r stream.Record[string, string]) (string, error) {
			switch calls++; {
			case r.Value == "":
				return "", failure.Drop("no place")
			case calls < 3:
				return "", errBusy
			}
			return strings.ToUpper(r.Value), nil
		}, stream.Timeout(time.Second)).OnError(failure.Retry(5, time.Millisecond, time.Second, failure.Stop()))
	}, "anna=oslo", "bob=")
	fmt.Println(d.Dropped())
	// Output:
	// anna=OSLO
	// map[no place:1]
}

func ExampleTryMapRecords() {
	show(func(in strs) strs {
		return stream.TryMapRecords(in, func(_ context.Context, r stream.Record[string, string]) (stream.Record[string, string], error) {
			return stream.WithKey(r, r.Value), nil
		})
	}, "anna=oslo")
	// Output: oslo=oslo
}

func ExampleTryMapRecordValues() {
	show(func(in strs) strs {
		return stream.TryMapRecordValues(in, func(_ context.Context, r stream.Record[string, string]) (string, bool, error) {
			return r.Value, r.Value != "bye", nil
		})
	}, "anna=oslo", "bob=bye")
	// Output:
	// anna=oslo
	// bob
}

func ExampleTryFlatMapRecords() {
	show(func(in strs) strs {
		return stream.TryFlatMapRecords(in, func(_ context.Context, r stream.Record[string, string], emit func(stream.Record[string, string])) error {
			for word := range strings.FieldsSeq(r.Value) {
				emit(stream.WithValue(r, word))
			}
			return nil // an error would take back what was emitted
		})
	}, "line=to be")
	// Output:
	// line=to
	// line=be
}

func ExampleTryFilterRecords() {
	d := show(func(in strs) strs {
		return stream.TryFilterRecords(in, func(_ context.Context, r stream.Record[string, string]) (bool, error) {
			if r.Key == "eve" {
				return false, errBusy
			}
			return r.Value != "bot", nil
		}).OnError(failure.Skip())
	}, "anna=human", "bob=bot", "eve=human")
	fmt.Println(d.Dropped())
	// Output:
	// anna=human
	// map[function failed:1]
}

func ExampleTryForEach() {
	d := program(func(_ *stream.Builder, in strs) {
		stream.TryForEach(in, func(context.Context, stream.Record[string, string]) error { return errBusy }).
			OnError(failure.DeadLetter("not-sent"))
	}, "anna=hello")
	fmt.Println(string(d.Raw("not-sent")[0].Value))
	// Output: hello
}

func ExampleMiddleware() {
	records := map[string]int{}
	b := stream.NewBuilder(stream.Middleware(func(step topology.Node, task string) topology.Around {
		return func(_ topology.Passing, next func() error) error {
			records[step.Name]++
			return next()
		}
	}))
	lines := stream.From(b, in).Named("lines")
	words := stream.FlatMapValues(lines, strings.FieldsSeq).Named("words")
	stream.ForEach(words, func(rec) {}).Named("end")
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	testdriver.Input(testdriver.New(example{}, top), in).Send("k", "to be or not to be")
	fmt.Println(records)
	// Output: map[end:6 lines:1 words:1]
}

func ExampleAsync() {
	show(func(in strs) strs {
		return stream.TryMapValues(in, func(ctx context.Context, r rec) (string, error) {
			return "geocoded " + r.Value, ctx.Err() // asks a service, which takes its time
		}, stream.Async(16), stream.Timeout(time.Second))
	}, "a=Rome", "b=Oslo", "c=Bonn")
	// Output:
	// a=geocoded Rome
	// b=geocoded Oslo
	// c=geocoded Bonn
}

func ExamplePrint() {
	program(func(_ *stream.Builder, in strs) { stream.Print(in, os.Stdout, "in") }, "a=1", "b", "-=2")
	// Output:
	// [in]: a, 1
	// [in]: b, null
	// [in]: null, 2
}
