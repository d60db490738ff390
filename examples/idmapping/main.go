// Command idmapping is real-time ID mapping, as a service: events carry some of a customer's
// identifiers (phone, ID card, device ID); a table of registrations holds what is known; each event
// is completed from it, and in learning mode the table learns from the events as well, until the
// identifiers of each person are linked.
//
// Without brokers it starts an in-process Kafka and tells itself a story:
//
//	go run ./examples/idmapping
//	go run ./examples/idmapping -once -json
//	go run ./examples/idmapping -generate 100000 -once
//	go run ./examples/idmapping -config idmapping.properties -brokers kafka-1:9092,kafka-2:9092
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "idmapping:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out, log io.Writer) error {
	c, err := parse(args, log)
	if err != nil {
		return err
	}
	return run(ctx, c, out, log)
}

// parse reads flags and the properties file; flags win. Its error lists everything that is wrong.
func parse(args []string, log io.Writer) (Config, error) {
	config := defaults()
	given := config
	var brokers, file string
	f := flag.NewFlagSet("idmapping", flag.ContinueOnError)
	f.SetOutput(log)
	f.StringVar(&file, "config", "", "properties `FILE`: application.id, bootstrap.servers, "+
		"stream|table|rekeyed|output.topic.name|partitions|replication.factor")
	f.StringVar(&brokers, "brokers", "", "addresses, as `HOST:PORT,...`; without any an in-process Kafka is started")
	f.StringVar(&given.Mode, "mode", config.Mode,
		"learning: the table learns from events too; mapping: it knows registrations only")
	f.StringVar(&given.StateDir, "state-dir", "", "`DIR`ectory of the state (default: below the user's cache directory)")
	f.BoolVar(&given.Once, "once", false, "process what there is, and end")
	f.BoolVar(&given.JSON, "json", false, "print JSON lines")
	f.IntVar(&given.Generate, "generate", 0, "feed the messages of `N` made-up customers")
	f.Uint64Var(&given.Seed, "seed", config.Seed, "of -generate")
	if err := f.Parse(args); err != nil {
		return config, err
	}
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	if file != "" {
		errs = append(errs, config.readFile(file))
	}
	config.Mode, config.StateDir, config.Once, config.JSON, config.Generate, config.Seed = given.Mode, given.StateDir,
		given.Once, given.JSON, given.Generate, given.Seed
	if brokers != "" {
		config.Brokers = list(brokers)
	}
	if err := errors.Join(append(errs, config.check())...); err != nil {
		return config, fmt.Errorf("configuration:\n%w", err)
	}
	return config, nil
}
