// Command kafka runs a real Apache Kafka until it is interrupted: one node on free ports of the
// loopback interface, its jars from Maven. It prints the address to bootstrap from, and nothing
// else, on standard output when the node serves.
//
//	go run ./scripts/kafka -dir /tmp/kafka
//
// With -sasl there is a second listener, SASL over TLS; -dir then holds the certificate to trust,
// ca.pem.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/millstream-go/millstream/tests/kafkatest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	dir := flag.String("dir", "", "where its files go; a directory of its own, removed at the end, unless set")
	sasl := flag.Bool("sasl", false, "listen for SASL (PLAIN, SCRAM, OAUTHBEARER) over TLS too")
	flag.Parse()
	if err := run(ctx, *dir, *sasl); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, sasl bool) error {
	if dir == "" {
		tmp, err := os.MkdirTemp("", "kafka-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n, err := kafkatest.New(ctx, dir, kafkatest.Options{SASL: sasl})
	if err != nil {
		return err
	}
	defer n.Stop()
	fmt.Println(n.Addr)
	if sasl {
		if err := os.WriteFile(filepath.Join(dir, "ca.pem"), n.CA, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "SASL over TLS: %s, user %s, password %s, trust %s\n", n.SASLAddr, kafkatest.User,
			kafkatest.Password, filepath.Join(dir, "ca.pem"))
	}
	<-ctx.Done()
	return nil
}
