package topics

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
)

// Deployer deploys one topology on a cluster: it finds out which topics and how many tasks there
// are, and makes the internal topics. One goroutine at a time may use it.
type Deployer struct {
	config Config
	graph  *graph.Graph
	admin  kafka.Admin
	// checked are topics whose configuration was found right. A topic that has another id by now was
	// deleted and created again, and has to be checked again.
	checked map[string]kafka.TopicID
	// deployed are the topics of the last deployment; nil before there is one.
	deployed       map[string]kafka.TopicID
	timeLimitLevel int // the first of timeLimits that the brokers may know
}

// New returns a Deployer. It does not ask the cluster anything yet.
func New(g *graph.Graph, config Config, admin kafka.Admin) *Deployer {
	if config.Replication == 0 {
		config.Replication = -1
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Deployer{config: config, graph: g, admin: admin, checked: map[string]kafka.TopicID{}}
}

// Deploy finds out what the topology runs as on the cluster as it is, and makes and checks the
// internal topics. It returns all mistakes at once, as an error that is ErrInvalid. Any other error
// comes from the cluster and may pass. When everything exists and is right it costs one request for
// metadata, so that a leader can call it at each rebalance.
func (d *Deployer) Deploy(ctx context.Context) (*Deployment, error) {
	names := newNames(d.config.Application, d.graph)
	names.collectUserSinks(d.config.DeadLetters)
	infos, err := d.awaitUserTopics(ctx, names)
	if err != nil {
		return nil, err
	}
	// Before anything is made: the committed offsets and the rows of stores are of the topics that
	// were deleted, and nothing below would notice.
	if err := d.checkRecreated(infos); err != nil {
		return nil, err
	}
	matched := assign.Match(names.patterns, names.external, d.candidates(infos, names))
	if err := checkOverlap(names.patterns, d.candidates(infos, names)); err != nil {
		return nil, err
	}
	counts, err := names.count(infos, matched)
	if err != nil {
		return nil, err
	}
	deployment := names.deployment(counts, matched)
	// The checks that follow read committed offsets, for which they need the partitions of the inputs.
	for topic := range counts {
		deployment.Topics[topic] = infos[topic]
	}
	if err := d.checkTypes(ctx, deployment); err != nil {
		return nil, err
	}
	specs := d.specs(deployment, names, counts)
	if infos, err = d.checkCreatable(ctx, names, deployment, specs, infos); err != nil {
		return nil, err
	}
	if err := d.ensure(ctx, specs, infos); err != nil {
		return nil, err
	}
	if err := d.checkSources(ctx, infos); err != nil {
		return nil, err
	}
	// Once more, with the ids of what was made since.
	for topic := range counts {
		deployment.Topics[topic] = infos[topic]
	}
	for _, s := range deployment.Subtopologies {
		for _, topic := range s.Changelogs {
			deployment.Topics[topic] = infos[topic]
		}
	}
	d.recordDeployed(deployment)
	return deployment, nil
}

// Counts returns the partition counts that a leader needs to assign tasks: those of the topics
// named and, with allTopics, those of all topics that a pattern may match.
func (d *Deployer) Counts(ctx context.Context, topics []string, allTopics bool) (map[string]int, error) {
	if len(topics) == 0 && !allTopics {
		return map[string]int{}, nil
	}
	request := topics
	if allTopics {
		request = nil // no names mean all topics
	}
	infos, err := d.admin.Topics(ctx, request...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	out := make(map[string]int, len(infos))
	for name, info := range infos {
		if !allTopics || slices.Contains(topics, name) || d.matchable(info) {
			out[name] = info.Partitions
		}
	}
	return out, nil
}

// matchable reports whether a pattern may match a topic. Topics of Kafka itself and internal topics
// of the application do not count: a source that reads ".*" does not mean them.
func (d *Deployer) matchable(info kafka.TopicInfo) bool {
	return !info.Internal && !isInternal(d.config.Application, info.Name)
}

// candidates returns the topics that patterns may match, with their partition counts.
func (d *Deployer) candidates(infos map[string]kafka.TopicInfo, n *topicNames) map[string]int {
	out := map[string]int{}
	if len(n.patterns) == 0 {
		return out
	}
	for name, info := range infos {
		if d.matchable(info) {
			out[name] = info.Partitions
		}
	}
	return out
}

// describeTopics asks for the topics that the topology names, or for all when it reads by a
// pattern.
func (d *Deployer) describeTopics(ctx context.Context, n *topicNames) (map[string]kafka.TopicInfo, error) {
	var request []string
	if len(n.patterns) == 0 {
		request = slices.Concat(n.external, slices.Collect(maps.Keys(n.userSinks)), slices.Collect(maps.Values(n.internal)))
		for _, s := range d.graph.Stores {
			if s.Changelog {
				request = append(request, graph.ChangelogTopic(d.config.Application, s.Name))
			}
		}
		if len(request) == 0 {
			return map[string]kafka.TopicInfo{}, nil // no names would mean all topics
		}
	}
	infos, err := d.admin.Topics(ctx, request...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	return infos, nil
}

// checkOverlap refuses topics that two patterns match: two tasks would process their records.
func checkOverlap(patterns []string, counts map[string]int) error {
	matchedBy := map[string]string{}
	for _, pattern := range patterns {
		for _, topic := range assign.Match([]string{pattern}, nil, counts)[pattern] {
			if other, ok := matchedBy[topic]; ok && other != pattern {
				return invalidf("topic %q is matched by the patterns %q and %q; a topic can be read by one source only", topic,
					other, pattern)
			}
			matchedBy[topic] = pattern
		}
	}
	return nil
}
