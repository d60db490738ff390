package broker_test

import (
	"context"
	"fmt"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// A program starts a Kafka of its own, writes to it and reads back. A test would call Start(t, ...)
// instead of New.
func Example() {
	b, err := broker.New(broker.Topic("orders", 1))
	if err != nil {
		panic(err)
	}
	defer b.Close()
	ctx := context.Background()
	if err := b.Produce(ctx, "orders", broker.Record{Key: []byte("7"), Value: []byte("two apples")}); err != nil {
		panic(err)
	}
	records, err := b.Read(ctx, "orders")
	fmt.Printf("%s %s %v\n", records[0].Key, records[0].Value, err)
	// Output: 7 two apples <nil>
}
