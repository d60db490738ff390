package sarama

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	ibm "github.com/IBM/sarama"
)

// coordinatorHealth knows for which groups and transactional ids brokers answer that there is no coordinator. That is
// no error, since a cluster that starts, or has lost a broker, answers so for a while. But a cluster with fewer brokers
// than the coordinators' topic needs does so for ever, and nothing else would say why an App does not get on.
type coordinatorHealth struct {
	client  *Client
	missing atomic.Int32 // the length of since: most requests find none missing, and take no lock

	mu    sync.Mutex
	since map[coordinatorKey]*missingCoordinator
}

type coordinatorKey struct {
	kind ibm.CoordinatorType
	name string
}

// missingCoordinator is what brokers have answered in place of a coordinator.
type missingCoordinator struct {
	first, last time.Time
	err         error
	warned      bool
}

const (
	// coordinatorMissingAfter is for how long there may be no coordinator before that is logged. It is as long as a
	// cluster takes to notice that the broker that was it is dead.
	coordinatorMissingAfter = 10 * time.Second
	// coordinatorForgottenAfter is how long an answer counts. Who is told that there is no coordinator asks again within
	// a second or two, or has no use for one any more.
	coordinatorForgottenAfter = 5 * time.Second
)

// note notes the result of a request to a coordinator, and returns it, with what to look at where there is none.
func (h *coordinatorHealth) note(kind ibm.CoordinatorType, name string, err error) error {
	code, _ := codeOf(err)
	unavailable := code == ibm.ErrConsumerCoordinatorNotAvailable
	if unavailable {
		err = &noCoordinator{kind, err}
	}
	// Where there was no answer, nothing is known; reachability tells of that.
	if !unavailable && (h.missing.Load() == 0 || err != nil && code == 0) {
		return err
	}
	key, now := coordinatorKey{kind, name}, time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.since[key]
	switch {
	case !unavailable && m == nil:
		return err
	case !unavailable:
		delete(h.since, key)
		if m.warned {
			h.client.cfg.Logger.Info("millstream: there is a coordinator again", key.attribute(), name,
				"after", now.Sub(m.first).Round(100*time.Millisecond))
		}
	case m == nil || now.Sub(m.last) > coordinatorForgottenAfter:
		h.since[key] = &missingCoordinator{first: now, last: now, err: err}
	default:
		m.last, m.err = now, err
		if !m.warned && now.Sub(m.first) >= coordinatorMissingAfter {
			m.warned = true
			h.client.cfg.Logger.Warn("millstream: no broker is the coordinator", key.attribute(), name, "error", err)
		}
	}
	h.missing.Store(int32(len(h.since)))
	return err
}

// healthy returns nil, or a coordinator that is missing, as it was logged.
func (h *coordinatorHealth) healthy() error {
	if h.missing.Load() == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var out error
	var least string
	for key, m := range h.since {
		if m.warned && time.Since(m.last) <= coordinatorForgottenAfter && (out == nil || key.name < least) {
			least, out = key.name, fmt.Errorf("no broker is the coordinator of %s %q: %w", key.what(), key.name, m.err)
		}
	}
	return out
}

func (k coordinatorKey) what() string {
	if k.kind == ibm.CoordinatorTransaction {
		return "transactional id"
	}
	return "group"
}

func (k coordinatorKey) attribute() string {
	if k.kind == ibm.CoordinatorTransaction {
		return "transactionalID"
	}
	return "group"
}

// noCoordinator is a broker's answer that there is no coordinator, with the most likely reason, if it stays so.
type noCoordinator struct {
	kind ibm.CoordinatorType
	err  error
}

func (n *noCoordinator) Error() string {
	topic, setting := offsetsTopic, "offsets.topic.replication.factor"
	if n.kind == ibm.CoordinatorTransaction {
		topic, setting = "__transaction_state", "transaction.state.log.replication.factor"
	}
	return fmt.Sprintf("%v: if this lasts, check topic %s, which needs as many brokers as their setting %s says, "+
		"3 by default", n.err, topic, setting)
}

func (n *noCoordinator) Unwrap() error { return n.err }
