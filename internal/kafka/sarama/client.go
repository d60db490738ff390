package sarama

import (
	"sync"
	"sync/atomic"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Client opens roles. They share what is known of the cluster, never connections.
type Client struct {
	cfg       Config
	ibmConfig *ibm.Config // never changed; copied for each connection
	metadata  *metadata
	// reachability knows which brokers answer.
	reachability *reachability
	// coordinators knows of which groups and transactional ids no broker is the coordinator.
	coordinators coordinatorHealth
	// loginAccepted is set by the first connection that a broker accepted with these TLS and SASL
	// settings.
	loginAccepted atomic.Bool

	// largeBatch is the partition whose record batch over FetchConfig.BufferBytes is being
	// decompressed or processed.
	largeBatch atomic.Pointer[fetchPartition]

	closeOnce sync.Once
}

// New returns a client of the cluster that cfg names. It does not connect yet: the roles do when
// they are used.
func New(cfg Config) (kafka.Client, error) { return newClient(cfg) }

func newClient(cfg Config) (*Client, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, ibmConfig: cfg.ibmConfig()}
	if err := c.ibmConfig.Validate(); err != nil {
		return nil, err
	}
	c.metadata = newMetadata(c)
	c.reachability = newReachability(c)
	c.coordinators.client, c.coordinators.since = c, map[coordinatorKey]*missingCoordinator{}
	return c, nil
}

// Fetcher opens a fetch role.
func (c *Client) Fetcher(cfg kafka.FetchConfig) (kafka.Fetcher, error) {
	return newFetcher(c, cfg), nil
}

// Producer opens a produce role for one goroutine.
func (c *Client) Producer(cfg kafka.ProduceConfig) (kafka.Producer, error) {
	return newProducer(c, cfg, nil)
}

// Transactor opens a produce role, with transactions, for one goroutine.
func (c *Client) Transactor(cfg kafka.ProduceConfig, t kafka.TransactionConfig) (kafka.Transactor, error) {
	return newTransactor(c, cfg, t)
}

// Group opens a membership role.
func (c *Client) Group() (kafka.Group, error) { return newGroup(c), nil }

// Offsets opens a role for committed offsets.
func (c *Client) Offsets() (kafka.Offsets, error) { return newOffsets(c), nil }

// Admin opens an admin role.
func (c *Client) Admin() (kafka.Admin, error) { return newAdmin(c), nil }

// Healthy returns nil, or why no broker answers, or which coordinator there has not been for a while.
func (c *Client) Healthy() error {
	if err := c.reachability.healthy(); err != nil {
		return err
	}
	return c.coordinators.healthy()
}

// Close ends the metadata role and stops watching the brokers.
func (c *Client) Close() {
	c.closeOnce.Do(func() {
		c.reachability.close()
		c.metadata.close()
	})
}
