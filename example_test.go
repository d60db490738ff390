package millstream_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// must ends an example that cannot go on.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// counted is what the examples run: it counts words.
func counted() (*stream.Builder, table.KTable[string, int64]) {
	b := stream.NewBuilder()
	lines := stream.From(b, stream.NewTopic("lines", serde.None, serde.String))
	words := stream.FlatMapValues(lines, strings.FieldsSeq)
	n := table.Count(stream.GroupBy(words, func(_ serde.Void, word string) string { return word }), "words", store.InMemory())
	return b, n
}

// A program that counts words until its input ends, on a Kafka in its own process.
func Example() {
	k := must(broker.New(broker.Topic("lines", 2), broker.Topic("counts", 2)))
	defer k.Close()
	ctx := context.Background()
	_ = k.Produce(ctx, "lines", broker.Record{Value: []byte("to be or")}, broker.Record{Value: []byte("not to be")})

	b, n := counted()
	stream.To(table.ToStream(n), stream.NewTopic("counts", serde.String, serde.Int64))
	app := must(millstream.New(must(b.Build()), millstream.Config{ApplicationID: "example", Brokers: k.Brokers()}))
	err := app.RunToEnd(ctx) // a service calls Run

	last := map[string]int64{}
	for _, r := range must(k.Read(ctx, "counts")) {
		last[string(r.Key)] = must(serde.Int64.Decode(r.Value))
	}
	fmt.Println(err, last)
	// Output: <nil> map[be:2 not:1 or:1 to:2]
}

// A program shows what its App has done: which steps have had how many records, and what it has committed.
func ExampleApp_Snapshot() {
	k := must(broker.New(broker.Topic("lines", 2), broker.Topic("counts", 2)))
	defer k.Close()
	ctx := context.Background()
	_ = k.Produce(ctx, "lines", broker.Record{Value: []byte("to be or")}, broker.Record{Value: []byte("not to be")})
	b, n := counted()
	stream.To(table.ToStream(n), stream.NewTopic("counts", serde.String, serde.Int64))
	app := must(millstream.New(must(b.Build()), millstream.Config{ApplicationID: "example", Brokers: k.Brokers()}))
	err := app.RunToEnd(ctx)

	s := app.Snapshot() // at any time, from any goroutine
	fmt.Println(err, s.State)
	for _, step := range s.Steps {
		if step.Name == "words" {
			fmt.Println(step.Name, step.Records)
		}
	}
	fmt.Println(s.Subtopologies[0].Late.Quantile(0.99) < time.Minute)
	// Output:
	// <nil> stopped
	// words 6
	// true
}

// A service reads its own tables, here with a function that an HTTP handler might call.
func ExampleApp_OpenStore() {
	k := must(broker.New(broker.Topic("lines", 1)))
	defer k.Close()
	ctx, cancel := context.WithCancel(context.Background())
	b, n := counted()
	commits := make(chan millstream.CommitInfo, 100)
	app := must(millstream.New(must(b.Build()), millstream.Config{
		ApplicationID: "example", Brokers: k.Brokers(),
		Events: millstream.Events{Commit: func(c millstream.CommitInfo) { commits <- c }},
	}))
	done := make(chan error)
	go func() { done <- app.Run(ctx) }()

	words := n.Store()
	count := func(word string) (int64, bool) {
		v, ok, err := words.In(app).Get(word)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return v, ok
	}
	_ = k.Produce(ctx, "lines", broker.Record{Value: []byte("to be or not to be")})
	for v, ok := int64(0), false; !ok || v < 2; v, ok = count("be") {
		<-commits
	}
	fmt.Println(count("be"))
	fmt.Println(count("was"))
	cancel()
	fmt.Println(<-done)
	// Output:
	// 2 true
	// 0 false
	// <nil>
}
