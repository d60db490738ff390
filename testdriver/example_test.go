package testdriver_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

// t stands for the *testing.T of a test, which examples do not have.
var t = &recorder{}

var (
	lines = stream.NewTopic("lines", serde.String, serde.String)
	words = stream.NewTopic("words", serde.String, serde.String)
)

// split writes each word of a line to the topic words.
func split() *topology.Topology {
	b := stream.NewBuilder()
	stream.To(stream.FlatMapValues(stream.From(b, lines), strings.FieldsSeq), words)
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	return top
}

func Example() {
	d := testdriver.New(t, split())
	in, out := testdriver.Input(d, lines), testdriver.Output(d, words)

	in.Send("song", "row row your boat")

	for _, r := range out.Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// song row
	// song row
	// song your
	// song boat
}

func ExampleTable() {
	d := testdriver.New(t, split())
	in := testdriver.Input(d, lines)
	in.Send("a", "one two")
	in.Send("b", "three")
	in.Send("c", "four")
	in.Delete("c")
	fmt.Println(testdriver.Table(testdriver.Output(d, words)))
	// Output: map[a:two b:three]
}

func ExampleIn_At() {
	d := testdriver.New(t, split(), testdriver.StartAt(time.UnixMilli(1000)))
	in, out := testdriver.Input(d, lines), testdriver.Output(d, words)

	in.Send("k", "now")
	in.At(time.UnixMilli(7)).Header("trace", []byte("x")).Send("k", "earlier")
	d.Advance(time.Second)
	in.Send("k", "later")

	for _, r := range out.Read() {
		fmt.Println(r.Value, r.Time.UnixMilli(), len(r.Headers))
	}
	// Output:
	// now 1000 0
	// earlier 7 1
	// later 2000 0
}

func ExampleIn_SendErr() {
	numbers := stream.NewTopic("numbers", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.ForEach(stream.From(b, numbers), func(r stream.Record[string, int64]) { fmt.Println(100 / r.Value) })
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	in := testdriver.Input(testdriver.New(t, top), numbers)

	in.Send("k", 5)
	err = in.SendErr(stream.Record[string, int64]{Key: "k", Value: 0})
	fmt.Println(strings.Contains(err.Error(), "topic numbers[0] offset 1: panic: runtime error: integer divide by zero"))
	// Output:
	// 20
	// true
}

func ExampleDriver_Dropped() {
	numbers := stream.NewTopic("numbers", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.To(stream.From(b, numbers), stream.NewTopic("copy", serde.String, serde.Int64))
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	d := testdriver.New(t, top, testdriver.OnDecodeError(failure.DeadLetter("letters")))

	testdriver.Input(d, numbers).SendBytes([]byte("k"), []byte("seven"))

	fmt.Println(d.Dropped(), d.Topics())
	fmt.Printf("%s\n", d.Raw("letters")[0].Value)
	fmt.Println(d.Failures()[0].Err)
	// Output:
	// map[record does not decode:1] [letters]
	// seven
	// value: serde.Int64: got 5 bytes, want 8
}

func ExamplePartitions() {
	d := testdriver.New(t, split(), testdriver.Partitions(2), testdriver.TopicPartitions("words", 3))
	in, out := testdriver.Input(d, lines), testdriver.Output(d, words)
	for _, k := range []string{"a", "b", "c", "d"} {
		in.Send(k, k)
	}
	in.Partition(1).SendValue("anywhere")
	var keys []string
	for p := range int32(3) {
		for _, r := range out.Partition(p).Read() {
			keys = append(keys, r.Key)
		}
	}
	slices.Sort(keys)
	fmt.Printf("%q\n", keys)
	// Output: ["" "a" "b" "c" "d"]
}

// Values with times of their own: the first is sent at the start, each other one a second after the
// one before.
func ExampleIn_Advancing() {
	d := testdriver.New(t, split())
	in := testdriver.Input(d, lines).At(time.UnixMilli(0)).Advancing(time.Second)

	in.SendValues("one", "two", "three")

	for _, r := range testdriver.Output(d, words).Read() {
		fmt.Println(r.Value, r.Time.UnixMilli())
	}
	// Output:
	// one 0
	// two 1000
	// three 2000
}

func ExampleOut_ReadValues() {
	d := testdriver.New(t, split())
	in, out := testdriver.Input(d, lines), testdriver.Output(d, words)
	in.SendRecords(stream.Record[string, string]{Key: "a", Value: "one two"}, stream.Record[string, string]{Key: "b", Value: "three"})

	fmt.Println(out.Len(), out.ReadValues(), out.IsEmpty())
	// Output: 3 [one two three] true
}
