package table_test

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

var clicks = stream.NewTopic("clicks", serde.String, serde.String)

// minute is a time of day in the examples.
func minute(m int) time.Time { return time.Date(2026, 1, 2, 10, m, 0, 0, time.UTC) }

// printWindows prints the changes of a windowed table as they come.
func printWindows[V any](t table.KTable[window.Key[string], V]) {
	stream.ForEach(table.ToStream(t), func(r stream.Record[window.Key[string], V]) {
		from, to := r.Key.Start.UTC().Format("15:04"), r.Key.End.UTC().Format("15:04")
		if r.Tombstone {
			fmt.Println(r.Key.Key, from, to, "deleted")
		} else {
			fmt.Println(r.Key.Key, from, to, r.Value)
		}
	})
}

func ExampleCountWindows() {
	b := stream.NewBuilder()
	perHour := table.CountWindows(stream.GroupByKey(stream.From(b, clicks)), window.Tumbling(10*time.Minute).Grace(time.Minute), "clicks")
	printWindows(perHour)

	in := testdriver.Input(run(b), clicks)
	in.At(minute(3)).Send("ann", "home")
	in.At(minute(10)).Send("ann", "shop")
	in.At(minute(9)).Send("ann", "cart") // late, but within the grace period
	in.At(minute(11)).Send("ann", "home")
	in.At(minute(9)).Send("ann", "help") // too late: it is dropped and counted
	// Output:
	// ann 10:00 10:10 1
	// ann 10:10 10:20 1
	// ann 10:00 10:10 2
	// ann 10:10 10:20 2
}

func ExampleCountWindows_onClose() {
	b := stream.NewBuilder()
	perHour := table.CountWindows(stream.GroupByKey(stream.From(b, clicks)), window.Tumbling(10*time.Minute).OnClose(), "clicks")
	printWindows(perHour)

	in := testdriver.Input(run(b), clicks)
	in.At(minute(3)).Send("ann", "home")
	in.At(minute(9)).Send("ann", "shop")
	fmt.Println("nothing yet")
	in.At(minute(10)).Send("bob", "home")
	// Output:
	// nothing yet
	// ann 10:00 10:10 2
}

func ExampleReduceWindows() {
	b := stream.NewBuilder()
	g := stream.GroupByKey(stream.From(b, clicks))
	printWindows(table.ReduceWindows(g, window.Hopping(10*time.Minute, 5*time.Minute), "last", func(_, v string) string { return v }))

	in := testdriver.Input(run(b), clicks)
	in.At(minute(3)).Send("ann", "home")
	in.At(minute(7)).Send("ann", "shop")
	// Output:
	// ann 09:55 10:05 home
	// ann 10:00 10:10 home
	// ann 10:00 10:10 shop
	// ann 10:05 10:15 shop
}

func ExampleAggregateWindows() {
	b := stream.NewBuilder()
	g := stream.GroupByKey(stream.From(b, clicks))
	paths := table.AggregateWindows(g, window.Sliding(5*time.Minute).Grace(time.Hour), "paths", table.Zero,
		func(_ string, page, path string) string { return path + "/" + page }, store.Retention(24*time.Hour))
	printWindows(paths)

	in := testdriver.Input(run(b), clicks)
	in.At(minute(10)).Send("ann", "home")
	in.At(minute(14)).Send("ann", "shop")
	in.At(minute(18)).Send("ann", "cart")
	// Output:
	// ann 10:05 10:10 /home
	// ann 10:10 10:15 /shop
	// ann 10:09 10:14 /home/shop
	// ann 10:14 10:19 /cart
	// ann 10:13 10:18 /shop/cart
}

func ExampleAggregateSessions() {
	b := stream.NewBuilder()
	g := stream.GroupByKey(stream.From(b, clicks))
	visits := table.AggregateSessions(g, window.Sessions(5*time.Minute).Grace(time.Hour), "visits", table.Zero,
		func(_ string, page, path string) string { return path + "/" + page },
		func(_ string, a, b string) string { return a + b })
	printWindows(visits)

	in := testdriver.Input(run(b), clicks)
	in.At(minute(10)).Send("ann", "home")
	in.At(minute(18)).Send("ann", "cart")
	in.At(minute(14)).Send("ann", "shop") // joins the two
	// Output:
	// ann 10:10 10:10 /home
	// ann 10:18 10:18 /cart
	// ann 10:10 10:10 deleted
	// ann 10:18 10:18 deleted
	// ann 10:10 10:18 /home/cart/shop
}

// Of each user, the page seen last and the number of questions asked.
func ExampleCogroup() {
	type user struct {
		Page      string
		Questions int
	}
	b := stream.NewBuilder(stream.Serdes(&serde.Registry{Fallback: serde.JSONCodec}))
	c := table.Cogroup(
		table.Add(stream.GroupByKey(stream.From(b, clicks)), func(_ string, page string, u user) user { u.Page = page; return u }),
		table.Add(stream.GroupByKey(stream.From(b, questions)), func(_ string, _ string, u user) user { u.Questions++; return u }))
	users := table.AggregateCogroup(c, "users", table.Zero)
	stream.ForEach(table.ToStream(users), func(r stream.Record[string, user]) { fmt.Println(r.Key, r.Value) })

	d := run(b)
	testdriver.Input(d, clicks).Send("ann", "home")
	testdriver.Input(d, questions).Send("ann", "why?")
	testdriver.Input(d, clicks).Send("ann", "shop")
	// Output:
	// ann {home 0}
	// ann {home 1}
	// ann {shop 1}
}

func ExampleAggregateCogroupWindows() {
	b := stream.NewBuilder()
	count := func(_ string, _ string, n int64) int64 { return n + 1 }
	c := table.Cogroup(table.Add(stream.GroupByKey(stream.From(b, clicks)), count), table.Add(stream.GroupByKey(stream.From(b, questions)), count))
	printWindows(table.AggregateCogroupWindows(c, window.Tumbling(10*time.Minute), "activity", table.Zero))

	d := run(b)
	testdriver.Input(d, clicks).At(minute(1)).Send("ann", "home")
	testdriver.Input(d, questions).At(minute(2)).Send("ann", "why?")
	// Output:
	// ann 10:00 10:10 1
	// ann 10:00 10:10 2
}

func ExampleAggregateCogroupSessions() {
	b := stream.NewBuilder()
	count := func(_ string, _ string, n int64) int64 { return n + 1 }
	c := table.Cogroup(table.Add(stream.GroupByKey(stream.From(b, clicks)), count), table.Add(stream.GroupByKey(stream.From(b, questions)), count))
	visits := table.AggregateCogroupSessions(c, window.Sessions(10*time.Minute), "visits", table.Zero, func(_ string, a, b int64) int64 { return a + b })
	printWindows(visits)

	d := run(b)
	testdriver.Input(d, clicks).At(minute(1)).Send("ann", "home")
	testdriver.Input(d, questions).At(minute(5)).Send("ann", "why?")
	// Output:
	// ann 10:01 10:01 1
	// ann 10:01 10:01 deleted
	// ann 10:01 10:05 2
}
