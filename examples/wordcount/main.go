// Command wordcount counts the words of topic lines into topic counts.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

var (
	lines  = stream.NewTopic("lines", serde.String, serde.String)
	counts = stream.NewTopic("counts", serde.String, serde.Int64)
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	words := stream.FlatMapValues(stream.From(b, lines), strings.FieldsSeq)
	byWord := stream.GroupBy(words, func(_, word string) string { return word })
	stream.To(table.ToStream(table.Count(byWord, "word-counts")), counts)
	return b.Build()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	top, err := build()
	if err != nil {
		log.Fatal(err) // every mistake of the program, with its file and line
	}
	app, err := millstream.New(top, millstream.Config{ApplicationID: "wordcount", Brokers: []string{"localhost:9092"}})
	if err != nil {
		log.Fatal(err) // every mistake of the configuration
	}
	if err := app.Run(ctx); err != nil { // until SIGTERM; everything processed is committed then
		log.Fatal(err)
	}
}
