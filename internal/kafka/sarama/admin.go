package sarama

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// admin reads metadata and manages topics.
type admin struct {
	r     *role
	coord coordinators
}

// Close closes the connections; waiting calls return.
func (a *admin) Close() { a.r.close() }

// Topics returns the topics named, or all.
func (a *admin) Topics(ctx context.Context, names ...string) (map[string]kafka.TopicInfo, error) {
	out := map[string]kafka.TopicInfo{}
	err := a.r.retry(ctx, "topics", func(ctx context.Context) error {
		clear(out)
		resp, err := askAny(ctx, a.r, describe(names))
		if err != nil {
			return err
		}
		a.r.c.meta.publish(resp)
		for _, t := range resp.Topics {
			if err := failure(t.Err); isUnknownTopic(err) {
				continue
			} else if err != nil {
				return fmt.Errorf("topic %q: %w", t.Name, err)
			}
			out[t.Name] = kafka.TopicInfo{Name: t.Name, ID: kafka.TopicID(t.Uuid), Partitions: len(t.Partitions), Internal: t.IsInternal}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// TopicConfig returns a topic's configuration.
func (a *admin) TopicConfig(ctx context.Context, name string) (conf map[string]string, err error) {
	err = a.r.retry(ctx, "configuration of topic "+name, func(ctx context.Context) error {
		conf, err = askAny(ctx, a.r, topicConfig(name))
		return err
	})
	return conf, err
}

func topicConfig(name string) func(*link, *sarama.Broker) (map[string]string, error) {
	return func(l *link, b *sarama.Broker) (map[string]string, error) {
		resp, err := b.DescribeConfigs(&sarama.DescribeConfigsRequest{Version: l.version(apiDescribeConfigs, 2),
			Resources: []*sarama.ConfigResource{{Type: sarama.TopicResource, Name: name}}})
		if err != nil {
			return nil, err
		}
		conf := map[string]string{}
		for _, r := range resp.Resources {
			if err := failure(sarama.KError(r.ErrorCode)); err != nil {
				return nil, err
			}
			for _, e := range r.Configs {
				conf[e.Name] = e.Value
			}
		}
		return conf, nil
	}
}

// CreateTopic creates a topic and waits for its leaders.
func (a *admin) CreateTopic(ctx context.Context, t kafka.TopicSpec) error {
	err := a.r.retry(ctx, "create topic "+t.Name, func(ctx context.Context) error { return a.create(ctx, t) })
	if err != nil {
		return err
	}
	return a.r.retry(ctx, "leaders of topic "+t.Name, func(ctx context.Context) error { return a.led(ctx, t) })
}

func (a *admin) create(ctx context.Context, t kafka.TopicSpec) error {
	d := &sarama.TopicDetail{NumPartitions: int32(t.Partitions), ReplicationFactor: int16(t.Replication), ConfigEntries: map[string]*string{}}
	if t.Replication == 0 {
		d.ReplicationFactor = -1
	}
	for k, v := range t.Config {
		d.ConfigEntries[k] = &v
	}
	return a.control(ctx, func(l *link, b *sarama.Broker) error {
		resp, err := b.CreateTopics(&sarama.CreateTopicsRequest{Version: l.version(apiCreateTopics, 7),
			TopicDetails: map[string]*sarama.TopicDetail{t.Name: d}, Timeout: a.r.c.cfg.RequestTimeout / 2})
		if err != nil {
			return err
		}
		e := resp.TopicErrors[t.Name]
		if e == nil {
			return sarama.ErrIncompleteResponse
		}
		return explained(e.Err, e.ErrMsg)
	})
}

// explained is failure with the broker's own words.
func explained(k sarama.KError, msg *string) error {
	err := failure(k)
	if err != nil && msg != nil {
		return fmt.Errorf("%w: %s", err, *msg)
	}
	return err
}

// led says whether each partition has a leader.
func (a *admin) led(ctx context.Context, t kafka.TopicSpec) error {
	resp, err := askAny(ctx, a.r, describe([]string{t.Name}))
	if err != nil {
		return err
	}
	a.r.c.meta.publish(resp)
	for _, m := range resp.Topics {
		for p := range max(t.Partitions, 1) {
			if _, err := a.r.c.meta.leader(kafka.TopicPartition{Topic: m.Name, Partition: int32(p)}); err != nil {
				return errors.Join(failure(sarama.ErrLeaderNotAvailable), err)
			}
		}
	}
	return nil
}

// control makes a request to the controller. Brokers without ZooKeeper pass it on, so any other will do while that is away.
func (a *admin) control(ctx context.Context, f func(*link, *sarama.Broker) error) error {
	g := func(l *link, b *sarama.Broker) (struct{}, error) { return struct{}{}, f(l, b) }
	s := a.r.c.meta.cluster()
	addr, ok := s.brokers[s.controller]
	if !ok {
		_, err := askAny(ctx, a.r, g)
		a.lookAgain(ctx, err)
		return err
	}
	_, err := ask(ctx, a.r, addr, g)
	a.lookAgain(ctx, err)
	return err
}

// lookAgain finds the controller anew after a transient error.
func (a *admin) lookAgain(ctx context.Context, err error) {
	if err == nil || !transient(err) {
		return
	}
	if resp, err := askAny(ctx, a.r, describe([]string{"__consumer_offsets"})); err == nil {
		a.r.c.meta.publish(resp)
	}
}

// DeleteTopics removes topics.
func (a *admin) DeleteTopics(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	return a.r.retry(ctx, "delete topics", func(ctx context.Context) error {
		return a.control(ctx, func(l *link, b *sarama.Broker) error {
			resp, err := b.DeleteTopics(&sarama.DeleteTopicsRequest{Version: l.version(apiDeleteTopics, 6), Topics: names, Timeout: a.r.c.cfg.RequestTimeout / 2})
			if err != nil {
				return err
			}
			for name, k := range resp.TopicErrorCodes {
				if err := explained(k, resp.TopicErrorMessages[name]); err != nil && !isUnknownTopic(err) {
					return fmt.Errorf("topic %q: %w", name, err)
				}
			}
			return nil
		})
	})
}

// DeleteGroup removes a group; one that does not exist is no error.
func (a *admin) DeleteGroup(ctx context.Context, group string) error {
	return a.r.retry(ctx, "delete group "+group, func(ctx context.Context) error {
		a.coord.r = a.r
		addr, err := a.coord.of(ctx, group)
		if err != nil {
			return err
		}
		resp, err := ask(ctx, a.r, addr, func(l *link, b *sarama.Broker) (*sarama.DeleteGroupsResponse, error) {
			return b.DeleteGroups(&sarama.DeleteGroupsRequest{Version: l.version(apiDeleteGroups, 2), Groups: []string{group}})
		})
		if err == nil && resp.GroupErrorCodes[group] != sarama.ErrGroupIDNotFound {
			err = failure(resp.GroupErrorCodes[group])
		}
		a.coord.forget(group, err)
		return err
	})
}
