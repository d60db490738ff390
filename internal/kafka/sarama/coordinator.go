package sarama

import (
	"context"
	"errors"

	"github.com/IBM/sarama"
)

// coordinators remembers who coordinates each group. Used in the turn of its role.
type coordinators struct {
	r    *role
	addr map[string]string
}

// of returns the address of the group's coordinator.
func (c *coordinators) of(ctx context.Context, group string) (string, error) {
	if a, ok := c.addr[group]; ok {
		return a, nil
	}
	addr, err := askAny(ctx, c.r, func(l *link, b *sarama.Broker) (string, error) {
		resp, err := b.FindCoordinator(&sarama.FindCoordinatorRequest{Version: l.version(apiFindCoordinator, 3),
			CoordinatorKey: group, CoordinatorType: sarama.CoordinatorGroup})
		if err != nil {
			return "", err
		}
		if err := failure(resp.Err); err != nil {
			return "", err
		}
		return resp.Coordinator.Addr(), nil
	})
	if err != nil {
		return "", err
	}
	if c.addr == nil {
		c.addr = map[string]string{}
	}
	c.addr[group] = addr
	return addr, nil
}

// forget drops what is known when err says that it may be wrong.
func (c *coordinators) forget(group string, err error) {
	var broken *unavailable
	if elsewhere(err) || errors.As(err, &broken) {
		delete(c.addr, group)
	}
}

// elsewhere says that a coordinator has moved or is not ready: the request was not looked at, so it may be repeated whatever it
// was.
func elsewhere(err error) bool {
	k, ok := code(err)
	return ok && (k == sarama.ErrNotCoordinatorForConsumer || k == sarama.ErrConsumerCoordinatorNotAvailable || k == sarama.ErrOffsetsLoadInProgress)
}
