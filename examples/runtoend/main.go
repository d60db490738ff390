// Command runtoend is a batch job: it adds up the sales that are in topic sales when it starts,
// writes the sums, and ends. Started again it goes on where it ended.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

var (
	sales = stream.NewTopic("sales", serde.String, serde.Int64) // the shop, cents
	sums  = stream.NewTopic("sums", serde.String, serde.Int64)
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	byShop := stream.GroupByKey(stream.From(b, sales))
	total := table.Reduce(byShop, "sums", func(sum, cents int64) int64 { return sum + cents })
	stream.To(table.ToStream(total), sums)
	return b.Build()
}

func run(ctx context.Context, stateDir string, brokers ...string) error {
	top, err := build()
	if err != nil {
		return err
	}
	app, err := millstream.New(top, millstream.Config{ApplicationID: "runtoend", Brokers: brokers, StateDir: stateDir})
	if err != nil {
		return err
	}
	// RunToEnd returns when all has been processed that was there at the start, repartition topics
	// included, and is committed.
	return app.RunToEnd(ctx)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, "", "localhost:9092"); err != nil {
		log.Fatal(err)
	}
}
