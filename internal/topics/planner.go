package topics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/assign"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Planner makes the plans of one topology. Owned by one goroutine at a time.
type Planner struct {
	c     Config
	g     *graph.Graph
	admin kafka.Admin
	// checked are topics whose configuration was found right; another id is another topic.
	checked map[string]kafka.TopicID
}

// New returns a Planner. It does not ask the cluster anything yet.
func New(g *graph.Graph, c Config, admin kafka.Admin) *Planner {
	if c.Replication == 0 {
		c.Replication = -1
	}
	return &Planner{c: c, g: g, admin: admin, checked: map[string]kafka.TopicID{}}
}

// Plan finds out what the topology runs as on the cluster as it is, and makes and checks the internal topics. All that is wrong comes
// back at once, as an error that is ErrInvalid; any other error is one of the cluster and may pass. What exists and is right costs
// one look at the metadata.
func (p *Planner) Plan(ctx context.Context) (*Plan, error) {
	infos, err := p.look(ctx)
	if err != nil {
		return nil, err
	}
	n := newNames(p.c.Application, p.g)
	if err := n.missing(infos); err != nil {
		return nil, err
	}
	matched := assign.Match(n.patterns, n.external, p.candidates(infos, n))
	if err := overlapping(n.patterns, p.candidates(infos, n)); err != nil {
		return nil, err
	}
	counts, err := n.count(infos, matched)
	if err != nil {
		return nil, err
	}
	plan := n.plan(counts, matched)
	if err := p.ensure(ctx, p.specs(plan, n, counts), infos); err != nil {
		return nil, err
	}
	if err := p.checkSources(ctx, infos); err != nil {
		return nil, err
	}
	for topic := range counts {
		plan.Topics[topic] = infos[topic]
	}
	for _, s := range plan.Subs {
		for _, topic := range s.Changelogs {
			plan.Topics[topic] = infos[topic]
		}
	}
	return plan, nil
}

// Counts returns the partition counts that a leader needs to assign tasks: those of the topics named and, when all, those of all
// topics that patterns may match.
func (p *Planner) Counts(ctx context.Context, topics []string, all bool) (map[string]int, error) {
	if len(topics) == 0 && !all {
		return map[string]int{}, nil
	}
	ask := topics
	if all {
		ask = nil // no names mean all topics
	}
	infos, err := p.admin.Topics(ctx, ask...)
	if err != nil {
		return nil, fmt.Errorf("look at topics: %w", err)
	}
	out := make(map[string]int, len(infos))
	for name, i := range infos {
		if !all || slices.Contains(topics, name) || p.matchable(i) {
			out[name] = i.Partitions
		}
	}
	return out, nil
}

// matchable says that a pattern may match a topic: none of Kafka's own, and none of the application's.
func (p *Planner) matchable(i kafka.TopicInfo) bool {
	own := strings.HasPrefix(i.Name, p.c.Application+"-") &&
		slices.ContainsFunc(ownSuffixes, func(end string) bool { return strings.HasSuffix(i.Name, end) })
	return !i.Internal && !own
}

var ownSuffixes = []string{"-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"}

func (p *Planner) candidates(infos map[string]kafka.TopicInfo, n *names) map[string]int {
	out := map[string]int{}
	if len(n.patterns) == 0 {
		return out
	}
	for name, i := range infos {
		if p.matchable(i) {
			out[name] = i.Partitions
		}
	}
	return out
}

// look asks for the topics that the topology names, or for all when it reads by a pattern.
func (p *Planner) look(ctx context.Context) (map[string]kafka.TopicInfo, error) {
	n := newNames(p.c.Application, p.g)
	var want []string
	if len(n.patterns) == 0 {
		want = append(slices.Clone(n.external), slices.Collect(maps.Values(n.internal))...)
		for _, s := range p.g.Stores {
			if s.Changelog {
				want = append(want, graph.ChangelogTopic(p.c.Application, s.Name))
			}
		}
		if len(want) == 0 {
			return map[string]kafka.TopicInfo{}, nil // no names would mean all topics
		}
	}
	infos, err := p.admin.Topics(ctx, want...)
	if err != nil {
		return nil, fmt.Errorf("look at topics: %w", err)
	}
	return infos, nil
}

func overlapping(patterns []string, topics map[string]int) error {
	alone := map[string]string{}
	for _, pattern := range patterns {
		for _, topic := range assign.Match([]string{pattern}, nil, topics)[pattern] {
			if other, ok := alone[topic]; ok && other != pattern {
				return invalidf("topic %q is matched by the patterns %q and %q; a topic can be read by one source only", topic, other, pattern)
			}
			alone[topic] = pattern
		}
	}
	return nil
}
