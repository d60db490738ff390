package window_test

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

// t stands for the *testing.T of a test, which examples do not have.
var t example

type example struct{}

func (example) Helper()                   {}
func (example) Cleanup(func())            {}
func (example) Errorf(f string, a ...any) { fmt.Printf(f+"\n", a...) }
func (example) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

var (
	clicks = stream.NewTopic("clicks", serde.String, serde.String)
	ads    = stream.NewTopic("ads", serde.String, serde.String)
)

// minute is a time of day in the examples.
func minute(m int) time.Time { return time.Date(2026, 1, 2, 10, m, 0, 0, time.UTC) }

func printKey(k window.Key[string], n int64) {
	fmt.Println(k.Key, k.Start.UTC().Format("15:04"), k.End.UTC().Format("15:04"), n)
}

// count counts clicks in windows and prints each change.
func count(w window.Fixed) testdriver.In[string, string] {
	b := stream.NewBuilder()
	counts := table.CountWindows(stream.GroupByKey(stream.From(b, clicks)), w, "clicks")
	stream.ForEach(table.ToStream(counts), func(r stream.Record[window.Key[string], int64]) { printKey(r.Key, r.Value) })
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	return testdriver.Input(testdriver.New(t, top), clicks)
}

// Windows of ten minutes, one behind the other. Grace lets records come late.
func ExampleTumbling() {
	in := count(window.Tumbling(10 * time.Minute).Grace(time.Minute))
	in.At(minute(3)).Send("ann", "home")
	in.At(minute(10)).Send("ann", "shop")
	in.At(minute(9)).Send("ann", "cart") // its window is open until 10:11
	in.At(minute(12)).Send("ann", "help")
	in.At(minute(9)).Send("ann", "late") // dropped and counted
	// Output:
	// ann 10:00 10:10 1
	// ann 10:10 10:20 1
	// ann 10:00 10:10 2
	// ann 10:10 10:20 2
}

// Windows of ten minutes, one every five: each record is in two.
func ExampleHopping() {
	in := count(window.Hopping(10*time.Minute, 5*time.Minute))
	in.At(minute(3)).Send("ann", "home")
	in.At(minute(7)).Send("ann", "shop")
	// Output:
	// ann 09:55 10:05 1
	// ann 10:00 10:10 1
	// ann 10:00 10:10 2
	// ann 10:05 10:15 1
}

// A window for each set of records that are at most five minutes apart. It has both its ends.
func ExampleSliding() {
	in := count(window.Sliding(5 * time.Minute))
	in.At(minute(10)).Send("ann", "home")
	in.At(minute(14)).Send("ann", "shop")
	// Output:
	// ann 10:05 10:10 1
	// ann 10:10 10:15 1
	// ann 10:09 10:14 2
}

// One window from a day on, without an end.
func ExampleUnlimited() {
	b := stream.NewBuilder()
	counts := table.CountWindows(stream.GroupByKey(stream.From(b, clicks)), window.Unlimited(minute(5)), "clicks")
	stream.ForEach(table.ToStream(counts), func(r stream.Record[window.Key[string], int64]) { fmt.Println(r.Key, r.Value) })
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	in := testdriver.Input(testdriver.New(t, top), clicks)
	in.At(minute(3)).Send("ann", "home") // before it begins
	in.At(minute(7)).Send("ann", "shop")
	in.At(minute(59)).Send("ann", "cart")
	// Output:
	// ann@2026-01-02T10:05:00Z/.. 1
	// ann@2026-01-02T10:05:00Z/.. 2
}

// A session lasts as long as the next record comes within five minutes. A record between two of
// them makes them one.
func ExampleSessions() {
	b := stream.NewBuilder()
	w := window.Sessions(5 * time.Minute).Grace(time.Hour)
	counts := table.AggregateSessions(stream.GroupByKey(stream.From(b, clicks)), w, "visits", table.Zero,
		func(_, _ string, n int64) int64 { return n + 1 },
		func(_ string, a, b int64) int64 { return a + b })
	stream.ForEach(table.ToStream(counts), func(r stream.Record[window.Key[string], int64]) {
		if !r.Tombstone {
			printKey(r.Key, r.Value)
		}
	})
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	in := testdriver.Input(testdriver.New(t, top), clicks)
	in.At(minute(10)).Send("ann", "home")
	in.At(minute(18)).Send("ann", "cart")
	in.At(minute(14)).Send("ann", "shop")
	// Output:
	// ann 10:10 10:10 1
	// ann 10:18 10:18 1
	// ann 10:10 10:18 3
}

// A click joins the ads that were shown up to five minutes before it.
func ExampleWithin() {
	b := stream.NewBuilder()
	clicked := join.StreamStream(stream.From(b, clicks), stream.From(b, ads), window.Within(0).Before(5*time.Minute), "clicked",
		func(click, ad string) string { return ad + " led to " + click })
	stream.ForEach(clicked, func(r stream.Record[string, string]) { fmt.Println(r.Key, r.Value) })
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	d := testdriver.New(t, top)
	testdriver.Input(d, ads).At(minute(1)).Send("ann", "a banner")
	testdriver.Input(d, ads).At(minute(4)).Send("ann", "a mail")
	testdriver.Input(d, clicks).At(minute(8)).Send("ann", "the shop")
	testdriver.Input(d, ads).At(minute(9)).Send("ann", "a film") // after the click
	// Output: ann a mail led to the shop
}
