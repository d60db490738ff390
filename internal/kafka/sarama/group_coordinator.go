package sarama

import (
	"context"
	"errors"
	"time"

	ibm "github.com/IBM/sarama"
)

// coordinators remembers the coordinator of each group, or of each transactional id. It is used under the token of
// its pool.
type coordinators struct {
	pool  *connPool
	kind  ibm.CoordinatorType
	addrs map[string]string
}

func newCoordinators(pool *connPool) coordinators {
	return coordinators{pool: pool, kind: ibm.CoordinatorGroup, addrs: map[string]string{}}
}

// request makes a request to the group's coordinator, whose response may take up to limit.
func (c *coordinators) request(ctx context.Context, group string, limit time.Duration,
	f func(*conn, *ibm.Broker) error) error {
	addr, err := c.find(ctx, group)
	if err == nil {
		err = c.pool.requestWithin(ctx, addr, limit, f)
		c.forget(group, err)
	}
	return c.pool.client.coordinators.note(c.kind, group, err)
}

// find returns the address of the group's coordinator.
func (c *coordinators) find(ctx context.Context, group string) (string, error) {
	if addr, ok := c.addrs[group]; ok {
		return addr, nil
	}
	// Any broker knows: the group's coordinator is the leader of a partition of __consumer_offsets.
	var addr string
	err := c.pool.requestAny(ctx, func(cn *conn, b *ibm.Broker) error {
		resp, err := b.FindCoordinator(&ibm.FindCoordinatorRequest{Version: cn.version(apiFindCoordinator, 3),
			CoordinatorKey: group, CoordinatorType: c.kind})
		if err != nil {
			return err
		}
		if err := codeError(resp.Err); err != nil {
			return err
		}
		addr = resp.Coordinator.Addr()
		return nil
	})
	if err != nil {
		return "", err
	}
	c.addrs[group] = addr
	return addr, nil
}

// forget drops what is known of the group's coordinator if err says that it may be wrong.
func (c *coordinators) forget(group string, err error) {
	if err == nil {
		return
	}
	var broken *unavailableError
	if coordinatorMoved(err) || errors.As(err, &broken) {
		delete(c.addrs, group)
	}
}

// coordinatorMoved reports whether a coordinator has moved or is not ready. The request was refused
// before it had any effect, so it may be repeated, whatever it was.
func coordinatorMoved(err error) bool {
	k, ok := codeOf(err)
	return ok && (k == ibm.ErrNotCoordinatorForConsumer || k == ibm.ErrConsumerCoordinatorNotAvailable ||
		k == ibm.ErrOffsetsLoadInProgress)
}
