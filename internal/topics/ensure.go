package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Configuration of internal topics, as Kafka Streams has it. Times of records are the operators' business: a broker that stamps its
// own would move windows and joins, and rows would come back from a changelog with other times.
const (
	cleanupPolicy = "cleanup.policy"
	timestampType = "message.timestamp.type"
	createTime    = "CreateTime"
)

// spec is an internal topic as it has to be.
type spec struct {
	kafka.TopicSpec
	changelog bool
	// least is how many milliseconds a setting has to come to at least: before, the broker would take away what the store still keeps.
	least map[string]int64
}

func (p *Planner) specs(plan *Plan, n *names, counts map[string]int) []spec {
	var out []spec
	for _, topic := range plan.Repartition {
		out = append(out, p.spec(topic, counts[topic], map[string]string{
			cleanupPolicy: "delete", timestampType: createTime, "retention.ms": "-1", "segment.bytes": "52428800",
		}, nil))
	}
	for i, s := range plan.Subs {
		for _, st := range n.g.Subs[i].Stores {
			if st.Changelog && s.Tasks > 0 {
				c := p.spec(s.Changelogs[st.Name], s.Tasks, changelogConfig(st), st.Config)
				c.changelog, c.least = true, least(st)
				out = append(out, c)
			}
		}
	}
	return out
}

// margin is added to what a store keeps, since its clock and the broker's are not the same.
const margin = 24 * time.Hour

// changelogConfig is the configuration of a store's changelog: what expires in the store is deleted from it some time later.
func changelogConfig(s *graph.Store) map[string]string {
	config := map[string]string{cleanupPolicy: "compact", timestampType: createTime}
	kept := strconv.FormatInt((s.Retention + margin).Milliseconds(), 10)
	switch s.Kind {
	case graph.Window, graph.Session:
		config[cleanupPolicy], config["retention.ms"] = "compact,delete", kept
	case graph.Versioned: // until then it keeps all versions, not only the last
		config["min.compaction.lag.ms"] = kept
	}
	return config
}

// least is how long the changelog of a store has to keep records.
func least(s *graph.Store) map[string]int64 {
	switch s.Kind {
	case graph.Window, graph.Session:
		return map[string]int64{"retention.ms": s.Retention.Milliseconds()}
	case graph.Versioned:
		return map[string]int64{"min.compaction.lag.ms": s.Retention.Milliseconds()}
	}
	return nil
}

func (p *Planner) spec(name string, partitions int, config, own map[string]string) spec {
	maps.Copy(config, p.c.TopicConfig)
	maps.Copy(config, own)
	return spec{TopicSpec: kafka.TopicSpec{Name: name, Partitions: partitions, Replication: p.c.Replication, Config: config}}
}

// ensure creates what is missing, checks what is there, and adds what was created to infos.
func (p *Planner) ensure(ctx context.Context, specs []spec, infos map[string]kafka.TopicInfo) error {
	var created []string
	for _, s := range specs {
		if _, ok := infos[s.Name]; ok {
			continue
		}
		// Another member may be faster: then its topic is checked like any that was there before.
		if err := p.admin.CreateTopic(ctx, s.TopicSpec); err != nil && !errors.Is(err, kafka.ErrTopicExists) {
			return fmt.Errorf("create internal topic %q: %w", s.Name, err)
		}
		created = append(created, s.Name)
	}
	if err := p.await(ctx, created, infos); err != nil {
		return err
	}
	var errs []error
	for _, s := range specs {
		errs = append(errs, p.check(ctx, s, infos[s.Name]))
	}
	return errors.Join(errs...)
}

// await waits until created topics are in the metadata: the broker that answers may not be the one that created them.
func (p *Planner) await(ctx context.Context, created []string, infos map[string]kafka.TopicInfo) error {
	if len(created) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		found, err := p.admin.Topics(ctx, created...)
		if err != nil {
			return fmt.Errorf("look at created topics: %w", err)
		}
		maps.Copy(infos, found)
		if len(found) == len(created) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("wait for the topics %s that were created: %w", strings.Join(created, ", "), ctx.Err())
		}
	}
}

