// Package program runs the small examples: each of them is a topology, and this is the App around
// it. It expects the topics of the example to exist; examples/wordcount shows the same lines in
// full.
package program

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/topology"
)

// Run runs what build returns as the application name until SIGTERM or Ctrl-C.
func Run(name string, build func() (*topology.Topology, error)) {
	brokers := flag.String("brokers", "localhost:9092", "addresses of brokers, separated by commas")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("%s: unexpected argument %q; its only flag is -brokers", name, flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	top, err := build()
	if err != nil {
		log.Fatal(err)
	}
	app, err := millstream.New(top, millstream.Config{ApplicationID: name, Brokers: strings.Split(*brokers, ",")})
	if err != nil {
		log.Fatal(err)
	}
	if err := app.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
