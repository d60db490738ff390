package join_test

import (
	"fmt"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// show is what a driver needs of a test, for examples.
type show struct{}

func (show) Helper()                           {}
func (show) Cleanup(func())                    {}
func (show) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (show) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func run(b *stream.Builder) *testdriver.Driver {
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	return testdriver.New(show{}, top)
}

var (
	orders = stream.NewTopic("orders", serde.String, serde.Int64)
	names  = stream.NewTopic("names", serde.String, serde.String)
	named  = stream.NewTopic("named-orders", serde.String, serde.String)
)

func ExampleStreamTable() {
	b := stream.NewBuilder()
	customers := table.From(b, names, "customers")
	withName := join.StreamTable(stream.From(b, orders), customers, "name-orders",
		func(cents int64, name string) string { return fmt.Sprintf("%s spent %d", name, cents) })
	stream.To(withName, named)

	d := run(b)
	testdriver.Input(d, orders).Send("c1", 100) // nobody is known yet
	testdriver.Input(d, names).Send("c1", "Anna")
	testdriver.Input(d, orders).Send("c1", 250)
	for _, r := range testdriver.Output(d, named).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output: c1 Anna spent 250
}

func ExampleStreamTableLeft() {
	b := stream.NewBuilder()
	customers := table.From(b, names, "customers")
	withName := join.StreamTableLeft(stream.From(b, orders), customers, "name-orders",
		func(cents int64, name string, ok bool) string {
			if !ok {
				name = "somebody"
			}
			return fmt.Sprintf("%s spent %d", name, cents)
		})
	stream.To(withName, named)

	d := run(b)
	testdriver.Input(d, orders).Send("c1", 100)
	testdriver.Input(d, names).Send("c1", "Anna")
	testdriver.Input(d, orders).Send("c1", 250)
	for _, r := range testdriver.Output(d, named).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// c1 somebody spent 100
	// c1 Anna spent 250
}

var (
	prices = stream.NewTopic("prices", serde.String, serde.Int64)
	stock  = stream.NewTopic("stock", serde.String, serde.Int64)
	offers = stream.NewTopic("offers", serde.String, serde.String)
)

// printed prints what came out.
func printed(d *testdriver.Driver) {
	for _, r := range testdriver.Output(d, offers).Read() {
		if r.Tombstone {
			fmt.Println(r.Key, "deleted")
		} else {
			fmt.Println(r.Key, r.Value)
		}
	}
}

func ExampleTableTable() {
	b := stream.NewBuilder()
	both := join.TableTable(table.From(b, prices, "prices"), table.From(b, stock, "stock"),
		func(cents, left int64) string { return fmt.Sprintf("%d left at %d", left, cents) })
	stream.To(table.ToStream(both), offers)

	d := run(b)
	testdriver.Input(d, prices).Send("pen", 120)
	testdriver.Input(d, stock).Send("pen", 3)
	testdriver.Input(d, prices).Send("pen", 99)
	testdriver.Input(d, stock).Delete("pen")
	printed(d)
	// Output:
	// pen 3 left at 120
	// pen 3 left at 99
	// pen deleted
}

func ExampleTableTableLeft() {
	b := stream.NewBuilder()
	all := join.TableTableLeft(table.From(b, prices, "prices"), table.From(b, stock, "stock"),
		func(cents, left int64, ok bool) string {
			if !ok {
				return fmt.Sprintf("sold out, was %d", cents)
			}
			return fmt.Sprintf("%d left at %d", left, cents)
		})
	stream.To(table.ToStream(all), offers)

	d := run(b)
	testdriver.Input(d, prices).Send("pen", 120)
	testdriver.Input(d, stock).Send("pen", 3)
	testdriver.Input(d, stock).Delete("pen")
	printed(d)
	// Output:
	// pen sold out, was 120
	// pen 3 left at 120
	// pen sold out, was 120
}

func ExampleTableTableOuter() {
	b := stream.NewBuilder()
	all := join.TableTableOuter(table.From(b, prices, "prices"), table.From(b, stock, "stock"),
		func(cents, left join.Maybe[int64]) string {
			return fmt.Sprintf("%d left at %d", left.Or(0), cents.Or(100))
		})
	stream.To(table.ToStream(all), offers)

	d := run(b)
	testdriver.Input(d, stock).Send("pen", 3)
	testdriver.Input(d, prices).Send("pen", 120)
	testdriver.Input(d, stock).Delete("pen")
	testdriver.Input(d, prices).Delete("pen")
	printed(d)
	// Output:
	// pen 3 left at 100
	// pen 3 left at 120
	// pen 0 left at 120
	// pen deleted
}

func ExampleStreamGlobal() {
	countries := stream.NewTopic("countries", serde.String, serde.String)
	addresses := stream.NewTopic("addresses", serde.String, serde.String) // customer -> country code
	b := stream.NewBuilder()
	names := table.Global(b, countries, "country-names")
	withName := join.StreamGlobal(stream.From(b, addresses), names,
		func(r stream.Record[string, string]) (string, bool) { return r.Value, true },
		func(code, name string) string { return name + " (" + code + ")" })
	stream.To(withName, named)

	d := run(b)
	testdriver.Input(d, countries).Send("is", "Iceland")
	testdriver.Input(d, addresses).Send("c1", "is")
	testdriver.Input(d, addresses).Send("c2", "xx") // nobody knows it
	for _, r := range testdriver.Output(d, named).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output: c1 Iceland (is)
}

func ExampleStreamGlobalLeft() {
	countries := stream.NewTopic("countries", serde.String, serde.String)
	addresses := stream.NewTopic("addresses", serde.String, serde.String)
	b := stream.NewBuilder()
	names := table.Global(b, countries, "country-names")
	withName := join.StreamGlobalLeft(stream.From(b, addresses), names,
		func(r stream.Record[string, string]) (string, bool) { return r.Value, r.Value != "" },
		func(code, name string, ok bool) string {
			if !ok {
				return "somewhere"
			}
			return name
		})
	stream.To(withName, named)

	d := run(b)
	testdriver.Input(d, countries).Send("is", "Iceland")
	testdriver.Input(d, addresses).Send("c1", "is")
	testdriver.Input(d, addresses).Send("c2", "")
	for _, r := range testdriver.Output(d, named).Read() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// c1 Iceland
	// c2 somewhere
}

var (
	shoppers  = stream.NewTopic("shoppers", serde.String, serde.String)  // name, by customer
	purchases = stream.NewTopic("purchases", serde.String, serde.String) // customer, by order
)

func ExampleForeignKey() {
	b := stream.NewBuilder()
	withName := join.ForeignKey(table.From(b, purchases, "purchases"), table.From(b, shoppers, "shoppers"), "purchase-names",
		func(_, customer string) (string, bool) { return customer, customer != "" },
		func(customer, name string) string { return fmt.Sprintf("%s bought by %s", customer, name) })
	stream.To(table.ToStream(withName), offers)

	d := run(b)
	testdriver.Input(d, purchases).Send("o1", "c1")
	testdriver.Input(d, purchases).Send("o2", "c1")
	testdriver.Input(d, shoppers).Send("c1", "Ann") // both are joined
	testdriver.Input(d, purchases).Delete("o1")
	printed(d)
	// Output:
	// o1 c1 bought by Ann
	// o2 c1 bought by Ann
	// o1 deleted
}

func ExampleForeignKeyLeft() {
	b := stream.NewBuilder()
	withName := join.ForeignKeyLeft(table.From(b, purchases, "purchases"), table.From(b, shoppers, "shoppers"), "purchase-names",
		func(_, customer string) (string, bool) { return customer, customer != "" },
		func(_, name string, ok bool) string {
			if !ok {
				return "bought by somebody"
			}
			return "bought by " + name
		})
	stream.To(table.ToStream(withName), offers)

	d := run(b)
	testdriver.Input(d, purchases).Send("o1", "c1")
	testdriver.Input(d, shoppers).Send("c1", "Ann")
	testdriver.Input(d, shoppers).Delete("c1")
	printed(d)
	// Output:
	// o1 bought by somebody
	// o1 bought by Ann
	// o1 bought by somebody
}
