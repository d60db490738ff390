package sarama

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Client opens roles. What it shares among them is knowledge (metadata), never connections.
type Client struct {
	cfg  Config
	wire *sarama.Config // never changed; copied for each connection
	meta *metadata
	// letIn is set by the first connection that a broker accepted with our TLS and SASL settings.
	letIn atomic.Bool

	closing sync.Once
}

// New returns a client of the cluster that cfg names. It does not connect yet: the roles do when they are used.
func New(cfg Config) (kafka.Client, error) { return newClient(cfg) }

func newClient(cfg Config) (*Client, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, wire: cfg.wire()}
	if err := c.wire.Validate(); err != nil {
		return nil, err
	}
	c.meta = newMetadata(c)
	return c, nil
}

// Fetcher opens a fetch role.
func (c *Client) Fetcher(cfg kafka.FetchConfig) (kafka.Fetcher, error) {
	return newFetcher(c, cfg), nil
}

// Producer opens a produce role for one goroutine.
func (c *Client) Producer(cfg kafka.ProduceConfig) (kafka.Producer, error) {
	return newProducer(c, cfg)
}

// Group opens a membership role.
func (c *Client) Group() (kafka.Group, error) { return &group{r: newRole(c)}, nil }

// Offsets opens a role for committed offsets.
func (c *Client) Offsets() (kafka.Offsets, error) { return &offsets{r: newRole(c)}, nil }

// Admin opens an admin role.
func (c *Client) Admin() (kafka.Admin, error) { return &admin{r: newRole(c)}, nil }

// Close ends the metadata role.
func (c *Client) Close() { c.closing.Do(c.meta.close) }

// wait sleeps for a backoff and says whether the role still lives.
func wait(d time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}
