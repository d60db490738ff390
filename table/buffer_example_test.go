package table_test

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// calm holds prices back for an hour, in a buffer, and prints what is sent.
func calm(buffer table.Buffer) testdriver.In[string, string] {
	b := stream.NewBuilder()
	prices := table.SuppressFor(table.From(b, texts, "prices"), time.Hour, "prices-calm", buffer)
	stream.ForEach(table.ToStream(prices), func(r stream.Record[string, string]) { fmt.Println(r.Key, r.Value) })
	return testdriver.Input(run(b), texts).At(minute(0)).Advancing(time.Minute)
}

// Nothing is sent before it is due, however much there is.
func ExampleUnbounded() {
	in := calm(table.Unbounded())
	for _, item := range []string{"tea", "milk", "cake"} {
		in.Send(item, "3.10")
	}
	in.At(minute(60)).Send("jam", "2.00")
	// Output: tea 3.10
}

// With a third key the oldest is sent early.
func ExampleMaxRecords() {
	in := calm(table.MaxRecords(2))
	in.Send("tea", "3.10")
	in.Send("tea", "3.20")
	in.Send("milk", "1.10")
	in.Send("cake", "5.00")
	// Output: tea 3.20
}

// The bound is one of bytes: of keys, values and what goes with them.
func ExampleMaxBytes() {
	in := calm(table.MaxBytes(110))
	in.Send("tea", "3.10")
	in.Send("milk", "1.10")
	in.Send("cake", "5.00")
	// Output: tea 3.10
}
