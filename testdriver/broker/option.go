package broker

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Option configures New and Start.
type Option func(*settings)

type settings struct {
	brokers int
	topics  []topic
	dataDir string
	virtual bool
	ports   []int
	extra   []kfake.Opt
}

type topic struct {
	name       string
	partitions int32
	config     map[string]string
}

// Brokers sets how many brokers share the partitions. Defaults to 1.
func Brokers(n int) Option { return func(s *settings) { s.brokers = n } }

// Topic creates a topic at the start, unless the data directory holds it already. config holds
// entries like "cleanup.policy=compact"; names that this Kafka does not know are kept and mean
// nothing.
func Topic(name string, partitions int, config ...string) Option {
	return func(s *settings) { s.topics = append(s.topics, newTopic(name, partitions, config)) }
}

func newTopic(name string, partitions int, config []string) topic {
	t := topic{name: name, partitions: int32(partitions), config: map[string]string{}}
	for _, c := range config {
		key, value, _ := strings.Cut(c, "=")
		t.config[key] = value
	}
	return t
}

// DataDir keeps topics, records, offsets and producers in a directory, so that they outlive a
// Restart, and the process.
func DataDir(dir string) Option { return func(s *settings) { s.dataDir = dir } }

// Virtual listens on a network in memory, for use within a bubble of testing/synctest: pass Dialer
// to whatever connects. New, Close and all use of the broker belong in the bubble.
func Virtual() Option { return func(s *settings) { s.virtual = true } }

// Ports listens on these ports, one per broker. Defaults to free ones; 9092 and following on a
// virtual network.
func Ports(ports ...int) Option {
	return func(s *settings) { s.ports, s.brokers = ports, len(ports) }
}

// Kfake passes options on to what stands behind, for what this package has no word for: TLS, SASL,
// session timeouts, versions. Produce, Read and Follow connect without TLS and SASL.
func Kfake(opts ...kfake.Opt) Option { return func(s *settings) { s.extra = append(s.extra, opts...) } }

const firstVirtualPort = 9092

func (s *settings) virtualPorts() {
	for i := len(s.ports); i < s.brokers; i++ {
		s.ports = append(s.ports, firstVirtualPort+i)
	}
}

func (s *settings) kfake(v *kfake.VirtualNetwork) []kfake.Opt {
	opts := []kfake.Opt{kfake.NumBrokers(s.brokers)}
	if len(s.ports) > 0 {
		opts = append(opts, kfake.Ports(s.ports...))
	}
	if s.dataDir != "" {
		opts = append(opts, kfake.DataDir(s.dataDir))
	}
	if v != nil {
		opts = append(opts, kfake.ListenFn(v.Listen))
	}
	return append(opts, s.extra...)
}
