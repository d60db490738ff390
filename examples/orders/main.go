// Command orders sums the orders of each customer, from topic orders to topic totals. Records that are no orders go to
// orders-rejected.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/millstream-go/millstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	top, err := build()
	if err != nil {
		log.Fatal(err)
	}
	app, err := millstream.New(top, millstream.Config{ApplicationID: "orders", Brokers: []string{"localhost:9092"}})
	if err != nil {
		log.Fatal(err)
	}
	if err := app.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