func (p *Planner) check(ctx context.Context, s spec, info kafka.TopicInfo) error {
	if info.Partitions != s.Partitions {
		return invalidf("internal topic %q has %d partitions, but the topology needs %d: the partition counts of its inputs or of Repartition "+
			"have changed; put them back, or reset the application", s.Name, info.Partitions, s.Partitions)
	}
	if p.known(info) {
		return nil
	}
	config, err := p.admin.TopicConfig(ctx, s.Name)
	if errors.Is(err, kafka.ErrNotAuthorized) {
		p.checked[s.Name] = info.ID // who may not read it cannot check it; Kafka Streams does not check at all
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the configuration of internal topic %q: %w", s.Name, err)
	}
	if err := s.fits(config); err != nil {
		return err
	}
	p.checked[s.Name] = info.ID
	return nil
}

// fits refuses what would lose or change records without a sign.
func (s spec) fits(config map[string]string) error {
	var errs []error
	for _, policy := range []string{"compact", "delete"} {
		has, want := policies(config[cleanupPolicy])[policy], policies(s.Config[cleanupPolicy])[policy]
		// A changelog that is not compacted grows for ever, which is the user's to decide; one that deletes loses rows. A
		// repartition topic that compacts loses records.
		if has && !want {
			errs = append(errs, invalidf("internal topic %q has %s=%s, but needs %s: what is in it would be lost; correct it with kafka-configs",
				s.Name, cleanupPolicy, config[cleanupPolicy], s.Config[cleanupPolicy]))
		}
	}
	for name, want := range s.least {
		has, err := strconv.ParseInt(config[name], 10, 64)
		deletes := name != "retention.ms" || policies(config[cleanupPolicy])["delete"]
		if err == nil && has >= 0 && has < want && deletes {
			errs = append(errs, invalidf("internal topic %q has %s=%d, but its store keeps rows for %d ms: what is in it would be lost; correct it with kafka-configs",
				s.Name, name, has, want))
		}
	}
	if has, ok := config[timestampType]; s.changelog && ok && has != s.Config[timestampType] {
		errs = append(errs, invalidf("internal topic %q has %s=%s, but needs %s: rows would come back from it with other times; correct it with "+
			"kafka-configs", s.Name, timestampType, has, s.Config[timestampType]))
	}
	return errors.Join(errs...)
}

func policies(s string) map[string]bool {
	out := map[string]bool{}
	for p := range strings.SplitSeq(s, ",") {
		out[strings.TrimSpace(p)] = true
	}
	return out
}

// checkSources refuses topics that stores are restored from and that lose what makes their rows. Those of global stores may: their rows
// are what the topic holds.
func (p *Planner) checkSources(ctx context.Context, infos map[string]kafka.TopicInfo) error {
	var errs []error
	for _, st := range p.g.Stores {
		if st.Topic == "" || st.Global || p.known(infos[st.Topic]) {
			continue
		}
		config, err := p.admin.TopicConfig(ctx, st.Topic)
		if err != nil && !errors.Is(err, kafka.ErrNotAuthorized) {
			return fmt.Errorf("read the configuration of topic %q: %w", st.Topic, err)
		}
		if has := config[cleanupPolicy]; err == nil && policies(has)["delete"] {
			errs = append(errs, invalidf("topic %q has %s=%s, but store %q, made at %s, is restored from it: rows whose records were deleted would be "+
				"lost; make it compact, or keep a changelog", st.Topic, cleanupPolicy, has, st.Name, st.Pos))
			continue
		}
		p.checked[st.Topic] = infos[st.Topic].ID
	}
	return errors.Join(errs...)
}

// known says that a topic's configuration was found right.
func (p *Planner) known(info kafka.TopicInfo) bool {
	id, ok := p.checked[info.Name]
	return ok && id == info.ID
}
