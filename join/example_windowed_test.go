package join_test

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

func ExampleStreamStream() {
	b := stream.NewBuilder()
	clicks := stream.NewTopic("clicks", serde.String, serde.String)
	both := join.StreamStream(stream.From(b, clicks), stream.From(b, orders), window.Within(10*time.Minute), "click-order",
		func(page string, cents int64) string { return fmt.Sprintf("%s, then %d", page, cents) })
	stream.To(both, named)

	d := run(b)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	testdriver.Input(d, clicks).At(noon).Send("c1", "/shoes")
	testdriver.Input(d, orders).At(noon.Add(9*time.Minute)).Send("c1", 250)
	testdriver.Input(d, orders).At(noon.Add(11*time.Minute)).Send("c1", 100) // too long after the click
	for _, r := range testdriver.Output(d, named).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output: c1 /shoes, then 250
}

func ExampleStreamStreamLeft() {
	b := stream.NewBuilder()
	payments := stream.NewTopic("payments", serde.String, serde.String)
	// An order that is not paid within an hour is told of when a record shows that the hour is over.
	paid := join.StreamStreamLeft(stream.From(b, orders), stream.From(b, payments), window.Within(time.Hour).Before(0), "paid",
		func(cents int64, payment string, ok bool) string {
			if !ok {
				return fmt.Sprintf("%d are not paid", cents)
			}
			return fmt.Sprintf("%d by %s", cents, payment)
		})
	stream.To(paid, named)

	d := run(b)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	testdriver.Input(d, orders).At(noon).Send("c1", 250)
	testdriver.Input(d, orders).At(noon).Send("c2", 100)
	testdriver.Input(d, payments).At(noon.Add(time.Minute)).Send("c2", "card")
	testdriver.Input(d, payments).At(noon.Add(2*time.Hour)).Send("c3", "cash")
	for _, r := range testdriver.Output(d, named).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// c2 100 by card
	// c1 250 are not paid
}

func ExampleStreamStreamOuter() {
	b := stream.NewBuilder()
	payments := stream.NewTopic("payments", serde.String, serde.String)
	matched := join.StreamStreamOuter(stream.From(b, orders), stream.From(b, payments), window.Within(time.Hour).Grace(time.Minute), "matched",
		func(cents join.Maybe[int64], payment join.Maybe[string]) string {
			return fmt.Sprintf("%d by %s", cents.Or(0), payment.Or("nothing"))
		})
	stream.To(matched, named)

	d := run(b)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	testdriver.Input(d, orders).At(noon).Send("c1", 250)
	testdriver.Input(d, payments).At(noon.Add(time.Minute)).Send("c2", "card")
	testdriver.Input(d, payments).At(noon.Add(3*time.Hour)).Send("c3", "cash")
	for _, r := range testdriver.Output(d, named).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// c1 250 by nothing
	// c2 0 by card
}

func ExampleGrace() {
	b := stream.NewBuilder()
	prices := table.From(b, stream.NewTopic("prices", serde.String, serde.Int64), "prices", store.Versions(time.Hour))
	sales := stream.NewTopic("sales", serde.String, serde.Int64) // of how many of an article
	stream.To(join.StreamTable(stream.From(b, sales), prices, "priced", func(n, price int64) string { return fmt.Sprint(n * price) },
		join.Grace(time.Minute)), named)

	d := run(b)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	price := testdriver.Input(d, stream.NewTopic("prices", serde.String, serde.Int64))
	sale := testdriver.Input(d, sales)
	price.At(noon).Send("pen", 100)
	sale.At(noon.Add(10*time.Second)).Send("pen", 3)
	price.At(noon.Add(5*time.Second)).Send("pen", 90)  // late, but in time for the sale
	price.At(noon.Add(20*time.Second)).Send("pen", 80) // after the sale
	sale.At(noon.Add(2*time.Minute)).Send("ink", 1)
	for _, r := range testdriver.Output(d, named).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output: pen 270
}
