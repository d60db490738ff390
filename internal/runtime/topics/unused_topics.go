package topics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Unused are the topics that have names of internal topics of the application, and that the program
// does not use.
type Unused struct {
	Topics []string // sorted
	// Unread counts, by topic, the records that the application wrote into them and never processed.
	Unread map[string]int64
}

// FindUnused finds, among all topics of the cluster, those that an earlier version of the program
// has left. It also finds topics of an application whose id begins with this one's and a dash,
// since only its name says whose an internal topic is.
func FindUnused(ctx context.Context, g *graph.Graph, config Config, admin kafka.Admin) (Unused, error) {
	unused := Unused{Unread: map[string]int64{}}
	infos, err := admin.Topics(ctx)
	if err != nil {
		return unused, fmt.Errorf("list all topics: %w", err)
	}
	used := map[string]bool{}
	for _, t := range g.Topics {
		used[graph.InternalTopic(config.Application, t.Name)] = true
	}
	for _, s := range g.Stores {
		used[graph.ChangelogTopic(config.Application, s.Name)] = s.Changelog
	}
	for _, n := range g.Nodes { // a user may read another application's changelog
		if n.Source != nil && !n.Source.Internal {
			for _, t := range n.Source.Topics {
				used[t] = true
			}
		}
	}
	latest := map[kafka.TopicPartition]int64{}
	for _, name := range slices.Sorted(maps.Keys(infos)) {
		if used[name] || !isInternal(config.Application, name) {
			continue
		}
		unused.Topics = append(unused.Topics, name)
		if !strings.HasSuffix(name, changelogSuffix) {
			for p := range infos[name].Partitions {
				latest[kafka.TopicPartition{Topic: name, Partition: int32(p)}] = kafka.Latest
			}
		}
	}
	if len(latest) == 0 || config.Committed == nil {
		return unused, nil
	}
	committed, err := config.Committed(ctx, slices.Collect(maps.Keys(latest)))
	if err != nil {
		return unused, fmt.Errorf("read committed offsets: %w", err)
	}
	ends, err := admin.ListOffsets(ctx, kafka.ReadCommitted, latest)
	if err != nil {
		return unused, fmt.Errorf("look up the ends of topics: %w", err)
	}
	for tp, end := range ends {
		if at := committed[tp].Offset; at >= 0 && at < end { // without an offset the topic may be another application's
			unused.Unread[tp.Topic] += end - at
		}
	}
	return unused, nil
}

const changelogSuffix = "-changelog"

var internalSuffixes = []string{changelogSuffix, "-repartition", "-subscription-registration-topic",
	"-subscription-response-topic"}

// isInternal reports whether a topic has the name of an internal topic of an application.
func isInternal(application, topic string) bool {
	return strings.HasPrefix(topic, graph.InternalTopic(application, "")) &&
		slices.ContainsFunc(internalSuffixes, func(end string) bool { return strings.HasSuffix(topic, end) })
}
