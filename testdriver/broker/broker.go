// Package broker is a Kafka in this process, for integration tests and for programs that show
// something without a cluster.
//
//	b := broker.Start(t, broker.Topic("orders", 4))
//	app, err := millstream.New(top, millstream.Config{ApplicationID: "shop", Brokers: b.Brokers()})
//
// It speaks Kafka's protocol on TCP, with groups, transactions, compaction and configurations (it
// is franz-go's kfake). With Virtual it listens on a network in memory instead, so that App and
// broker run in one bubble of testing/synctest, where time passes only when all wait.
//
// Importing the package switches the metrics of go-metrics off for the whole process: Sarama's cost
// CPU for each request, and their ticker would live outside a bubble. So import it from tests and
// programs, never from a library.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/rcrowley/go-metrics"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func init() { metrics.UseNilMetrics = true } // read by every client, so not to be written once one runs

// Dialer connects to the brokers; it has the type of Config.Dialer.
type Dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// Broker is a running Kafka of one or more brokers. It is safe for concurrent use, but for Restart
// and Close.
type Broker struct {
	settings settings
	network  *kfake.VirtualNetwork // nil on TCP
	cluster  *kfake.Cluster
	addrs    []string

	mu              sync.Mutex
	writeClient     *kgo.Client   // created by the first Produce
	oldWriteClients []*kgo.Client // those before it, which knew other partition counts
}

// New starts a Kafka: one broker on TCP, on free ports of the loopback interface, with its data in
// memory, unless opts say otherwise. Close it.
func New(opts ...Option) (*Broker, error) {
	b := &Broker{settings: settings{brokers: 1}}
	for _, o := range opts {
		o(&b.settings)
	}
	if b.settings.brokers < 1 {
		return nil, fmt.Errorf("broker: %d brokers, want at least 1", b.settings.brokers)
	}
	if b.settings.virtual {
		b.network = &kfake.VirtualNetwork{}
		b.settings.virtualPorts()
	}
	if err := b.start(); err != nil {
		return nil, err
	}
	return b, nil
}

// Start is New for tests: it fails t when it cannot start, and closes the broker when t and its
// subtests have ended.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	b, err := New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func (b *Broker) start() error {
	if dir := b.settings.dataDir; dir != "" {
		if err := restoreEnds(dir); err != nil {
			return fmt.Errorf("broker: data directory: %w", err)
		}
	}
	c, err := kfake.NewCluster(b.settings.kfake(b.network)...)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	b.cluster, b.addrs = c, c.ListenAddrs()
	for _, t := range b.settings.topics {
		// A topic that the data directory has stays as it is.
		if err := b.create(t); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			c.Close()
			return err
		}
	}
	return nil
}

func (b *Broker) create(t topic) error {
	if t.partitions < 1 {
		return fmt.Errorf("broker: topic %q: %d partitions, want at least 1", t.name, t.partitions)
	}
	if err := b.cluster.CreateTopic(t.name, t.partitions, t.config); err != nil {
		return fmt.Errorf("broker: topic %q: %w", t.name, err)
	}
	return nil
}

// Brokers returns the addresses to bootstrap from, host:port.
func (b *Broker) Brokers() []string { return append([]string(nil), b.addrs...) }

// Dialer returns what connects to the addresses of Brokers. On TCP that is a plain net.Dialer; on a
// virtual network nothing else does.
func (b *Broker) Dialer() Dialer {
	if b.network != nil {
		return b.network.DialContext
	}
	return (&net.Dialer{}).DialContext
}

// Cluster returns what stands behind, to inject faults, move leaders, compact or look at groups.
// After a Restart it is another one.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// CreateTopic creates a topic; config holds entries like "cleanup.policy=compact".
func (b *Broker) CreateTopic(name string, partitions int, config ...string) error {
	return b.create(newTopic(name, partitions, config))
}

// Restart stops all brokers and starts them at the same addresses with what their data directory
// holds: topics, records, groups' offsets and producers' sequences. Connections break, memberships
// of groups end. Without DataDir it is an error, and nothing happens.
func (b *Broker) Restart() error {
	if b.settings.dataDir == "" {
		return errors.New("broker: Restart needs DataDir, or all records would be lost")
	}
	ports := make([]int, len(b.addrs))
	for i, a := range b.addrs {
		_, port, err := net.SplitHostPort(a)
		if err != nil {
			return fmt.Errorf("broker: %w", err)
		}
		if ports[i], err = strconv.Atoi(port); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	b.settings.ports = ports
	b.cluster.Close()
	return b.start()
}

// Close stops all brokers and waits for their goroutines. Data in memory does not outlive it.
func (b *Broker) Close() {
	b.mu.Lock()
	clients := b.oldWriteClients
	if b.writeClient != nil {
		clients = append(clients, b.writeClient)
	}
	b.writeClient, b.oldWriteClients = nil, nil
	b.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	b.cluster.Close()
}
