package sarama

import (
	"context"
	"errors"
	"fmt"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// admin reads metadata and manages topics.
type admin struct {
	pool         *connPool
	coordinators coordinators
}

func newAdmin(c *Client) *admin {
	pool := newConnPool(c)
	return &admin{pool: pool, coordinators: newCoordinators(pool)}
}

// Close closes the connections; waiting calls return.
func (a *admin) Close() { a.pool.close() }

// Topics returns the topics named, or all.
func (a *admin) Topics(ctx context.Context, names ...string) (map[string]kafka.TopicInfo, error) {
	out := map[string]kafka.TopicInfo{}
	err := a.pool.retry(ctx, "topics", func(ctx context.Context) error {
		clear(out) // what an earlier try has found may be out of date
		resp, err := a.pool.describeTopics(ctx, names)
		if err != nil {
			return err
		}
		for _, t := range resp.Topics {
			if err := codeError(t.Err); isUnknownTopic(err) { // no error here, and so no reason to retry
				continue
			} else if err != nil {
				return fmt.Errorf("topic %q: %w", t.Name, err)
			}
			out[t.Name] = kafka.TopicInfo{Name: t.Name, ID: kafka.TopicID(t.Uuid),
				Partitions: len(t.Partitions), Internal: t.IsInternal}
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
	err = a.pool.retry(ctx, "configuration of topic "+name, func(ctx context.Context) error {
		conf, err = a.pool.topicConfig(ctx, name)
		return err
	})
	return conf, err
}

// topicConfig makes one request for a topic's configuration.
func (p *connPool) topicConfig(ctx context.Context, name string) (conf map[string]string, err error) {
	err = p.requestAny(ctx, func(cn *conn, b *ibm.Broker) error {
		resp, err := b.DescribeConfigs(&ibm.DescribeConfigsRequest{Version: cn.version(apiDescribeConfigs, 2),
			Resources: []*ibm.ConfigResource{{Type: ibm.TopicResource, Name: name}}})
		if err != nil {
			return err
		}
		conf = map[string]string{}
		for _, r := range resp.Resources {
			if err := codeError(ibm.KError(r.ErrorCode)); err != nil {
				return err
			}
			for _, e := range r.Configs {
				conf[e.Name] = e.Value
			}
		}
		return nil
	})
	return conf, err
}

// AlterTopicConfig sets settings of a topic.
func (a *admin) AlterTopicConfig(ctx context.Context, name string, set map[string]string) error {
	entries := make(map[string]ibm.IncrementalAlterConfigsEntry, len(set))
	for k, v := range set {
		entries[k] = ibm.IncrementalAlterConfigsEntry{Operation: ibm.IncrementalAlterConfigsOperationSet, Value: &v}
	}
	return a.pool.retry(ctx, "alter the configuration of topic "+name, func(ctx context.Context) error {
		return a.pool.requestAny(ctx, func(cn *conn, b *ibm.Broker) error {
			// Incremental: the older request resets all settings of the topic that it does not
			// name.
			resp, err := b.IncrementalAlterConfigs(&ibm.IncrementalAlterConfigsRequest{Version: cn.version(apiAlterConfigs, 1),
				Resources: []*ibm.IncrementalAlterConfigsResource{{Type: ibm.TopicResource, Name: name, ConfigEntries: entries}}})
			if err != nil {
				return err
			}
			for _, r := range resp.Resources {
				if err := codeErrorWithMessage(ibm.KError(r.ErrorCode), &r.ErrorMsg); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// CreateTopic creates a topic and waits for its leaders.
func (a *admin) CreateTopic(ctx context.Context, t kafka.TopicSpec) error {
	err := a.pool.retry(ctx, "create topic "+t.Name, func(ctx context.Context) error { return a.create(ctx, t) })
	if err != nil {
		return err
	}
	return a.pool.retry(ctx, "leaders of topic "+t.Name, func(ctx context.Context) error { return a.checkLeaders(ctx, t) })
}

func (a *admin) create(ctx context.Context, t kafka.TopicSpec) error {
	d := &ibm.TopicDetail{NumPartitions: int32(t.Partitions), ReplicationFactor: int16(t.Replication),
		ConfigEntries: map[string]*string{}}
	if t.Replication == 0 {
		d.ReplicationFactor = -1
	}
	for k, v := range t.Config {
		d.ConfigEntries[k] = &v
	}
	return a.requestController(ctx, func(cn *conn, b *ibm.Broker) error {
		// The broker's timeout is shorter than the client's: it answers while the client still
		// waits, and the client learns whether the topic exists.
		resp, err := b.CreateTopics(&ibm.CreateTopicsRequest{Version: cn.version(apiCreateTopics, 7),
			TopicDetails: map[string]*ibm.TopicDetail{t.Name: d}, Timeout: a.pool.client.cfg.RequestTimeout / 2})
		if err != nil {
			return err
		}
		e := resp.TopicErrors[t.Name]
		if e == nil {
			return ibm.ErrIncompleteResponse
		}
		return codeErrorWithMessage(e.Err, e.ErrMsg)
	})
}

// codeErrorWithMessage is codeError with the broker's explanation, where it sends one.
func codeErrorWithMessage(k ibm.KError, msg *string) error {
	err := codeError(k)
	if err != nil && msg != nil && *msg != "" {
		return fmt.Errorf("%w: %s", err, *msg)
	}
	return err
}

// checkLeaders returns an error as long as a partition has no leader. Until then nothing can be
// written to it or read.
func (a *admin) checkLeaders(ctx context.Context, t kafka.TopicSpec) error {
	resp, err := a.pool.describeTopics(ctx, []string{t.Name})
	if err != nil {
		return err
	}
	for _, topic := range resp.Topics {
		for p := range max(t.Partitions, 1) {
			tp := kafka.TopicPartition{Topic: topic.Name, Partition: int32(p)}
			if _, err := a.pool.client.metadata.leader(tp); err != nil {
				return errors.Join(codeError(ibm.ErrLeaderNotAvailable), err)
			}
		}
	}
	return nil
}

// requestController makes a request to the controller. Brokers without ZooKeeper pass it on, so any
// other will do while the controller is not known.
func (a *admin) requestController(ctx context.Context, f func(*conn, *ibm.Broker) error) (err error) {
	known := a.pool.client.metadata.cluster()
	if addr, ok := known.brokers[known.controller]; ok {
		err = a.pool.request(ctx, addr, f)
	} else {
		err = a.pool.requestAny(ctx, f)
	}
	if err != nil && isTransient(err) {
		// The controller may be another broker by now.
		_, _ = a.pool.describeTopics(ctx, []string{offsetsTopic})
	}
	return err
}

// DeleteTopics removes topics.
func (a *admin) DeleteTopics(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	return a.pool.retry(ctx, "delete topics", func(ctx context.Context) error {
		return a.requestController(ctx, func(cn *conn, b *ibm.Broker) error {
			resp, err := b.DeleteTopics(&ibm.DeleteTopicsRequest{Version: cn.version(apiDeleteTopics, 6), Topics: names,
				Timeout: a.pool.client.cfg.RequestTimeout / 2})
			if err != nil {
				return err
			}
			for name, k := range resp.TopicErrorCodes {
				if err := codeErrorWithMessage(k, resp.TopicErrorMessages[name]); err != nil && !isUnknownTopic(err) {
					return fmt.Errorf("topic %q: %w", name, err)
				}
			}
			return nil
		})
	})
}

// DeleteGroup removes a group; one that does not exist is no error.
func (a *admin) DeleteGroup(ctx context.Context, group string) error {
	return a.pool.retry(ctx, "delete group "+group, func(ctx context.Context) error {
		return a.coordinators.request(ctx, group, a.pool.client.cfg.RequestTimeout, func(cn *conn, b *ibm.Broker) error {
			resp, err := b.DeleteGroups(&ibm.DeleteGroupsRequest{Version: cn.version(apiDeleteGroups, 2),
				Groups: []string{group}})
			if err != nil || resp.GroupErrorCodes[group] == ibm.ErrGroupIDNotFound {
				return err
			}
			return codeError(resp.GroupErrorCodes[group])
		})
	})
}

// groupStable is the state of a group in which every member has its assignment.
const groupStable = "Stable"

// GroupMembers returns who is in a group.
func (a *admin) GroupMembers(ctx context.Context, group string) (members []kafka.GroupMember, err error) {
	err = a.pool.retry(ctx, "members of group "+group, func(ctx context.Context) error {
		members = nil
		return a.coordinators.request(ctx, group, a.pool.client.cfg.RequestTimeout, func(cn *conn, b *ibm.Broker) error {
			resp, err := b.DescribeGroups(&ibm.DescribeGroupsRequest{Version: cn.version(apiDescribeGroups, 4),
				Groups: []string{group}})
			if err != nil {
				return err
			}
			for _, g := range resp.Groups { // the one that was asked for
				err = codeError(g.Err)
				for _, m := range g.Members {
					member := kafka.GroupMember{ID: m.MemberId, ClientID: m.ClientId, Host: m.ClientHost}
					if g.State == groupStable {
						member.Metadata, member.Assignment = m.MemberMetadata, m.MemberAssignment
					}
					members = append(members, member)
				}
			}
			return err
		})
	})
	return members, err
}
